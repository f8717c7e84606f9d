"""An endpoint's own page in Chromium, on real model servers: the key, the form, the answer, the lines to copy."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import listen
from harness.model_server import serving
from harness.packages import write_onnx, write_skops
from harness.traefik import RealTraefik, Web
from harness.wait import eventually
from modelyard_api.access import Access, KeyHash
from modelyard_hub.routing.document import EndpointRoute, RouterOptions, build, render
from modelyard_hub.routing.hub import HubRoute

pytestmark = pytest.mark.browser

KEY = "my_1_secret"
UNAUTHORIZED = "the server responded with a status of 4"
"""What Chromium itself says of an answer that refuses."""


@contextmanager
def opened(url: str, path: str = "/") -> Iterator[Page]:
    """The page; at the end, nothing was wrong with it, and its policy stopped nothing."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with browser(url) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        said = listen(context)
        page = context.new_page()
        page.goto(path)
        yield page
        assert not [text for text in said if UNAUTHORIZED not in text], said


def run(command: list[str]) -> str:
    """What it prints, with the key where the lines to copy look for it."""
    environment = os.environ | {"PENGUINS_KEY": KEY}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def shot(page: Page, name: str) -> None:
    page.screenshot(path=SCREENSHOTS / f"tryit-{name}.png", full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{name} is {wide} px too wide"


def test_a_table_with_a_key(tmp_path: Path) -> None:
    write_skops(tmp_path / "package")
    hashed = KeyHash(id="1", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    (tmp_path / "access.json").write_text(Access(owner="ada", keys=(hashed,)).model_dump_json())
    with (
        serving(tmp_path / "package", access=tmp_path / "access.json", version=3) as (client, _),
        opened(str(client.base_url).rstrip("/")) as page,
    ):
        _give_the_key(page)
        _ask(page)
        _copy(page)
        _be_refused(page)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            for width in (390, 1200):
                page.set_viewport_size({"width": width, "height": 900})
                shot(page, f"{theme}-{width}")
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        page.reload()
        expect(page.get_by_label("Key")).to_have_value("")


def _give_the_key(page: Page) -> None:
    """Before it is there, nothing of the endpoint is shown."""
    key = page.get_by_label("Key")
    expect(key).to_be_visible()
    expect(page.get_by_text("island")).to_have_count(0)
    shot(page, "key")
    key.fill("my_1_guess")
    key.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown key")
    key.fill(KEY)
    key.press("Enter")
    expect(page.get_by_role("heading", name="penguins")).to_be_visible()
    expect(page.get_by_text("version 3")).to_be_visible()


def _ask(page: Page) -> None:
    """The example stands in the form; a row more, and a value that is missing where one may be."""
    expect(page.get_by_label("age, row 1")).to_have_value("3")
    expect(page.get_by_label("island, row 2")).to_have_value("south")
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label("weight, row 3").fill("")
    page.get_by_label("age, row 3").fill("9")
    page.get_by_label("age, row 3").press("Enter")
    answer = page.get_by_role("table", name="Answer")
    expect(answer.get_by_role("row")).to_have_count(4)
    expect(answer.get_by_role("row").nth(3)).to_contain_text("yes")
    expect(answer.get_by_role("row").nth(3)).to_contain_text("%")
    bars = answer.locator(".bar > span").evaluate_all("spans => spans.map(s => s.getBoundingClientRect().width)")
    assert len(bars) == 6
    assert max(bars) > 2 * min(bars)
    shot(page, "answer")


def _copy(page: Page) -> None:
    """What is copied does the same from a terminal and in Python."""
    for label, command in (("curl", ["bash", "-c"]), ("Python", [sys.executable, "-c"])):
        page.get_by_role("button", name=f"Copy {label}").click()
        expect(page.get_by_text("Copied").first).to_be_visible()
        text = page.evaluate("navigator.clipboard.readText()")
        assert KEY not in text
        said = run([*command, text])
        assert "yes" in said, (text, said)
        assert "probabilities" in said
    with page.expect_download() as saved:
        page.get_by_role("button", name="save it").click()
    assert '"openapi"' in saved.value.path().read_text()


def _be_refused(page: Page) -> None:
    """What the server says stands at the field that it names, which has the focus."""
    age = page.get_by_label("age, row 2")
    age.fill("young")
    age.press("Enter")
    expect(age).to_have_attribute("aria-invalid", "true")
    expect(age).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("holds 'young', which is no INT64")
    expect(page.get_by_role("table", name="Answer")).to_have_count(0)
    age.fill("4")
    expect(page.get_by_role("alert")).to_have_count(0)
    age.press("Enter")
    expect(page.get_by_role("table", name="Answer")).to_be_visible()
    age.fill("")
    age.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("missing value. The model")


TAKING = b"""<!doctype html><title>x</title><body><script>
(async () => {
  const found = [];
  const take = async (what) => found.push(await what().catch((error) => error.name));
  await take(async () => document.cookie);
  for (const path of ["/hub/secret", "/serve/ada/penguins/secret"]) {
    await take(async () => (await fetch(path, {credentials: "include"})).text());
  }
  document.body.textContent = found.join(", ");
})();
</script>"""
"""A page that takes what it can get."""


def test_a_page_of_the_models_own_has_nothing_of_the_hubs(tmp_path: Path) -> None:
    """Whoever wrote the model may answer what they like, at the address where people are signed in."""
    cookies: dict[str, list[str]] = {"hub": [], "model": []}

    def answering(name: str) -> Web:
        def answer(path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
            if path.endswith("/secret"):
                cookies[name].append(headers.get("cookie", ""))
                return 200, {"Content-Type": "text/plain"}, name.encode()
            return 200, {"Content-Type": "text/html"}, TAKING

        return Web(answer)

    with (
        closing(answering("hub")) as hub,
        closing(answering("model")) as model,
        routed(tmp_path, model.url, hub) as url,
        browser(url) as context,
    ):
        context.add_cookies([{"name": "session", "value": "ada", "url": url}])
        page = context.new_page()
        page.goto("/hub/page")
        expect(page.locator("body")).to_have_text("session=ada, hub, model")
        page.goto("/serve/ada/penguins/")
        expect(page.locator("body")).to_have_text("SecurityError, TypeError, TypeError")
    assert cookies == {"hub": ["session=ada", ""], "model": ["", ""]}


@contextmanager
def routed(folder: Path, model: str, hub: Web) -> Iterator[str]:
    """A real router with the document that the hub service makes, before one model server and the hub."""
    route = EndpointRoute("ada", "penguins", {1: 100}, {1: (model,)})
    document = render(build([route], RouterOptions(), [HubRoute(routespec="/", target=hub.url)]))
    with closing(RealTraefik(folder, lambda: document)) as traefik:
        eventually(
            lambda: httpx.get(f"{traefik.url}/serve/ada/penguins/", trust_env=False).status_code == 200,
            timeout=20,
            what="the route is there",
        )
        yield traefik.url


def test_behind_the_router_it_works_apart_from_the_hub(tmp_path: Path) -> None:
    write_skops(tmp_path / "package")
    hashed = KeyHash(id="1", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    (tmp_path / "access.json").write_text(Access(owner="ada", keys=(hashed,)).model_dump_json())
    with (
        serving(tmp_path / "package", access=tmp_path / "access.json", version=3) as (client, _),
        closing(Web(lambda path, headers: (404, {}, b""))) as hub,
        routed(tmp_path, str(client.base_url).rstrip("/"), hub) as url,
        opened(url, "/serve/ada/penguins/") as page,
    ):
        assert page.evaluate("self.origin") == "null"
        page.get_by_text("I have no key").click()
        expect(page.get_by_role("region", name="Lines for a notebook")).to_contain_text(
            'yard.endpoint("ada/penguins").create_key('
        )
        shot(page, "no-key")
        key = page.get_by_label("Key")
        key.fill(KEY)
        key.press("Enter")
        page.get_by_role("button", name="Ask").click()
        expect(page.get_by_role("table", name="Answer")).to_contain_text("%")
        expect(page.get_by_text("by revision 1")).to_be_visible()
        page.get_by_role("button", name="Copy curl").click()
        expect(page.get_by_text("Copied").first).to_be_visible()
        with page.expect_download() as saved:
            page.get_by_role("button", name="save it").click()
        assert '"openapi"' in saved.value.path().read_text()
        page.reload()
        expect(page.get_by_label("Key")).to_have_value("")


def test_a_tensor_for_everybody(tmp_path: Path) -> None:
    write_onnx(tmp_path / "package")
    with (
        serving(tmp_path / "package", open=True) as (client, _),
        opened(str(client.base_url).rstrip("/")) as page,
    ):
        values = page.get_by_label("input")
        expect(values).to_have_value("[[0,1,2],\n [3,4,5]]")
        ask = page.get_by_role("button", name="Ask")
        ask.click()
        expect(page.get_by_role("table", name="Answer")).to_contain_text("no")
        values.fill("[[1, 2, 3],")
        expect(page.get_by_text("no JSON yet")).to_be_visible()
        ask.click()
        expect(values).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("Such as")
        values.fill("[[1, 2], [3, 4]]")
        ask.click()
        expect(page.get_by_role("alert")).to_contain_text("input 'input' has shape [2, 2]")
        shot(page, "tensor")
        expect(page.get_by_role("link", name="openapi.json")).to_have_attribute(
            "href", str(client.base_url.join("/openapi.json"))
        )
