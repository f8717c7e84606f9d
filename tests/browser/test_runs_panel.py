"""A notebook is submitted from JupyterLab's toolbar, and RunsPanel shows how far it is, on the real stack."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, Lab, listen, put_notebook, sign_in
from harness.runs import notebook
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser, pytest.mark.timeout(300)]
USER = "rosa"
WORK = """
import os, time
import modelyard as yard
given = yard.secret("warehouse"), os.environ["LAKE"], open(os.environ["KEY"]).read()
print("depth is", depth, *(value[::-1] for value in given), flush=True)  # as it is, a value would be hidden
for step in range(600):
    print("step", step, flush=True)
    time.sleep(0.5)
"""
SECRETS = ("gone", "key", "lake", "warehouse")
FURTHER = "Timeout, retries, priority, environment, secrets"
TRAIN = notebook("1 + 1", WORK, "print('never')", parameters="depth = 3\nlabel = 'churn'\nfiles = []\n")


def choose_secrets(form: Locator, api: httpx.Client) -> None:
    """One that is gone meanwhile is said at the field; the others are read by name, from a variable, from a file."""
    form.get_by_text(FURTHER).click()
    for name in SECRETS:
        form.get_by_label(name, exact=True).check()
    form.get_by_label("The run reads key").select_option("path")
    form.get_by_label("The run reads lake").select_option("variable")
    expect(form.get_by_label("Variable for lake")).to_have_value("LAKE")
    api.delete(f"/secrets/{USER}/gone").raise_for_status()
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("group", name="Secrets")).to_contain_text(f"there is no secret {USER}/gone", timeout=MINUTE)
    form.page.screenshot(path=SCREENSHOTS / "submit-5.png")
    form.get_by_label("gone", exact=True).uncheck()


def submit(page: Page, api: httpx.Client) -> None:
    """What is wrong with a parameter stands at its field; put right, and given secrets, it is submitted."""
    page.get_by_role("button", name="Submit…").click()
    form = page.get_by_role("dialog", name="Submit a run")
    expect(form.get_by_label("Name")).to_have_value("train", timeout=MINUTE)
    depth = form.get_by_label("depth (int)")
    expect(depth).to_have_value("3")
    depth.fill("many")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_text("'depth' must be of type int")).to_be_visible(timeout=MINUTE)
    expect(depth).to_have_attribute("aria-invalid", "true")
    page.screenshot(path=SCREENSHOTS / "submit-1.png")
    depth.fill("7")
    choose_secrets(form, api)
    form.get_by_role("button", name="Submit").click()
    expect(form).to_contain_text(re.compile(r"Run \w{16} is submitted"), timeout=MINUTE)
    page.screenshot(path=SCREENSHOTS / "submit-2.png")
    form.get_by_role("button", name="Close").click()


def schedule(page: Page, api: httpx.Client) -> None:
    """By the same form: the line is read out before it is saved."""
    page.get_by_role("button", name="Submit…").click()
    form = page.get_by_role("dialog", name="Submit a run")
    form.get_by_label("When").select_option("schedule", timeout=MINUTE)
    form.get_by_label("Cron line").fill("0 0 31 2 *")
    expect(form.get_by_text("is never due")).to_be_visible(timeout=MINUTE)
    form.get_by_label("Cron line").fill("30 2 * * MON-FRI")
    form.get_by_label("Time zone").fill("Asia/Tokyo")
    expect(form.get_by_text("At 02:30 on Monday through Friday")).to_be_visible(timeout=MINUTE)
    expect(form.get_by_role("listitem").filter(has_text="your time")).to_have_count(5, timeout=MINUTE)
    form.get_by_text(FURTHER).click()
    form.get_by_label("warehouse", exact=True).check()
    page.screenshot(path=SCREENSHOTS / "submit-3.png")
    form.get_by_role("button", name="Save the schedule").click()
    expect(form).to_contain_text(f"Schedule {USER}/train is saved", timeout=MINUTE)
    saved = api.get(f"/schedules/{USER}/train").json()["spec"]["run"]["secrets"]
    assert saved == [{"secret": "warehouse", "env": None, "file": "warehouse"}]
    form.get_by_role("button", name="Close").click()


def watch_folder(page: Page, folder: Path) -> None:
    """By the same form: a folder that is not there is said at its field. Saved, the folder goes."""
    page.get_by_role("button", name="Submit…").click()
    form = page.get_by_role("dialog", name="Submit a run")
    form.get_by_label("When").select_option("files", timeout=MINUTE)
    form.get_by_label("Name").fill("incoming")
    form.get_by_label("Folder or bucket").fill(str(folder))
    form.get_by_role("button", name="Save the schedule").click()
    expect(form.get_by_label("Folder or bucket")).to_have_attribute("aria-invalid", "true", timeout=MINUTE)
    page.screenshot(path=SCREENSHOTS / "submit-4.png")
    folder.mkdir()
    form.get_by_role("button", name="Save the schedule").click()
    expect(form).to_contain_text(f"Schedule {USER}/incoming is saved", timeout=MINUTE)
    form.get_by_role("button", name="Close").click()
    folder.rmdir()


def put_away(panel: Locator, folder: Path) -> None:
    """The schedules, in their tab: why one starts nothing is told; another one is seen, paused, deleted."""
    panel.get_by_role("tab", name="Schedules").click()
    watched = panel.get_by_role("row", name="incoming")
    expect(watched).to_contain_text("New files cannot be seen since", timeout=MINUTE)
    watched.get_by_role("button", name="Open").click()
    expect(panel.get_by_role("region", name=f"Schedule {USER}/incoming")).to_contain_text(str(folder))
    panel.screenshot(path=SCREENSHOTS / "runs-panel-4.png")
    panel.get_by_role("button", name="Delete…").click()
    panel.get_by_role("button", name="Delete the schedule").click()
    expect(watched).to_be_hidden(timeout=MINUTE)
    row = panel.get_by_role("row", name="train")
    expect(row).to_contain_text("At 02:30 on Monday through Friday", timeout=MINUTE)
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused", timeout=MINUTE)
    row.get_by_role("button", name="Resume").click()
    row.get_by_role("button", name="Open").click()
    expect(panel.get_by_role("table", name="The next times").get_by_role("row")).to_have_count(6, timeout=MINUTE)
    panel.screenshot(path=SCREENSHOTS / "runs-panel-3.png")
    panel.get_by_role("button", name="Delete…").click()
    panel.get_by_role("button", name="Delete the schedule").click()
    expect(panel.get_by_text("No schedules yet")).to_be_visible(timeout=MINUTE)


def test_submit_watch_look_cancel(stack: Stack, tmp_path: Path) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    put_notebook(stack, "watch.ipynb", ["import modelyard as yard\nyard.RunsPanel()"], USER)
    (stack.home / "users" / USER / "train.ipynb").write_text(TRAIN)
    with browser(stack.url) as context, stack.client(USER) as api:
        errors = listen(context)
        page = context.new_page()
        sign_in(page, stack, USER)
        for name in SECRETS:
            api.put(f"/secrets/{USER}/{name}", json={"value": f"value of {name}"}).raise_for_status()
        Lab(page, "train.ipynb", USER).open()
        submit(page, api)
        schedule(page, api)
        watch_folder(page, tmp_path / "incoming")

        watch = Lab(page, "watch.ipynb", USER)
        watch.open()
        watch.run(0)
        panel = page.get_by_test_id("modelyard-runs-panel")
        row = panel.get_by_role("row", name="train")
        # One cell more than it has: papermill adds the parameters that were given.
        expect(row).to_contain_text("cell 4 of 5", timeout=2 * MINUTE)
        expect(row).to_contain_text(re.compile(r"step \d+"), timeout=MINUTE)
        row.get_by_role("button", name="Open").click()
        output = panel.frame_locator("iframe")

        def there() -> bool:
            panel.get_by_role("button", name="Read again").click()
            return output.get_by_text("depth is 7 esuoheraw fo eulav ekal fo eulav yek fo eulav").is_visible()

        eventually(there, timeout=60, interval=2, what="what the running cell printed is in the output notebook")
        panel.screenshot(path=SCREENSHOTS / "runs-panel-1.png")
        panel.get_by_role("tab", name="Log").click()
        expect(panel.get_by_label("Log of train")).to_contain_text("step", timeout=MINUTE)
        panel.get_by_role("tab", name="About").click()
        expect(panel.get_by_role("table", name="Parameters")).to_contain_text("7")
        expect(panel.get_by_role("table", name="About")).to_contain_text("key as KEY, lake as LAKE, warehouse")
        row.get_by_role("button", name="Cancel…").click()
        row.get_by_role("button", name="Cancel the run").click()
        expect(row).to_contain_text("cancelled", timeout=MINUTE)
        panel.get_by_role("tab", name="Output notebook").click()
        expect(output.get_by_text("depth is 7")).to_be_visible(timeout=MINUTE)
        panel.screenshot(path=SCREENSHOTS / "runs-panel-2.png")
        put_away(panel, tmp_path / "incoming")
        source = json.loads((stack.home / "users" / USER / "train.ipynb").read_text())
        assert [cell["outputs"] for cell in source["cells"]] == [[], [], [], []], "the source is never written to"
    assert not [line for line in errors if "status of 4" not in line], errors
