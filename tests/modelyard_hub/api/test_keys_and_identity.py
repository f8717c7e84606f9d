"""Keys, `/me`, call tokens; what a hub that is away means for callers."""

import hashlib

import jwt

from harness.api import API, BASE, Yard, body, problem

CHURN = f"{API}/endpoints/ada/churn"


async def _create(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        assert (await ada.put(CHURN, json=body(), headers={"If-None-Match": "*"})).status_code == 201


async def test_keys(yard: Yard) -> None:
    await _create(yard)
    async with yard.client("ada") as ada:
        answer = await ada.post(f"{CHURN}/keys", json={"name": "billing", "expires_in": 3600})
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        key = answer.json()
        (kept,) = await yard.parts.store.key_hashes("ada", "churn")
        assert kept.sha256 == hashlib.sha256(key["secret"].encode()).hexdigest()
        assert (await ada.get(f"{CHURN}/keys")).json() == {"items": [{**key, "secret": None}]}

        problem(await ada.post(f"{CHURN}/keys", json={"name": "billing"}), 409, "Conflict")
        problem(await ada.post(f"{CHURN}/keys", json={"name": "Not A Label"}), 422, "InvalidName")
        said = problem(await ada.post(f"{CHURN}/keys", json={"name": "k", "expires_in": 1}), 422, "InvalidInput")
        assert said["errors"][0]["field"] == "expires_in"

        assert (await ada.delete(f"{CHURN}/keys/{key['id']}")).status_code == 204
        problem(await ada.delete(f"{CHURN}/keys/{key['id']}"), 404, "NotFound")
        assert (await ada.get(f"{CHURN}/keys")).json() == {"items": []}
    assert key["secret"] not in str(await yard.parts.store.list_audit())


async def test_me(yard: Yard) -> None:
    async with yard.client("ada") as ada, yard.client("root") as root:
        me = (await ada.get(f"{API}/me")).json()
        assert (me["username"], me["owner"], me["groups"], me["admin"]) == ("ada", "ada", ["team"], False)
        assert me["scopes"] == ["custom:modelyard:read", "custom:modelyard:write"]
        assert (await root.get(f"{API}/me")).json()["admin"] is True


async def test_names_that_are_no_labels_have_an_owner_that_is(yard: Yard) -> None:
    yard.hub.add("t", "Ada.Lovelace@example.org", ["Risk & Pricing"])
    async with yard.client("t") as client:
        me = (await client.get(f"{API}/me")).json()
    assert me["username"] == "Ada.Lovelace@example.org"
    assert me["owner"].startswith("ada-lovelace-example-org--")
    assert me["groups"][0].startswith("risk-pricing--")


async def test_scopes_limited_to_somebody_else_do_not_count(yard: Yard) -> None:
    scopes = ["custom:modelyard:read!user=mia", "custom:modelyard:write!user=bob", "custom:modelyard:admin!group=x"]
    yard.hub.add("t", "mia", scopes=scopes)
    yard.hub.add("nothing", "mia", scopes=["self"])
    async with yard.client("t") as client, yard.client("nothing") as none:
        assert (await client.get(f"{API}/me")).json()["scopes"] == ["custom:modelyard:read"]
        assert "custom:modelyard:read" in problem(await none.get(f"{API}/endpoints"), 403, "Forbidden")["detail"]


async def test_a_services_token_is_no_users(yard: Yard) -> None:
    yard.hub.add("t", "ada", kind="service")
    async with yard.client("t") as client:
        me = (await client.get(f"{API}/me")).json()
    assert me["username"] == "service:ada"
    assert me["owner"] != "ada"


async def test_call_token(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        answer = await ada.post(f"{API}/tokens/call")
    assert answer.headers["cache-control"] == "no-store"
    claims = jwt.decode(
        answer.json()["token"], yard.parts.signer.public_pem, algorithms=["EdDSA"], audience="modelyard-serve"
    )
    assert (claims["sub"], claims["owner"], claims["groups"], claims["admin"]) == ("ada", "ada", ["team"], False)
    assert claims["exp"] - claims["iat"] == yard.parts.settings.call_token_lifetime


async def test_the_hub_is_asked_once_in_a_while_and_may_be_away_meanwhile(yard: Yard) -> None:
    async with yard.client("ada") as ada, yard.client("bob") as bob:
        for _ in range(3):
            assert (await ada.get(f"{API}/me")).status_code == 200
        assert yard.hub.asked == 1
        yard.hub.broken = True
        assert (await ada.get(f"{API}/me")).status_code == 200
        answer = await bob.get(f"{API}/me")
        problem(answer, 503, "Unavailable")
        assert answer.headers["retry-after"]


async def test_health_needs_nobody(yard: Yard) -> None:
    yard.hub.broken = True
    async with yard.client() as client:
        assert (await client.get("/services/modelyard/health")).text == "ok\n"


async def test_no_such_route_and_method(yard: Yard) -> None:
    async with yard.client("ada") as ada:
        problem(await ada.get(f"{API}/nothing"), 404, "NotFound")
        answer = await ada.delete(f"{API}/me")
        assert "DELETE" in problem(answer, 405, "ModelyardError")["detail"]
        assert answer.headers["allow"] == "GET"
        assert str(ada.base_url) == BASE


async def test_openapi_is_complete(yard: Yard) -> None:
    async with yard.client() as client:
        document = (await client.get("/services/modelyard/api/openapi.json")).json()
    text = str(document)
    assert "HTTPValidationError" not in text
    assert {"Endpoint", "Problem", "Key", "Identity"} <= set(document["components"]["schemas"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["tags"], (path, method)
            assert operation["summary"], (path, method)
            if path.startswith(API):
                assert operation["security"], (path, method)
                assert any(status.startswith("4") for status in operation["responses"]), (path, method)
    put = document["paths"][f"{API}/endpoints/{{owner}}/{{name}}"]["put"]
    assert set(put["responses"]) >= {"200", "201", "401", "403", "404", "409", "412", "413", "422", "428", "503", "507"}
    assert "application/problem+json" in put["responses"]["412"]["content"]
