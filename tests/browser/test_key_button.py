"""The hub's page in Chromium: a key for a day of one's own endpoint, shown once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from harness.api import API, body
from harness.chromium import SCREENSHOTS, browser
from harness.lab import listen
from harness.served import Served, served
from modelyard_hub import sessions
from modelyard_hub.auth import identity_of

pytestmark = pytest.mark.browser
ROOT = "/services/modelyard/"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def test_a_key_is_made_by_a_button_and_shown_this_once(yard: Served) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with yard.client("ada") as ada:
        made = ada.put(f"{yard.url}{API}/endpoints/ada/churn", json=body(), headers={"If-None-Match": "*"})
        assert made.status_code == 201
    value = sessions.write_session(yard.yard.parts.signer, identity_of(yard.yard.hub.users["ada"]))
    with browser(yard.url) as context:
        said = listen(context)
        context.add_cookies([{"name": sessions.SESSION_COOKIE, "value": value, "url": yard.url + ROOT}])
        page = context.new_page()
        page.goto(ROOT + "#ada--churn")
        button = page.get_by_role("button", name="Key for a day")
        button.click()
        shown = page.get_by_role("dialog", name="A key for ada/churn")
        page.screenshot(path=SCREENSHOTS / "key-for-a-day.png", full_page=True)
        secret = shown.get_by_label("Key").input_value()
        (known,) = yard.call(yard.yard.parts.store.key_hashes("ada", "churn"))
        assert known.sha256 == hashlib.sha256(secret.encode()).hexdigest()
        shown.get_by_role("button", name="Close").click()
        expect(shown).to_have_count(0)
        assert secret not in page.content()

        with yard.client("ada") as ada:
            found = ada.get(f"{yard.url}{API}/endpoints/ada/churn")
            gone = ada.delete(f"{yard.url}{API}/endpoints/ada/churn", headers={"If-Match": found.headers["etag"]})
            assert gone.status_code in (200, 202, 204)
        button.click()
        expect(page.get_by_role("dialog", name="No key was made")).to_be_visible()
    assert not [text for text in said if "responded with a status of 4" not in text], said
