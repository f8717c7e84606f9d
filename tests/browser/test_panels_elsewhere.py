"""The panels in Chromium where things are otherwise: in Notebook 7, signed out, with a token that was taken back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, OF_NOTEBOOK_7, Lab, Notebook7, listen, put_notebook, sign_in
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]

DATA = (
    "import modelyard as yard\nfrom sklearn.datasets import make_classification\n"
    "from sklearn.neural_network import MLPClassifier\nX, y = make_classification(4000, 12, random_state=0)"
)
LONG = "run = yard.train(MLPClassifier(max_iter=20000, tol=0, n_iter_no_change=20000), X, y, name='elsewhere')"


def steps(panel: Locator) -> int:
    """Iterations that a training's panel says are done."""
    found = re.search(r"(\d+) of \d+", panel.locator("dd", has_text=re.compile(r"\d+ of \d+")).inner_text())
    assert found
    return int(found[1])


def goes_on(panel: Locator) -> None:
    """Wait until it has told some further iterations."""
    before = eventually(lambda: steps(panel), what="the panel tells iterations")
    eventually(lambda: steps(panel) > before, what="the panel goes on")


def trained(notebook: Lab) -> Locator:
    """Run the notebook's first two cells, which begin a long training; its panel, which is live."""
    notebook.run(0)
    notebook.run(1)
    panel = notebook.page.get_by_test_id("modelyard-train").first
    expect(panel.get_by_role("progressbar")).to_be_visible(timeout=MINUTE)
    goes_on(panel)
    return panel


def stopped(panel: Locator) -> None:
    panel.get_by_role("button", name="Stop", exact=True).click()
    expect(panel.locator(".my-state").first).to_contain_text("stopped", timeout=MINUTE)


@pytest.mark.timeout(300)
def test_a_training_in_notebook_7(stack: Stack) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    put_notebook(stack, "seven.ipynb", (DATA, LONG, "run.wait().state"), "lin")
    with browser(stack.url) as context:
        errors = listen(context)
        page = context.new_page()
        sign_in(page, stack, "lin")
        notebook = Notebook7(page, "seven.ipynb", "lin")
        notebook.open()
        panel = trained(notebook)
        panel.screenshot(path=SCREENSHOTS / "notebook-7-live.png")
        notebook.run(2, ends=False)
        stopped(panel)  # the kernel is busy
        expect(notebook.cell(2).locator(".jp-OutputArea-output")).to_contain_text("stopped", timeout=MINUTE)
        page.screenshot(path=SCREENSHOTS / "notebook-7-stopped.png")
    of_panels = [error for error in errors if not any(own in error for own in OF_NOTEBOOK_7)]
    assert not of_panels, of_panels


@pytest.mark.timeout(300)
def test_a_person_who_is_signed_out_is_told_and_signed_in_again_goes_on(stack: Stack) -> None:
    put_notebook(stack, "signed-out.ipynb", (DATA, LONG), "lin")
    with browser(stack.url) as context:
        page = context.new_page()
        sign_in(page, stack, "lin")
        notebook = Lab(page, "signed-out.ipynb", "lin")
        notebook.open()
        panel = trained(notebook)
        notebook.restart_kernel()
        expect(panel.get_by_text("The kernel restarted or ended; the run goes on")).to_be_visible(timeout=MINUTE)
        goes_on(panel)  # told by the notebook server
        cookies = context.cookies()
        context.clear_cookies()
        before = _exchange_token(page, "of-a-session-that-ended")
        expect(panel.get_by_role("alert")).to_contain_text("Sign-in expired", timeout=MINUTE)
        expect(panel.get_by_role("alert")).to_contain_text("reload the page")
        panel.screenshot(path=SCREENSHOTS / "train-signed-out.png")
        panel.get_by_role("button", name="Stop", exact=True).click()
        expect(panel.get_by_role("alert").filter(has_text="Sign-in expired")).to_have_count(2)
        context.add_cookies([{**cookie} for cookie in cookies])  # type: ignore[typeddict-item]
        _exchange_token(page, before)
        goes_on(panel)
        stopped(panel)
        expect(panel.get_by_role("alert")).to_have_count(0)


def _exchange_token(page: Page, new: str) -> str:
    """Put another token into the page, which is how JupyterHub tells it; the one that was there."""
    before: str = page.locator("#jupyter-config-data").evaluate(
        """(element, token) => {
            const config = JSON.parse(element.textContent);
            element.textContent = JSON.stringify({ ...config, token });
            return config.token;
        }""",
        new,
    )
    return before


@pytest.mark.timeout(300)
def test_a_token_that_was_taken_back_is_told_with_the_way_out(stack: Stack) -> None:
    cells = (
        f"import sys\nsys.path.insert(0, {str(SCREENSHOTS.parents[1])!r})\nimport modelyard as yard\n"
        "from harness.packages import pipeline, table\nX, model = table(), pipeline()\n"
        "yard.publish(model, 'revoked', example=X[:3])",
        "yard.EndpointPanel('revoked')",
        "yard.PublishPanel(model, 'revoked')",
    )
    put_notebook(stack, "revoked.ipynb", cells, "mallory")
    with browser(stack.url) as context:
        page = context.new_page()
        sign_in(page, stack, "mallory")
        notebook = Lab(page, "revoked.ipynb", "mallory")
        notebook.open()
        for cell in range(3):
            notebook.run(cell, timeout=150)
        panel = page.get_by_test_id("modelyard-endpoint-panel")
        expect(panel.locator(".my-state").first).to_have_text("Ready", timeout=MINUTE)
        _take_back(stack, "mallory")
        alert = panel.get_by_role("alert").first
        expect(alert).to_contain_text("Your token is not accepted any more", timeout=2 * MINUTE)
        expect(alert).to_contain_text("stop and start your server")
        expect(panel.get_by_role("table", name="Revisions")).to_contain_text("100 %")  # as it was last
        panel.screenshot(path=SCREENSHOTS / "endpoint-token.png")
        _publish_tells(page)


def _take_back(stack: Stack, user: str) -> None:
    """The token of the user's notebook server, as an administrator does."""
    with stack.hub() as hub:
        tokens = hub.get(f"/users/{user}/tokens").raise_for_status().json()["api_tokens"]
        of_server = [token["id"] for token in tokens if f"/user/{user}/" in token["note"]]
        assert of_server
        for token in of_server:
            hub.delete(f"/users/{user}/tokens/{token}").raise_for_status()


def _publish_tells(page: Page) -> None:
    panel = page.get_by_test_id("modelyard-publish-panel")
    panel.get_by_label("Description").fill("told")
    expect(panel.get_by_role("alert")).to_contain_text("Your token is not accepted any more", timeout=MINUTE)
    expect(panel.get_by_role("alert")).to_contain_text("stop and start your server")
    expect(panel.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    panel.screenshot(path=SCREENSHOTS / "publish-token.png")
