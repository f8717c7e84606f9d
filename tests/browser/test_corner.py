"""JupyterLab's corner in Chromium: a countdown, and the button that keeps the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import OF_NOTEBOOK_7, Lab, Notebook7, listen, put_notebook, sign_in
from harness.stack import Stack
from harness.user_server import UserServer
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]


@pytest.fixture
def context(stack: Stack) -> Iterator[BrowserContext]:
    SCREENSHOTS.mkdir(exist_ok=True)
    with browser(stack.url) as opened:
        said = listen(opened)
        yield opened
        assert not [line for line in said if not any(own in line for own in OF_NOTEBOOK_7)]


@pytest.mark.parametrize(("kind", "user"), [(Lab, "cora"), (Notebook7, "cleo")])
def test_it_counts_down_and_keeps(stack: Stack, context: BrowserContext, kind: type[Lab], user: str) -> None:
    put_notebook(stack, "quiet.ipynb", ["1 + 1"], user)
    server = UserServer(stack, user)
    page = context.new_page()
    sign_in(page, stack, user)
    kind(page, "quiet.ipynb", user).open()
    corner = page.locator(".yard-corner")
    expect(corner).to_be_attached()
    expect(corner).to_be_hidden()

    def shown() -> bool:  # a page that was just opened saves this and that, which is work
        if not server.activity().ends_at:
            server.activity("/countdown", seconds=300, keep=7200)
        return corner.is_visible()

    eventually(shown, timeout=120, interval=2, what="the countdown is shown")
    expect(corner).to_contain_text("This server is stopped in 4:")
    page.screenshot(path=SCREENSHOTS / f"corner-{kind.__name__}.png")
    corner.get_by_role("button", name="Keep for 2 h").click()
    expect(corner).to_be_hidden()
    kept = server.activity()
    assert 7000 < kept.keep_until - kept.now <= 7200
    assert kept.ends_at == 0
    page.close()
    server.stop()
