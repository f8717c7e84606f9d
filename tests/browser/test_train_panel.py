"""TrainPanel and RunsTable in Chromium on the real stack: one session through everything that can come between a person
and a training. Leaves screenshots."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, Lab, listen, put_notebook, sign_in
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]

NOTEBOOK = "panels.ipynb"
CELLS = (
    "import modelyard as yard\nfrom sklearn.datasets import make_classification\n"
    "X, y = make_classification(4000, 12, random_state=0)\n"
    "import pandas as pd\ndf = pd.DataFrame(X, columns=[f'c{i}' for i in range(12)]).assign(label=y)",
    "panel = yard.TrainPanel(df, 'label', 'mlp')\npanel",
    "import time\nfor _ in range(600):\n    time.sleep(0.1)",
    "import modelyard as yard\nyard.RunsTable()",
)


class Notebook(Lab):
    """The notebook in a tab."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, NOTEBOOK)
        self.panel: Locator = page.get_by_test_id("modelyard-train").first

    def steps(self) -> int:
        """Iterations that the panel says are done."""
        found = re.search(r"(\d+) of \d+", self.panel.locator("dd", has_text=re.compile(r"\d+ of \d+")).inner_text())
        assert found
        return int(found[1])

    def goes_on(self) -> int:
        """Wait until the panel has told some further iterations."""
        before = eventually(self.steps, timeout=30, what="the panel tells iterations")
        return eventually(lambda: self.steps() > before and self.steps(), timeout=30, what="the panel goes on")

    def state(self, text: str, timeout: float = 30_000) -> None:
        expect(self.panel.locator(".my-state").first).to_contain_text(text, timeout=timeout)

    def button(self, name: str) -> Locator:
        return self.panel.get_by_role("button", name=name, exact=True)

    def shot(self, name: str) -> None:
        self.panel.screenshot(path=SCREENSHOTS / f"train-{name}.png")


@pytest.mark.timeout(300)
def test_a_training_survives_whatever_the_notebook_does(stack: Stack) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    put_notebook(stack, NOTEBOOK, CELLS)
    with browser(stack.url) as context:
        errors = listen(context)
        page = context.new_page()
        sign_in(page, stack)
        notebook = Notebook(page)
        notebook.open()
        notebook.run(0)
        notebook.run(1)
        _train_by_keyboard(notebook)
        _reload(notebook)
        other = Notebook(context.new_page())
        other.open()
        other.panel.scroll_into_view_if_needed()
        other.goes_on()
        _stop_while_the_kernel_is_busy(notebook, other)
        other.page.close()
        _restart_the_kernel(notebook)
        _compare(notebook)
        _look(notebook)
    assert not errors, errors


def _train_by_keyboard(notebook: Notebook) -> None:
    """From the form, without the mouse; the notebook's own keys (a, b: new cells; d d: delete) stay in the panel."""
    panel, keyboard = notebook.panel, notebook.page.keyboard
    expect(panel.get_by_label("max_iter")).to_be_visible(timeout=MINUTE)
    notebook.shot("form")
    before = notebook.cells()
    panel.get_by_label("Name", exact=True).focus()
    keyboard.type("abba dd")
    panel.get_by_label("max_iter").focus()
    keyboard.press("Control+a")
    keyboard.type("20000")
    panel.get_by_text(re.compile("More parameters")).focus()
    keyboard.press("Enter")
    for name, value in (("tol", "0"), ("n_iter_no_change", "20000")):
        panel.get_by_label(name, exact=True).focus()
        keyboard.press("Control+a")
        keyboard.type(value)
    expect(panel.locator(".my-bad")).to_have_count(0)
    notebook.button("Train").focus()
    for key in ("a", "b", "d", "d"):
        keyboard.press(key)
    keyboard.press("Enter")
    expect(panel.get_by_role("progressbar")).to_be_visible(timeout=MINUTE)
    assert notebook.cells() == before
    expect(panel.get_by_role("heading", name="Training abba-dd")).to_be_visible()
    notebook.goes_on()
    notebook.shot("live")
    tab = panel.get_by_role("tab", name="Curves")
    tab.focus()
    keyboard.press("ArrowRight")
    expect(panel.get_by_role("tab", selected=True)).not_to_have_text("Curves")


def _reload(notebook: Notebook) -> None:
    with notebook.page.expect_response(lambda r: r.request.method == "PUT" and NOTEBOOK in r.url):
        notebook.page.keyboard.press("Control+s")  # from within the panel
    before = notebook.steps()
    notebook.page.reload()
    notebook.page.locator(".jp-Notebook").wait_for(timeout=MINUTE)
    expect(notebook.panel.get_by_role("progressbar")).to_be_visible(timeout=MINUTE)
    assert notebook.goes_on() > before


def _stop_while_the_kernel_is_busy(notebook: Notebook, other: Notebook) -> None:
    notebook.run(2, ends=False)
    expect(notebook.page.locator(".jp-Notebook-ExecutionIndicator[data-status=busy]").first).to_be_visible()
    notebook.goes_on()
    notebook.button("Stop").click()
    expect(notebook.panel.locator(".my-state").first).to_contain_text(re.compile("stopping|stopped"))
    notebook.state("stopped")
    other.state("stopped")
    assert notebook.cell(2).locator(".jp-InputArea-prompt").inner_text() == "[*]:"  # the kernel is busy still
    notebook.kernel("Interrupt Kernel$")
    expect(notebook.cell(2).get_by_text("KeyboardInterrupt").first).to_be_visible(timeout=MINUTE)
    notebook.state("stopped")


def _restart_the_kernel(notebook: Notebook) -> None:
    notebook.button("Change and train again").click()
    notebook.button("Train").click()
    notebook.state("running")
    notebook.goes_on()
    notebook.restart_kernel()
    expect(notebook.panel.get_by_text("The kernel restarted or ended; the run goes on")).to_be_visible(timeout=MINUTE)
    notebook.goes_on()
    notebook.shot("kernel-restarted")
    notebook.button("Pause").click()
    notebook.state("paused")
    notebook.button("Resume").click()
    notebook.goes_on()
    notebook.button("Stop").click()
    notebook.state("stopped")
    notebook.panel.get_by_role("tab", name="Code").click()
    expect(notebook.panel.get_by_text("MLPClassifier(max_iter=20000").first).to_be_visible()


def _compare(notebook: Notebook) -> None:
    notebook.run(3)
    table = notebook.page.get_by_test_id("modelyard-runs")
    expect(table.get_by_role("checkbox")).to_have_count(2, timeout=MINUTE)
    for box in table.get_by_role("checkbox").all():
        box.check()
    table.get_by_role("button", name="Compare (2)").click()
    expect(table.get_by_role("heading", name="Comparison")).to_be_visible()
    table.screenshot(path=SCREENSHOTS / "runs-compared.png")
    table.get_by_role("button", name="Open").first.click()
    opened = table.get_by_test_id("modelyard-train")
    expect(opened.get_by_role("tab", name="Curves")).to_be_visible(timeout=MINUTE)


def _look(notebook: Notebook) -> None:
    """Dark, and from narrow to wide."""
    page = notebook.page
    notebook.choose_dark()
    page.keyboard.press("Control+b")
    for width in (400, 1600):
        page.set_viewport_size({"width": width + 190, "height": 900})
        notebook.panel.scroll_into_view_if_needed()
        for tab in ("Code", "Curves"):
            notebook.panel.get_by_role("tab", name=tab, exact=True).click()
            overflow = notebook.panel.evaluate("el => el.scrollWidth - el.clientWidth")
            assert overflow <= 0, f"{tab} at {width} px is {overflow} px too wide"
            if tab == "Code":  # each line on one line
                pre = notebook.panel.locator(".my-code pre")
                lines = pre.inner_text().rstrip("\n").count("\n") + 1
                height = pre.evaluate("el => el.clientHeight / parseFloat(getComputedStyle(el).lineHeight)")
                assert height < lines + 3, f"{lines} lines of code take the room of {height}"
            notebook.shot(f"dark-{width}-{tab.lower()}")
