"""The page of a server that waits for its turn, in Chromium: the place, JupyterHub's restart, and giving up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness import local_hub
from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE
from harness.wait import eventually

pytestmark = pytest.mark.browser


def start(page: Page, user: str, name: str = "") -> None:
    page.goto("/hub/login?next=%2Fhub%2Fspawn" + (f"%2F{user}%2F{name}" if name else ""))
    page.get_by_label(re.compile("username", re.I)).fill(user)
    page.get_by_label(re.compile("password", re.I)).fill("x")
    page.get_by_role("button", name=re.compile("sign in", re.I)).click()
    page.wait_for_url("**/hub/spawn-pending/**", timeout=MINUTE)


def test_the_place_is_told_and_can_be_given_up(tmp_path: Path) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with local_hub.running(tmp_path / "hub", concurrent_starts=1) as hub, browser(hub.url) as context:
        hub.start("ada")
        hub.start("bob")
        page = context.new_page()
        start(page, "cleo")
        message = page.locator("#progress-message")
        expect(message).to_contain_text("You are 2nd of 2 in the queue: 1 server may start at once.", timeout=MINUTE)
        expect(message).to_contain_text("You may close this page: your place is kept.")
        expect(page.get_by_role("button", name=re.compile("stop|cancel", re.I))).to_have_text(["Stop waiting"])
        page.screenshot(path=SCREENSHOTS / "queue-1.png", full_page=True)
        hub.kill()  # ada's server has begun, and is looked for after it: bob's turn comes
        hub.begin(Path("/dev/null"))
        expect(message).to_contain_text("You are 1st of 1 in the queue", timeout=MINUTE)
        page.get_by_role("button", name="Stop waiting").click()
        expect(page.locator("#stop-server-status")).to_have_text("It does not wait or start any more.", timeout=MINUTE)
        with hub.client() as client:
            eventually(lambda: not client.get("/users/cleo").json()["servers"], timeout=30, what="cleo waits no more")
        page.screenshot(path=SCREENSHOTS / "queue-2.png", full_page=True)
    assert hub.started == ["ada", "bob"]


def test_the_page_of_a_named_server_stops_that_one(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub", concurrent_starts=1) as hub, browser(hub.url) as context:

        def servers() -> dict[str, bool]:
            with hub.client() as client:
                found = client.get("/users/ada").json()["servers"]
            return {name: server["ready"] for name, server in found.items()}

        hub.may_answer("ada")
        hub.start("ada")
        eventually(lambda: servers() == {"": True}, timeout=60, what="the default server runs")
        hub.start("bob")
        page = context.new_page()
        start(page, "ada", "more")
        expect(page.locator("#progress-message")).to_contain_text("You are 1st of 1 in the queue", timeout=MINUTE)
        assert servers() == {"": True, "more": False}
        page.get_by_role("button", name="Stop waiting").click()
        expect(page.locator("#stop-server-status")).to_have_text("It does not wait or start any more.", timeout=MINUTE)
        eventually(lambda: servers().get("more") is None, timeout=30, what="it waits no more")
        assert servers() == {"": True}


def test_one_button_that_says_what_it_does(tmp_path: Path) -> None:
    with local_hub.running(tmp_path / "hub", http_timeout=8) as hub, browser(hub.url) as context:
        page = context.new_page()
        start(page, "ada")
        button = page.get_by_role("button", name=re.compile("stop|cancel|start", re.I))
        expect(page.locator("#progress-message")).to_contain_text("The server starts.", timeout=MINUTE)
        expect(button).to_have_text(["Cancel the start"])
        page.screenshot(path=SCREENSHOTS / "queue-3.png", full_page=True)
        expect(page.locator("#progress-message")).to_contain_text("Spawn failed", timeout=MINUTE)
        expect(button).to_have_count(0)
        page.screenshot(path=SCREENSHOTS / "queue-4.png", full_page=True)
