"""The page's volumes in Chromium: grow one, put it into the trash, take it out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from contracts.disks import GiB, made
from harness import api
from harness.api import Yard
from harness.chromium import SCREENSHOTS, browser
from harness.claims import claims_of
from harness.fake_cluster import fake_cluster
from harness.lab import listen
from harness.served import Served, served
from modelyard_api.volumes import SharedVolume
from modelyard_hub import sessions
from modelyard_hub.auth import identity_of

pytestmark = pytest.mark.browser
ROOT = "/services/modelyard/"


@asynccontextmanager
async def filled(home: Path) -> AsyncIterator[Yard]:
    """An API with a home that a server has, and two further volumes."""
    shared = (SharedVolume(name="imagenet", claim="imagenet", groups=("team",)),)
    async with (
        fake_cluster() as cluster,
        claims_of(cluster, home) as claims,
        api.yard(home, disks=claims.disks, shared_volumes=shared) as yard,
    ):
        volume = await made(claims, "home", size=10 * GiB)
        await claims.hold(volume)
        yard.parts.shelf.told(identity_of(yard.hub.users["ada"]), "ada", "home", 7 * GiB)
        await made(claims, "data", size=2 * GiB)
        taken = await claims.disks.snapshot(await made(claims, "pictures", size=50 * GiB))
        status = {"readyToUse": True, "restoreSize": "50Gi", "creationTime": "2026-11-01T08:00:00Z"}
        await cluster.change("volumesnapshots", taken.name, lambda o: o.update(status=status))
        yield yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, filled) as running:
        yield running


@pytest.fixture
def page(yard: Served) -> Iterator[Page]:
    SCREENSHOTS.mkdir(exist_ok=True)
    value = sessions.write_session(yard.yard.parts.signer, identity_of(yard.yard.hub.users["ada"]))
    with browser(yard.url) as context:
        said = listen(context)
        context.add_cookies([{"name": sessions.SESSION_COOKIE, "value": value, "url": yard.url + ROOT}])
        opened = context.new_page()
        opened.goto(ROOT)
        yield opened
        assert not [line for line in said if "status of 422" not in line]


def test_a_volume_is_grown_put_away_and_taken_back(page: Page) -> None:
    table, trash = page.get_by_role("table", name="Volumes"), page.get_by_role("table", name="Trash")
    expect(table.get_by_role("row")).to_have_count(5)
    home, data = table.get_by_role("row", name="ada/home"), table.get_by_role("row", name="ada/data")
    expect(home).to_contain_text("7 GiB used")
    expect(home).to_contain_text("notebook-ada on one")
    expect(home.get_by_role("button", name="Trash")).to_have_count(0)
    page.screenshot(path=SCREENSHOTS / "volumes.png", full_page=True)

    data.get_by_role("spinbutton").fill("5")
    data.get_by_role("button", name="Grow").click()
    expect(data).to_contain_text("2 GiB → 5 GiB")
    data.get_by_role("spinbutton").fill("1")
    data.get_by_role("button", name="Grow").click()
    expect(page.get_by_role("status")).to_contain_text("a volume cannot shrink: it has 5 GiB, asked for is 1 GiB")

    table.get_by_role("row", name="ada/pictures").get_by_role("button", name="Restore").click()
    asked = page.get_by_role("dialog", name="Restore a snapshot")
    asked.get_by_role("button", name="Cancel").click()
    expect(asked).to_have_count(0)
    table.get_by_role("row", name="ada/pictures").get_by_role("button", name="Restore").click()
    asked.get_by_label("Volume that gets the files").fill("before")
    asked.get_by_role("button", name="Restore").click()
    expect(table.get_by_role("row", name="ada/before")).to_contain_text("50 GiB")

    page.once("dialog", lambda dialog: dialog.dismiss())
    data.get_by_role("button", name="Trash").click()
    expect(trash).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    data.get_by_role("button", name="Trash").click()
    expect(trash.get_by_role("row")).to_have_count(1)
    expect(data).to_have_count(0)
    page.screenshot(path=SCREENSHOTS / "volumes-trash.png", full_page=True)
    trash.get_by_role("button", name="Recover").click()
    expect(data).to_have_count(1)
    expect(trash).to_have_count(0)


def test_one_folder_is_restored(page: Page) -> None:
    table = page.get_by_role("table", name="Volumes")
    row = table.get_by_role("row", name="ada/pictures")
    row.get_by_role("button", name="Restore").click()
    asked = page.get_by_role("dialog", name="Restore a snapshot")
    asked.get_by_label("Folder").fill("../bob")
    asked.get_by_label("Volume that gets the files").fill("data")
    page.screenshot(path=SCREENSHOTS / "volumes-restore.png", full_page=True)
    asked.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("status")).to_contain_text("a path inside the volume, without '..'")
    row.get_by_role("button", name="Restore").click()
    asked.get_by_label("Folder").fill("/models/churn/")
    asked.get_by_label("Volume that gets the files").fill("data")
    page.keyboard.press("Enter")
    expect(table.get_by_role("row", name="ada/data")).to_contain_text("models/churn from")
    expect(table.get_by_role("row", name="ada/data")).to_contain_text("running")


def test_a_further_volume_is_made(page: Page) -> None:
    table = page.get_by_role("table", name="Volumes")
    page.get_by_role("button", name="New volume").click()
    asked = page.get_by_role("dialog", name="A further volume")
    asked.get_by_role("button", name="Make it").click()
    expect(asked).to_be_visible()  # it has no name yet
    asked.get_by_label("Name", exact=True).fill("More")
    asked.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("status")).to_contain_text("DNS label")
    page.get_by_role("button", name="New volume").click()
    asked.get_by_label("Name", exact=True).fill("more")
    asked.get_by_label("Size in GiB").fill("3")
    page.screenshot(path=SCREENSHOTS / "volumes-new.png", full_page=True)
    asked.get_by_role("button", name="Make it").click()
    expect(table.get_by_role("row", name="ada/more")).to_contain_text("3 GiB")
