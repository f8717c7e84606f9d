"""The spawn page in Chromium, of a real JupyterHub: choose a size by mouse and keys, be told what is wrong, start."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from harness.chromium import SCREENSHOTS, browser
from harness.lab import MINUTE, listen
from harness.stack import Stack
from harness.wait import eventually

pytestmark = [pytest.mark.stack, pytest.mark.browser]
MEMORY = {"min": "256Mi", "default": "512Mi", "max": "1Gi", "step": "256Mi"}
PROFILES = [
    {"name": "little", "title": "Little", "description": "To look around.", "cpu": 1, "memory": MEMORY},
    {
        "name": "more",
        "title": "More",
        "description": "For data that does not fit.",
        "cpu": {"min": 0.5, "default": 1, "max": 64, "step": 0.5},
        "memory": {"min": "512Mi", "default": "1Gi", "max": "4096Gi", "step": "512Mi"},
    },
    {"name": "huge", "title": "Huge", "cpu": 1, "memory": "4095Gi"},
    {"name": "secret", "title": "Secret", "cpu": 1, "memory": "512Mi", "groups": ["research"]},
]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "profiles.json").write_text(json.dumps({"profiles": PROFILES}))
    # Each server a program of its own, whose environment can be read.
    settings = {"MODELYARD_PROFILES": str(folder / "profiles.json"), "MODELYARD_NOTEBOOK_WARM": "false"}
    running = Stack(folder / "home", **settings).wait_ready()
    yield running
    running.stop()


@pytest.fixture
def context(yard: Stack) -> Iterator[BrowserContext]:
    SCREENSHOTS.mkdir(exist_ok=True)
    with browser(yard.url) as opened:
        said = listen(opened)
        yield opened
        assert not [line for line in said if not re.search("status of 40[03]", line)]  # what was refused


def sign_in(context: BrowserContext, yard: Stack, user: str) -> Page:
    page = context.new_page()
    page.goto("/hub/login?next=%2Fhub%2Fspawn")
    page.get_by_label(re.compile("username", re.I)).fill(user)
    page.get_by_label(re.compile("password", re.I)).fill(yard.sign_in["password"])
    page.get_by_role("button", name=re.compile("sign in", re.I)).click()
    expect(page.get_by_role("heading", name="Start a notebook server")).to_be_visible()
    return page


def server(yard: Stack, user: str) -> psutil.Process:
    """The user's notebook server: this machine may run others', such as a test cluster's."""
    folder = str(yard.home / "users" / user)
    for process in psutil.process_iter():
        try:
            if process.cwd() == folder and "modelyard.singleuser" in " ".join(process.cmdline()):
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    raise AssertionError(f"{user} has no server")


def peaks(yard: Stack, user: str) -> Any:
    """What JupyterHub's database has of the user's last sessions."""
    with sqlite3.connect(yard.home / "jupyterhub.sqlite") as database:
        row = database.execute(
            "select spawners.state from spawners join users on users.id = user_id where users.name = ?", (user,)
        )
        return json.loads(row.fetchone()[0] or "{}").get("used")


def stop(yard: Stack, user: str) -> None:
    with api(yard, user) as hub:
        hub.delete(f"/users/{user}/server").raise_for_status()
        eventually(lambda: not hub.get(f"/users/{user}").json()["servers"], timeout=30, what="the server is gone")


def test_a_size_is_chosen_started_and_there_again_next_time(yard: Stack, context: BrowserContext) -> None:
    page = sign_in(context, yard, "grace")
    assert page.get_by_role("radio").all_inner_texts() == ["", ""]  # neither what does not fit, nor another group's
    expect(page.get_by_role("radio", name="Little")).to_be_checked()
    expect(page.get_by_role("status")).to_have_text("1 CPU; 512 MiB of memory.")
    expect(page.get_by_text("Shared memory is this machine's")).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "spawn-1.png", full_page=True)
    page.get_by_text("More", exact=True).click()
    memory = page.get_by_role("spinbutton", name="Memory")
    memory.fill("1.5")
    expect(page.get_by_role("slider", name="Memory")).to_have_value("1.5")
    expect(page.get_by_role("status")).to_contain_text("1.5 GiB of memory")
    expect(page.get_by_role("listitem").filter(has_text="1.5 GiB of")).to_contain_text("of this machine")
    page.get_by_role("slider", name="CPUs").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("spinbutton", name="CPUs")).to_have_value("0.5")
    page.screenshot(path=SCREENSHOTS / "spawn-2.png", full_page=True)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/grace/lab/**", timeout=MINUTE)
    process = server(yard, "grace")
    told = process.environ()
    assert (told["MODELYARD_PROFILE"], told["CPU_LIMIT"], told["MEM_LIMIT"]) == ("more", "0.5", str(3 << 29))
    assert told["CUDA_VISIBLE_DEVICES"] == ""
    if len(os.sched_getaffinity(0)) > 1:
        assert len(process.cpu_affinity()) == 1
    page.goto("/hub/home")  # JupyterLab would say that its server is gone
    stop(yard, "grace")
    page.goto("/hub/spawn")
    expect(page.get_by_role("radio", name="More")).to_be_checked()
    expect(page.get_by_role("spinbutton", name="Memory")).to_have_value("1.5")
    expect(page.get_by_role("spinbutton", name="CPUs")).to_have_value("0.5")


def test_what_the_last_session_used_says_which_size_would_do(yard: Stack, context: BrowserContext) -> None:
    """The server itself tells what it used, half a minute after its start."""
    with api(yard, "hedy") as hub:
        choice = {"profile": "more", "cpu": 1, "memory": "4Gi"}
        hub.post("/users/hedy/server", json={"user_options": choice}).raise_for_status()
        eventually(lambda: hub.get("/users/hedy").json()["servers"][""]["ready"], timeout=60, what="it is ready")
    eventually(lambda: peaks(yard, "hedy"), timeout=90, what="it has told what it used")
    stop(yard, "hedy")
    page = sign_in(context, yard, "hedy")
    fits = page.locator(".yard-fits")
    expect(fits).to_contain_text(re.compile(r"Last time: \d+(\.\d)? MiB of 4 GiB of memory, [\d.]+ of 1 CPU"))
    expect(fits).to_contain_text(re.compile("More with 0.5 CPUs and 512 MiB would do"))
    page.get_by_text("Little", exact=True).click()
    page.screenshot(path=SCREENSHOTS / "spawn-7.png", full_page=True)
    fits.get_by_role("button", name="Choose it").click()
    expect(page.get_by_role("radio", name="More")).to_be_checked()
    expect(page.get_by_role("status")).to_have_text("0.5 CPUs; 512 MiB of memory.")
    page.screenshot(path=SCREENSHOTS / "spawn-8.png", full_page=True)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/hedy/lab/**", timeout=MINUTE)
    told = server(yard, "hedy").environ()
    assert (told["MODELYARD_PROFILE"], told["MEM_LIMIT"], told["CPU_LIMIT"]) == ("more", str(512 << 20), "0.5")


def test_what_is_wrong_is_said_beside_its_field_and_not_sent(yard: Stack, context: BrowserContext) -> None:
    page = sign_in(context, yard, "alan")
    memory = page.get_by_role("spinbutton", name="Memory")
    for wrong in ("0.3", "5", ""):
        memory.fill(wrong)
        expect(memory).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_text("Choose 256 MiB to 1 GiB in steps of 256 MiB.")).to_be_visible()
        expect(memory).to_have_accessible_description(re.compile("Choose 256 MiB"))
    page.get_by_role("button", name="Start").click()
    expect(memory).to_be_focused()
    page.screenshot(path=SCREENSHOTS / "spawn-3.png", full_page=True)
    assert page.url.endswith("/hub/spawn")
    memory.fill("0.75")
    expect(page.get_by_text("Choose 256 MiB")).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("768 MiB")


def test_the_server_refuses_what_a_form_must_not_send(yard: Stack, context: BrowserContext) -> None:
    page = sign_in(context, yard, "joan")
    page.locator("input[name=memory]:not(:disabled)").evaluate("field => { field.value = '99'; field.form.submit() }")
    expect(page.get_by_role("alert")).to_contain_text("memory: 99 B is not what profile 'little' allows")
    memory = page.get_by_role("spinbutton", name="Memory")
    expect(memory).to_have_accessible_description(re.compile("Choose 256 MiB to 1 GiB"))
    page.screenshot(path=SCREENSHOTS / "spawn-4.png", full_page=True)
    page.get_by_role("radio", name="Little").evaluate("radio => { radio.value = 'secret'; radio.form.submit() }")
    expect(page.get_by_role("alert")).to_contain_text("profile 'secret' is for members of research")
    with api(yard, "joan") as hub:
        assert not hub.get("/users/joan").json()["servers"]


def test_with_keys_alone(yard: Stack, context: BrowserContext) -> None:
    page = sign_in(context, yard, "ada")
    page.get_by_role("radio", name="Little").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="More")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("slider", name="CPUs")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("spinbutton", name="CPUs")).to_have_value("1.5")
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/ada/lab/**", timeout=MINUTE)
    assert server(yard, "ada").environ()["CPU_LIMIT"] == "1.5"


def test_narrow_and_dark(yard: Stack, context: BrowserContext) -> None:
    page = sign_in(context, yard, "edsger")
    page.set_viewport_size({"width": 400, "height": 800})
    page.get_by_text("More", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.screenshot(path=SCREENSHOTS / "spawn-5.png", full_page=True)
    page.evaluate("document.documentElement.setAttribute('data-bs-theme', 'dark')")
    page.screenshot(path=SCREENSHOTS / "spawn-6.png", full_page=True)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"profile": "more", "memory": "9000Gi"}, 400, "memory: 8.789 TiB is not what profile 'more' allows"),
        ({"profile": "huge"}, 400, "there is no profile 'huge'. Choose little or more."),
        ({"profile": "secret"}, 403, "profile 'secret' is for members of research. Choose little or more."),
        ({"mem": "1Gi"}, 400, "there is no option 'mem'"),
    ],
    ids=str,
)
def test_the_api_refuses_with_the_text(yard: Stack, options: dict[str, Any], status: int, said: str) -> None:
    with api(yard, "barbara") as hub:
        answer = hub.post("/users/barbara/server", json={"user_options": options})
        assert (answer.status_code, said in answer.json()["message"]) == (status, True), answer.text


def test_a_refused_choice_is_not_what_the_next_start_asks_for(yard: Stack) -> None:
    with api(yard, "kay") as hub:
        hub.post("/users/kay/server", json={"user_options": {"profile": "more", "cpu": 0.5}}).raise_for_status()
        eventually(lambda: server(yard, "kay"), timeout=30, what="the server runs")
        eventually(lambda: hub.get("/users/kay").json()["servers"][""]["ready"], timeout=30, what="it is ready")
        stop(yard, "kay")
        assert hub.post("/users/kay/server", json={"user_options": {"profile": "huge"}}).status_code == 400
        hub.post("/users/kay/server").raise_for_status()
        process = eventually(lambda: server(yard, "kay"), timeout=30, what="the server runs")
        assert process.environ()["MODELYARD_PROFILE"] == "more"
        assert process.environ()["CPU_LIMIT"] == "0.5"


def api(yard: Stack, user: str) -> httpx.Client:
    """JupyterHub's API as a new user, who may start servers of their own."""
    with yard.hub() as hub:
        hub.post(f"/users/{user}")
        made = hub.post(f"/users/{user}/tokens", json={})
        made.raise_for_status()
    headers = {"Authorization": f"token {made.json()['token']}"}
    return httpx.Client(base_url=f"{yard.url}/hub/api", headers=headers, timeout=30)
