"""Pages and MLflow: sign-in through JupyterHub, sessions, the router's questions."""

from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from harness.api import API, BASE, Yard, body, problem

ROOT = "/services/modelyard"
PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


async def _sign_in(yard: Yard, browser: httpx.AsyncClient, token: str, start: str = f"{ROOT}/login") -> httpx.Response:
    """Follow a sign-in as a browser does, with JupyterHub agreeing at once."""
    answer = await browser.get(start)
    assert answer.status_code == 302
    asked = urlsplit(answer.headers["location"])
    query = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert asked.path == "/hub/api/oauth2/authorize"
    assert query["client_id"] == "service-modelyard"
    assert query["code_challenge_method"] == "S256"
    yard.hub.codes["code"] = (token, query["code_challenge"])
    return await browser.get(query["redirect_uri"], params={"code": "code", "state": query["state"]})


async def test_the_page_shows_the_callers_endpoints(yard: Yard) -> None:
    async with yard.client("ada") as ada, yard.client("eve") as eve:
        create = {"If-None-Match": "*"}
        await ada.put(f"{API}/endpoints/ada/churn", json=body(description="<b>x</b>"), headers=create)
        await eve.put(f"{API}/endpoints/eve/secret", json=body(), headers=create)
    async with yard.client(**PAGE) as browser:
        answer = await browser.get(f"{ROOT}/")
        assert (answer.status_code, answer.headers["location"]) == (302, f"{ROOT}/login")
        answer = await _sign_in(yard, browser, "bob")
        assert (answer.status_code, answer.headers["location"]) == (302, f"{ROOT}/")
        answer = await browser.get(f"{ROOT}/")
    assert answer.status_code == 200
    assert "<b>churn</b>" in answer.text
    assert "&lt;b&gt;x&lt;/b&gt;" in answer.text
    assert "eve/" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text.replace(yard.parts.settings.base_url, "")


async def test_a_session_reaches_only_this_service_and_mlflow(yard: Yard) -> None:
    async with yard.client(**PAGE) as browser:
        answer = await _sign_in(yard, browser, "bob")
        cookies = [c for c in answer.headers.get_list("set-cookie") if c.startswith("modelyard-session=")]
        assert {c.split("Path=")[1].split(";")[0] for c in cookies} == {f"{ROOT}/", "/mlflow"}
        assert all("HttpOnly" in c and "SameSite=lax" in c for c in cookies)
        # the API is for tokens: a page of somebody else's cannot use the browser's session to change something
        problem(await browser.get(f"{API}/me"), 401, "Unauthenticated")
        session = browser.cookies.get("modelyard-session", path=f"{ROOT}/")
    async with yard.client(session) as thief:
        problem(await thief.get(f"{API}/me"), 401, "Unauthenticated")


async def test_a_sign_in_ends_in_the_browser_that_began_it(yard: Yard) -> None:
    async with yard.client(**PAGE) as browser, yard.client(**PAGE) as victim:
        answer = await browser.get(f"{ROOT}/login")
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        yard.hub.codes["code"] = ("ada", query["code_challenge"][0])
        callback = {"code": "code", "state": query["state"][0]}
        answer = await victim.get(f"{ROOT}/oauth_callback", params=callback)
        assert answer.status_code == 403
        assert "not begun in this browser" in answer.text
        assert (await browser.get(f"{ROOT}/oauth_callback")).status_code == 403
        yard.hub.codes["code"] = ("ada", "another challenge")
        assert (await browser.get(f"{ROOT}/oauth_callback", params=callback)).status_code == 403
        assert not victim.cookies


async def test_a_sign_in_goes_on_to_this_site_only(yard: Yard) -> None:
    cases = {
        "/mlflow/%23/experiments": "/mlflow/#/experiments",
        "//evil.test": f"{ROOT}/",
        "/%5Cevil.test": f"{ROOT}/",
        "https://evil.test/": f"{ROOT}/",
    }
    for asked, expected in cases.items():
        async with yard.client(**PAGE) as browser:
            answer = await _sign_in(yard, browser, "bob", f"{ROOT}/login?next={asked}")
            assert answer.headers["location"] == expected


async def test_sign_out(yard: Yard) -> None:
    async with yard.client(**PAGE) as browser:
        await _sign_in(yard, browser, "bob")
        assert (await browser.get(f"{ROOT}/logout")).headers["location"] == "/hub/logout"
        assert (await browser.get(f"{ROOT}/")).status_code == 302


async def test_mlflow_lets_in_whom_this_service_names(yard: Yard) -> None:
    forwarded = {"X-Forwarded-Uri": "/mlflow/?a=b&c", "X-Forwarded-Host": "yard.test", "X-Forwarded-Proto": "https"}
    async with yard.client("ada") as ada:
        answer = await ada.get(f"{ROOT}/authorize", headers=forwarded)
        assert (answer.status_code, answer.headers["x-modelyard-user"]) == (200, "ada")
        key = yard.parts.signer.public_pem
        token = answer.headers["x-modelyard-token"]
        claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="modelyard-mlflow")
        assert (claims["owner"], claims["groups"], claims["admin"]) == ("ada", ["team"], False)
        assert claims["write"]
    async with yard.client("ada-reads") as reader:
        answer = await reader.get(f"{ROOT}/authorize", headers=forwarded)
        token = answer.headers["x-modelyard-token"]
        assert not jwt.decode(token, key, algorithms=["EdDSA"], audience="modelyard-mlflow")["write"]
    async with yard.client(**PAGE) as browser:
        answer = await browser.get(f"{ROOT}/authorize", headers=forwarded)
        assert answer.status_code == 302
        assert answer.headers["location"] == f"https://yard.test{ROOT}/login?next=%2Fmlflow%2F%3Fa%3Db%26c"
        scripted = {**forwarded, "Sec-Fetch-Mode": "cors"}
        problem(await browser.get(f"{ROOT}/authorize", headers=scripted), 401, "Unauthenticated")
        posted = {**forwarded, "X-Forwarded-Method": "POST"}
        problem(await browser.get(f"{ROOT}/authorize", headers=posted), 401, "Unauthenticated")
        await _sign_in(yard, browser, "bob")
        session = browser.cookies.get("modelyard-session", path="/mlflow")
        cookie = {**forwarded, "Cookie": f"modelyard-session={session}"}
        answer = await browser.get(f"{ROOT}/authorize", headers=cookie)
        assert answer.headers["x-modelyard-user"] == "bob"
    async with yard.client("nobody", **PAGE) as client:
        problem(await client.get(f"{ROOT}/authorize", headers=forwarded), 401, "Unauthenticated")
    yard.hub.add("no-scope", "mia", scopes=[])
    async with yard.client("no-scope") as client:
        problem(await client.get(f"{ROOT}/authorize", headers=forwarded), 403, "Forbidden")


async def test_the_routing_document_is_for_the_router(yard: Yard) -> None:
    async with yard.client("ada") as ada, yard.client("traefik") as traefik:
        problem(await ada.get(f"{ROOT}/routing"), 403, "Forbidden")
        problem(await traefik.get(f"{ROOT}/routing"), 503, "Unavailable")
        yard.router.restore((), ())
        packed = await traefik.get(f"{ROOT}/routing", headers={"Accept-Encoding": "gzip"})
        plain = await traefik.get(f"{ROOT}/routing", headers={"Accept-Encoding": "identity"})
        assert (packed.headers["content-encoding"], plain.headers.get("content-encoding")) == ("gzip", None)
        assert packed.text == plain.text
        assert set(plain.json()) == {"http"}
        assert str(traefik.base_url) == BASE
