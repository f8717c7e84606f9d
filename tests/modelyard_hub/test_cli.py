"""What administrators list, at a terminal of 80 columns and in a pipe: the real command over the whole API."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.schedules import spec
from harness.served import Served, served
from harness.stack import BIN
from harness.terminal import in_terminal
from modelyard_api.schedules import OnFiles, Trouble
from modelyard_hub.embedded.home import Ports, prepare, secrets_of
from modelyard_hub.settings import Settings
from modelyard_hub.store.records import Actor

NAME = "new-customers-of-all-shops-in-europe"
SINCE = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Served]:
    prepare(tmp_path)
    with served(tmp_path) as running:
        port = urlsplit(running.url).port
        assert port
        (tmp_path / "ports.json").write_text(json.dumps(asdict(Ports(hub=port, service=port, mlflow=1, traefik_api=1))))
        token = secrets_of(Settings(home=tmp_path)).cli_token
        running.yard.hub.add(token, "modelyard-cli", kind="service", scopes=["custom:modelyard:admin"])
        yield running


def test_schedules_with_what_keeps_them_from_starting_runs(yard: Served, tmp_path: Path) -> None:
    store = yard.yard.parts.store.schedules
    watched = spec(on_files=OnFiles(location="/lake/incoming"), time_zone="America/Argentina/Buenos_Aires")
    made = yard.call(store.create("ada", NAME, watched, Actor("ada")))
    why = "there is no folder /lake/incoming"
    what = Trouble(trigger="files", reason="FilesUnavailable", message=why, since=SINCE)
    assert yard.call(store.trouble(made, "files", what))
    environment = {**os.environ, "MODELYARD_HOME": str(tmp_path)}
    command = [str(BIN / "modelyard"), "schedules", "list"]

    code, shown = in_terminal(command, environment)
    assert code == 0, shown
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80, shown
    begin = lines[0].index("trouble")
    said = " ".join(line[begin:].strip() for line in lines[1:] if not line.startswith("("))
    assert said == f"since 2026-11-27T09:30: {why}", shown
    assert lines[-1].startswith("(a wider terminal, a pipe or --json also shows: last run"), shown

    piped = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    cells = [cell.strip() for cell in piped.stdout.splitlines()[1].split("\t")]
    assert (cells[1], cells[3], cells[-1]) == (NAME, "America/Argentina/Buenos_Aires", said)
    show = subprocess.run(
        [*command[:2], "show", "ada", NAME], env=environment, capture_output=True, text=True, timeout=60
    )
    assert json.loads(show.stdout)["status"]["troubles"][0]["message"] == why
