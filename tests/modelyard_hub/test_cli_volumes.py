"""`modelyard volumes`, as a program, over the whole API on claims of a fake cluster."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts.disks import GiB, made
from harness import api
from harness.api import Yard
from harness.claims import Claims, claims_of
from harness.fake_cluster import fake_cluster
from harness.served import Served, served
from harness.stack import BIN
from modelyard_hub.embedded.home import Ports, prepare, secrets_of
from modelyard_hub.settings import Settings

there: dict[Path, Claims] = {}


@asynccontextmanager
async def filled(home: Path) -> AsyncIterator[Yard]:
    async with (
        fake_cluster() as cluster,
        claims_of(cluster, home) as claims,
        api.yard(home, disks=claims.disks) as yard,
    ):
        await claims.hold(await made(claims, "home", size=10 * GiB))
        await made(claims, "data", size=2 * GiB)
        there[home] = claims
        yield yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Served]:
    prepare(tmp_path)
    with served(tmp_path, filled) as running:
        port = urlsplit(running.url).port
        assert port
        (tmp_path / "ports.json").write_text(json.dumps(asdict(Ports(hub=port, service=port, mlflow=1, traefik_api=1))))
        token = secrets_of(Settings(home=tmp_path)).cli_token
        running.yard.hub.add(token, "modelyard-cli", kind="service", scopes=["custom:modelyard:admin"])
        yield running


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MODELYARD_HOME": str(home)}
    return subprocess.run(
        [str(BIN / "modelyard"), "volumes", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def rows(home: Path, *arguments: str) -> list[dict[str, str]]:
    done = command(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def test_a_volume_through_its_life(yard: Served, tmp_path: Path) -> None:
    listed = {row["volume"]: row for row in rows(tmp_path, "list")}
    assert (listed["home"]["size"], listed["home"]["mounted by"]) == ("10 GiB", "notebook-ada")
    assert "notebook-ada" in command(tmp_path, "list").stdout
    assert rows(tmp_path, "grow", "ada", "data", "5Gi")[0]["size"] == "2 GiB → 5 GiB"
    assert rows(tmp_path, "create", "bob", "more", "--size", "3Gi")[0]["size"] == "3 GiB"

    taken = rows(tmp_path, "snapshot", "ada", "data")[0]["snapshot"]
    early = command(tmp_path, "restore", "ada", "data", taken, "before")
    assert (early.returncode, "is not ready" in early.stderr) == (1, True), early.stderr
    status = {"readyToUse": True, "restoreSize": "2Gi", "creationTime": "2026-11-01T08:00:00Z"}
    change = there[tmp_path].cluster.change("volumesnapshots", taken, lambda o: o.update(status=status))
    asyncio.run_coroutine_threadsafe(change, yard.loop).result(10)
    assert rows(tmp_path, "snapshots", "ada", "data")[0]["state"] == "ready"
    assert rows(tmp_path, "restore", "ada", "data", taken, "before")[0]["volume"] == "before"
    (copied,) = rows(tmp_path, "restore", "ada", "data", taken, "data", "--folder", "work")
    assert "work: running" in copied["says"]

    rows(tmp_path, "trash", "bob", "more")
    (put,) = rows(tmp_path, "trashed")
    assert (put["owner"], put["volume"], put["by"]) == ("bob", "more", "service:modelyard-cli")
    assert rows(tmp_path, "recover", put["id"], "--name", "again")[0]["volume"] == "again"
    assert rows(tmp_path, "trashed") == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("grow", "ada", "data", "1Gi"), 1, "a volume cannot shrink"),
        (("grow", "ada", "none", "1Gi"), 1, "there is no volume ada/none"),
        (("trash", "ada", "home"), 1, "mounted by"),
        (("recover", "nothing"), 1, "there is nothing in the trash"),
        (("grow", "ada", "data", "much"), 2, "is no amount"),
        (("grow", "ada"), 2, "Missing argument"),
        (("shrink",), 2, "No such command"),
    ],
    ids=str,
)
def test_what_does_not_work_says_why(
    yard: Served, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = command(tmp_path, *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
