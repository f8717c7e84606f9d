"""A notebook in JupyterLab, as a person works with it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, expect

from harness.stack import Stack
from harness.wait import eventually

MINUTE = 60_000
OF_NOTEBOOK_7 = ("reading 'schema'", "filebrowser:open-path")
"""What Notebook 7 itself says, in an empty notebook too."""


def put_notebook(stack: Stack, name: str, cells: Sequence[str], user: str = "ada") -> None:
    """Write a notebook of code cells into the user's folder."""
    folder = stack.home / "users" / user
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {"cell_type": "code", "id": f"cell-{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": text}
        for i, text in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": found, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / name).write_text(json.dumps(content))


def sign_in(page: Page, stack: Stack, user: str = "ada") -> None:
    """Until JupyterLab is there."""
    page.goto("/hub/login?next=%2Fhub%2Fspawn")
    page.get_by_label(re.compile("username", re.I)).fill(user)
    page.get_by_label(re.compile("password", re.I)).fill(stack.sign_in["password"])
    page.get_by_role("button", name=re.compile("sign in", re.I)).click()
    page.wait_for_url(f"**/user/{user}/lab/**", timeout=MINUTE)


def listen(context: BrowserContext) -> list[str]:
    """The errors that pages of `context` will say."""
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # Chromium drops its requests when this machine gets or loses a network, as containers' are: it asks again.
        if message.type == "error" and "ERR_NETWORK_CHANGED" not in message.text:
            said.append(f"{message.text} {message.location}")

    context.on("console", hear)
    context.on("weberror", lambda error: said.append(str(error.error)))
    return said


def wait_for_kernel(page: Page) -> None:
    """Until the open notebook's kernel is connected and idle.

    By the status bar: the notebook's own indicator says idle also before there is a kernel. Cells that are run before
    then make JupyterLab start a second session, of which it drops one, and with it, without a word, those cells. Where
    it does not know the kernels yet, it asks which one to start.
    """
    ask = page.locator(".jp-Dialog", has_text="Select Kernel").locator(".jp-mod-accept")
    connected = page.locator("#jp-main-statusbar").get_by_text(re.compile(r"\| Idle$"))

    def ready() -> bool:
        if ask.count():
            ask.first.click(timeout=2000)
        return connected.is_visible() and not page.locator(".jp-Dialog, .jp-Spinner").count()

    page.locator(".jp-Notebook").first.wait_for(timeout=MINUTE)
    eventually(ready, timeout=60, interval=0.1, what="the notebook's kernel is connected")


class Lab:
    """A notebook in a tab."""

    def __init__(self, page: Page, name: str, user: str = "ada") -> None:
        self.page = page
        self.name = name
        self.user = user

    def open(self) -> None:
        """Until its kernel is idle."""
        self.page.goto(f"/user/{self.user}/lab/tree/{self.name}?reset")
        wait_for_kernel(self.page)

    def cell(self, number: int) -> Locator:
        """A code cell."""
        return self.page.locator(".jp-CodeCell").nth(number)

    def cells(self) -> int:
        """How many code cells there are."""
        return self.page.locator(".jp-CodeCell").count()

    def run(self, number: int, *, ends: bool = True, timeout: float = 60) -> None:
        """Run a cell, to its end or until it has begun."""
        prompt = self.cell(number).locator(".jp-InputArea-prompt")

        def ran() -> bool:
            if prompt.inner_text() == "[ ]:":
                self.cell(number).locator(".cm-content").click(timeout=2000)
                self.page.keyboard.press("Control+Enter")
                expect(prompt.filter(has_not_text="[ ]")).to_be_visible(timeout=2000)
            return bool(re.fullmatch(r"\[\d+\]:" if ends else r"\[\*\]:", prompt.inner_text()))

        eventually(ran, timeout=timeout, interval=0.2, what=f"cell {number} runs")

    def kernel(self, what: str) -> None:
        """An entry of the menu Kernel."""
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{what}")).first.click()

    def restart_kernel(self) -> None:
        """By its menu, answering its question."""
        self.kernel("Restart Kernel…$")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def hide_files(self) -> None:
        """Close the file browser, which takes the width of a panel."""
        self.page.locator("li[data-id=filebrowser]").click()
        expect(self.page.locator("#filebrowser")).to_be_hidden()

    def choose_dark(self) -> None:
        """The dark theme."""
        self.page.get_by_role("menuitem", name="Settings", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel", has_text="Theme").first.click()
        self.page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", "false")


class Notebook7(Lab):
    """A notebook in a page of its own, as Jupyter Notebook 7 shows it."""

    def open(self) -> None:
        """Until its kernel is connected and idle, which the server says: there is no status bar."""
        self.page.goto(f"/user/{self.user}/notebooks/{self.name}")
        self.page.locator(".jp-Notebook").wait_for(timeout=MINUTE)

        def ready() -> bool:
            sessions = self.page.request.get(f"/user/{self.user}/api/sessions").json()
            kernels = [session["kernel"] for session in sessions if session["path"] == self.name]
            return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)

        eventually(ready, timeout=60, interval=0.2, what="the notebook's kernel is connected")
