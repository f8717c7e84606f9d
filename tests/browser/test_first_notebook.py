"""A new user in Chromium: sign in, spawn, run the first notebook, see the endpoint. Leaves screenshots."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, wait_for_kernel
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/hub/login?next=%2Fhub%2Fhome")
    page.get_by_label(re.compile("username", re.I)).fill(username)
    page.get_by_label(re.compile("password", re.I)).fill(password)
    page.get_by_role("button", name=re.compile("sign in", re.I)).click()
    page.wait_for_url("**/hub/home")


def code_cells(saved: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(saved.read_text())["cells"] if cell["cell_type"] == "code" and cell["source"]]


def errors(saved: Path) -> list[Any]:
    return [o for cell in code_cells(saved) for o in cell["outputs"] if o["output_type"] == "error"]


def finished(page: Page, saved: Path) -> bool:
    """Whether the notebook, as just saved, has run: to the end, or to its first error. Else says where it stands."""
    page.keyboard.press("Control+s")
    counts = [cell["execution_count"] for cell in code_cells(saved)]
    if all(counts) or errors(saved):
        return True
    dialogs = page.locator(".jp-Dialog").all_inner_texts()
    kernel = page.locator("#jp-main-statusbar").inner_text()
    raise AssertionError(f"cells saved as {counts}; dialogs: {dialogs}; status bar: {kernel!r}")


@pytest.mark.timeout(600)
def test_first_notebook_in_jupyterlab(stack: Stack) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with browser(stack.url) as context:
        page = context.new_page()
        sign_in(page, "grace", stack.sign_in["password"])
        page.screenshot(path=SCREENSHOTS / "1-home.png")
        page.goto("/hub/spawn")
        page.wait_for_url("**/user/grace/lab/**", timeout=MINUTE)
        wait_for_kernel(page)
        page.screenshot(path=SCREENSHOTS / "2-notebook.png")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        saved = stack.home / "users" / "grace" / "notebooks" / "01-train-and-publish.ipynb"
        eventually(lambda: finished(page, saved), timeout=180, interval=2, what="all cells ran and were saved")
        assert not errors(saved)
        counts = [cell["execution_count"] for cell in code_cells(saved)]
        assert counts == list(range(1, len(counts) + 1))
        assert not [o for cell in code_cells(saved) for o in cell["outputs"] if o.get("name") == "stderr"]
        page.screenshot(path=SCREENSHOTS / "3-ran.png")
        panel = page.locator(".jp-WindowedPanel-outer").first
        panel.evaluate("panel => { panel.scrollTop = panel.scrollHeight * 0.38 }")
        card = page.get_by_test_id("modelyard-publish").first
        expect(card).to_be_visible()
        assert card.evaluate("card => card.scrollWidth - card.clientWidth") <= 0, "the steps are wider than their card"
        page.screenshot(path=SCREENSHOTS / "3-published.png")
        page.goto("/services/modelyard/")
        expect(page.get_by_text("churn").first).to_be_visible()
        page.screenshot(path=SCREENSHOTS / "4-endpoints.png")
        page.goto("/mlflow/")
        expect(page.get_by_text("Experiments").first).to_be_visible(timeout=MINUTE)
        page.screenshot(path=SCREENSHOTS / "5-mlflow.png")


def test_wrong_password_and_the_groups_name_are_refused(stack: Stack) -> None:
    with browser(stack.url) as context:
        page = context.new_page()
        refused = (("ada", "guess", "Invalid username or password"),)
        refused += (("team", stack.sign_in["password"], "is the name of a group"),)
        for username, password, said in refused:
            page.goto("/hub/login")
            page.get_by_label(re.compile("username", re.I)).fill(username)
            page.get_by_label(re.compile("password", re.I)).fill(password)
            page.get_by_role("button", name=re.compile("sign in", re.I)).click()
            expect(page.get_by_text(said)).to_be_visible()
