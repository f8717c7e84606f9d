"""PublishPanel and EndpointPanel in Chromium on the real stack: from a model to callers, a canary and back, without a
line of code. Leaves screenshots."""

from __future__ import annotations

import contextlib

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, Lab, listen, put_notebook, sign_in
from harness.publishing import ROW
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]

NOTEBOOK = "endpoint.ipynb"
NAME = "no-code"
CELLS = (
    "import sys\nsys.path.insert(0, {tests!r})\nimport modelyard as yard\n"
    "from harness.packages import pipeline, table\nX = table()\nfirst, second = pipeline(), pipeline()",
    "yard.PublishPanel(first)",
)


class Notebook(Lab):
    """The notebook in a tab, with its two panels."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, NOTEBOOK)
        self.publish: Locator = page.get_by_test_id("modelyard-publish-panel")
        self.endpoint: Locator = page.get_by_test_id("modelyard-endpoint-panel")

    def tab(self, name: str) -> None:
        """Open a part of the endpoint's panel."""
        self.endpoint.get_by_role("tab", name=name, exact=True).click()

    def click(self, name: str) -> None:
        """A button of the endpoint's panel."""
        self.endpoint.get_by_role("button", name=name, exact=True).click()

    def state(self, text: str) -> None:
        """Wait until the endpoint's panel says so."""
        expect(self.endpoint.locator(".my-state").first).to_contain_text(text, timeout=MINUTE)

    def shot(self, panel: Locator, name: str) -> None:
        panel.screenshot(path=SCREENSHOTS / f"endpoint-{name}.png")


@pytest.mark.timeout(300)
def test_from_a_model_to_callers_without_code(stack: Stack) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    tests = str(SCREENSHOTS.parents[1])
    put_notebook(stack, NOTEBOOK, [CELLS[0].format(tests=tests), CELLS[1]])
    with browser(stack.url) as context:
        errors = listen(context)
        page = context.new_page()
        sign_in(page, stack)
        notebook = Notebook(page)
        notebook.open()
        notebook.run(0)
        notebook.run(1)
        _publish_by_keyboard(notebook)
        _publish_a_second_version(notebook)
        _canary_and_back(notebook, stack)
        _ask(notebook)
        _key(notebook, stack)
        _hub_away(notebook, stack)
        _look(notebook)
        notebook.restart_kernel()
        gone = notebook.endpoint.get_by_text(f'yard.EndpointPanel("ada/{NAME}")')
        expect(gone).to_be_visible(timeout=MINUTE)
        notebook.shot(notebook.endpoint, "kernel-gone")
    # The endpoint's own page was opened twice, and asked first without a key.
    assert [text for text in errors if "401 (Unauthorized)" not in text] == []
    assert len(errors) == 2, errors


def _publish_by_keyboard(notebook: Notebook) -> None:
    """From the form, without the mouse; the notebook's own keys (a, b: new cells; d d: delete) stay in the panel."""
    panel, keyboard = notebook.publish, notebook.page.keyboard
    expect(panel.get_by_label("Example rows")).to_have_value("X", timeout=MINUTE)
    before = notebook.cells()
    panel.get_by_label("Name of the endpoint").focus()
    keyboard.type("abba dd")
    expect(panel.get_by_text("Use 1 to 63 characters")).to_be_visible()
    keyboard.press("Control+a")
    keyboard.type(NAME)
    expect(panel.get_by_text(f"New: ada/{NAME}")).to_be_visible()
    notebook.shot(panel, "form")
    panel.get_by_role("tab", name="Model").focus()
    keyboard.press("ArrowRight")
    expect(panel.get_by_role("table", name="Signature")).to_contain_text("number (int64)")
    panel.get_by_role("button", name="Publish", exact=True).focus()
    for key in ("a", "b", "d", "d"):
        keyboard.press(key)
    keyboard.press("Enter")
    expect(panel.get_by_role("list", name="Steps")).to_be_visible()
    notebook.shot(panel, "publishing")
    expect(panel.locator(".my-state").first).to_have_text("Ready", timeout=MINUTE)
    notebook.shot(panel, "published")
    assert notebook.cells() == before


def _publish_a_second_version(notebook: Notebook) -> None:
    panel = notebook.publish
    panel.get_by_role("tab", name="Model").click()
    panel.get_by_role("combobox", name="Model", exact=True).select_option("second")
    expect(panel.get_by_text("it becomes revision 2")).to_be_visible()
    panel.get_by_role("button", name="Publish", exact=True).click()
    expect(panel.get_by_role("button", name="Cancel")).to_be_visible()
    panel.get_by_role("button", name=f"Open ada/{NAME}").click(timeout=MINUTE)
    notebook.state("Ready")


def _canary_and_back(notebook: Notebook, stack: Stack) -> None:
    panel, keyboard = notebook.endpoint, notebook.page.keyboard

    def traffic(wanted: dict[int, int]) -> None:
        """Of the API, what the router does included."""

        def applied() -> bool:
            found = ada.get(f"/endpoints/ada/{NAME}").raise_for_status().json()["status"]["revisions"]
            return {r["number"]: r["percent"] for r in found if r["percent"]} == wanted

        eventually(applied, what=f"the traffic is {wanted}")

    with stack.client("ada") as ada:
        panel.get_by_role("slider", name="Calls to revision 2, percent").focus()
        for _ in range(20):
            keyboard.press("ArrowRight")
        expect(panel.get_by_text("revision 2 gets 20 % of the calls (now 0 %)")).to_be_visible()
        notebook.shot(panel, "draft")
        notebook.click("Apply")
        traffic({1: 80, 2: 20})
        expect(panel.get_by_role("table", name="Revisions")).to_contain_text("20 %")
        notebook.click("Promote revision 2")
        panel.get_by_role("group", name="Promote revision 2").get_by_role("button", name="Promote").click()
        traffic({2: 100})
        notebook.click("Roll back")
        expect(panel.get_by_text("All calls go back to revision 1")).to_be_visible()
        notebook.click("Roll back to revision 1")
        traffic({1: 100})


def _ask(notebook: Notebook) -> None:
    panel = notebook.endpoint
    notebook.tab("Try it")
    panel.get_by_label("Which revision").select_option("2")
    age = panel.get_by_label("age", exact=True)
    expect(age).to_have_value("3")  # as it was published with
    age.fill("")
    age.press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("age is empty")
    age.fill("9")
    age.press("Enter")
    expect(panel.get_by_role("table", name="Answer")).to_contain_text("%")
    expect(panel.get_by_text("Answered by version 2")).to_be_visible()
    notebook.shot(panel, "answer")
    notebook.tab("Logs")
    expect(panel.get_by_label("Log of Revision 2, replica 0")).to_be_visible()


def _key(notebook: Notebook, stack: Stack) -> None:
    panel = notebook.endpoint
    notebook.tab("Call it")
    panel.get_by_label("Name of a new key").fill("billing")
    notebook.click("Create key")
    secret = panel.get_by_label("Secret of the key billing").inner_text().strip()
    url = f"{stack.url}/serve/ada/{NAME}/v2/models/{NAME}/infer"

    def answers() -> bool:
        return httpx.post(url, json=ROW, headers={"Authorization": f"Bearer {secret}"}).status_code == 200

    eventually(answers, what="the key opens the endpoint")
    _try_with_it(notebook, secret)
    notebook.click("I have it")
    assert secret not in panel.inner_text()


def _try_with_it(notebook: Notebook, secret: str) -> None:
    """On the endpoint's own page, which the hub service's page links to, through the router."""
    link = notebook.endpoint.get_by_role("link", name="Its page")
    page = notebook.page.context.new_page()
    page.goto("/services/modelyard/")
    page.locator(f"#ada--{NAME}").get_by_role("link", name="Try it").click()
    expect(page.get_by_role("heading", name="This endpoint wants a key")).to_be_visible()
    assert page.url == link.get_attribute("href")
    page.goto(page.url.rstrip("/"))
    page.get_by_label("Key").fill(secret)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_label("age, row 1")).to_have_value("3")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("table", name="Answer")).to_contain_text("%")
    page.close()


def _hub_away(notebook: Notebook, stack: Stack) -> None:
    state = notebook.endpoint.locator(".my-state").first

    def told() -> bool:
        """It comes back within a second or two, so that it has to be killed until the panel has noticed."""
        with contextlib.suppress(ProcessLookupError):
            stack.kill("service")
        return "Unavailable" in state.inner_text()

    eventually(told, timeout=60, interval=0.3, what="the panel tells that the hub service is away")
    notebook.tab("Traffic")
    expect(notebook.endpoint.get_by_role("table", name="Revisions")).to_be_visible()
    notebook.shot(notebook.endpoint, "hub-away")
    expect(state).to_have_text("Ready", timeout=MINUTE)


def _look(notebook: Notebook) -> None:
    """Light and dark, from narrow to wide: nothing is wider than the panel."""
    page, panel = notebook.page, notebook.endpoint
    notebook.hide_files()
    for theme in ("light", "dark"):
        if theme == "dark":
            notebook.choose_dark()
        for width in (400, 1600):
            page.set_viewport_size({"width": width + 190, "height": 900})
            panel.scroll_into_view_if_needed()
            for tab in ("Traffic", "Try it", "Live", "Call it", "Settings"):
                notebook.tab(tab)
                notebook.shot(panel, f"{theme}-{width}-{tab.lower().replace(' ', '-')}")
                eventually(lambda: fits(panel), timeout=5, what=f"{tab} fits into {width} px")
            notebook.shot(notebook.publish, f"{theme}-{width}-publish")


def fits(panel: Locator) -> bool:
    """Whether nothing in it is wider than it is."""
    too_wide: int = panel.evaluate("el => el.scrollWidth - el.clientWidth")
    return too_wide <= 0
