"""Stores that earlier versions wrote, kept as SQL in `old/`, open with this version, and everything in them is read.

A new migration comes with a dump of what it makes: `sqlite3 store.sqlite .dump > old/<revision>.sql`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from harness.specs import packages, spec
from modelyard_api.endpoints import EndpointSpec
from modelyard_api.models import Flavor
from modelyard_api.resources import MiB
from modelyard_hub.store.database import MIGRATIONS
from modelyard_hub.store.records import Actor
from modelyard_hub.store.store import Store
from modelyard_hub.store.tables import metadata

OLD = sorted((Path(__file__).parent / "old").glob("*.sql"))
SECRET = "my_1a787f16f862_HcTeWvirs3jyLZYEv1c7Wwy4xmkeVVgIf4R3UqiR4fo"


@pytest.fixture(params=OLD, ids=lambda path: path.stem)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(request.param.read_text())
    store = Store(f"sqlite:///{path}")
    await store.open()
    yield store
    await store.close()


def test_every_schema_is_kept() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    assert revisions == {path.stem for path in OLD}


async def test_it_has_the_schema_of_today(store: Store) -> None:
    differences = await store._database.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata))
    assert differences == []


async def test_endpoints_with_their_state(store: Store) -> None:
    churn, tips = await store.list()
    assert (churn.key, tips.key) == (("ada", "churn"), ("bob", "tips"))

    endpoint = churn.endpoint
    expected = spec(
        {2: 100},
        1,
        2,
        description="Who leaves: ¿quién? 'quoted'",
        shared_with=["team"],
        scaling={"min": 2, "max": 4},
    )
    assert endpoint.spec == EndpointSpec.model_validate(expected.model_dump())
    assert (endpoint.generation, endpoint.created_by, endpoint.deleting) == (4, "ada", False)
    assert endpoint.created_at == datetime(2026, 1, 2, 3, 6, 5, tzinfo=UTC)
    assert {n: replace(p, flavor=None) for n, p in churn.packages.items()} == packages(1, 2)
    assert churn.stable_history == (1, 2)
    assert endpoint.status.observed_generation == 4
    assert endpoint.status.ready
    (revision,) = endpoint.status.revisions
    assert (revision.number, revision.percent, revision.flavor, revision.log_tail) == (2, 100, "onnx", ("ready",))

    assert tips.endpoint.deleting
    (other,) = tips.endpoint.spec.revisions
    assert (other.resources.memory, other.resources.cpu, other.environment) == (256 * MiB, 0.5, {"A": "b"})
    assert [r.key for r in await store.list({"carol"}, {"team"})] == [("ada", "churn")]


async def test_flavors_are_read_from_the_folders_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    (folder / "modelyard").mkdir(parents=True)
    (folder / "modelyard" / "package.json").write_text('{"flavor": "skops"}')
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((OLD[0].parent / "0001.sql").read_text().replace("/packages/2", str(folder)))
    store = Store(f"sqlite:///{path}")
    await store.open()
    found = (await store.get("ada", "churn")).packages
    await store.close()
    assert {n: (p.location, p.flavor) for n, p in found.items()} == {
        1: ("/packages/1", None),
        2: (str(folder), Flavor.skops),
    }


async def test_routes_that_were_one_document_are_taken_apart(tmp_path: Path) -> None:
    routes = [{"owner": "ada", "name": name, "weights": {"1": 100}, "servers": {}} for name in ("churn", "tips")]
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript((OLD[0].parent / "0002.sql").read_text())
        database.execute("UPDATE documents SET text = ? WHERE name = 'routing'", (json.dumps({"routes": routes}),))
        database.commit()
    store = Store(f"sqlite:///{path}")
    await store.open()
    found = [json.loads(text) for text in await store.load_routes()]
    assert sorted(found, key=lambda route: str(route["name"])) == routes
    await store.save_route("ada", "tips", None)
    assert [json.loads(text) for text in await store.load_routes()] == routes[:1]
    await store.close()


async def test_keys(store: Store) -> None:
    billing, nightly = await store.list_keys("ada", "churn")
    assert (billing.name, billing.created_by, billing.expires_at) == ("billing", "ada", None)
    assert nightly.expires_at == datetime(2026, 1, 2, 4, 19, 5, tzinfo=UTC)
    hashes = {key.id: key.sha256 for key in await store.key_hashes("ada", "churn")}
    assert hashes[billing.id] == hashlib.sha256(SECRET.encode()).hexdigest()


async def test_history(store: Store) -> None:
    entries = await store.list_audit()
    assert [e.action for e in entries] == [
        *("restart", "delete", "create", "delete", "create", "remove-key", "add-key", "add-key", "add-key"),
        *("update", "update", "update", "create"),
    ]
    assert (entries[0].who, entries[0].source, entries[0].detail) == ("root", "cli", {"why": "asked"})
    assert {e.subject for e in await store.list_audit({"team"})} == {"endpoint/team/gone"}
    assert await store.load_routes() == ()
    events = store.events(after_id=12)
    found = [await asyncio.wait_for(anext(events), 5) for _ in range(2)]
    assert [(e.kind, e.owner, e.name) for e in found] == [("changed", "team", "gone"), ("deleted", "team", "gone")]


async def test_runs(store: Store, request: pytest.FixtureRequest) -> None:
    found = await store.list_runs()
    if request.node.name[-5:-1] < "0003":
        assert found == ()
        return
    (run,) = found
    assert (run.id, run.owner, run.schedule, run.group) == ("9f2c1d77a0b3e854", "ada", "ada/nightly", "g")
    assert (run.spec.parameters, run.status.results) == ({"depth": 3}, {"auc": 0.93})


async def test_runs_that_mlflow_is_to_be_told_of(store: Store, request: pytest.FixtureRequest) -> None:
    taken = await store.telling.take(timedelta(minutes=1))
    assert (taken is not None) == (request.node.name[-5:-1] >= "0011")


async def test_secrets(store: Store, request: pytest.FixtureRequest) -> None:
    found = await store.secrets.list()
    if request.node.name[-5:-1] < "0004":
        assert found == ()
        return
    (secret,) = found
    assert (secret.owner, secret.name, secret.description, secret.version) == ("ada", "db", "the warehouse", 2)
    assert (secret.created_by, secret.updated_by) == ("ada", "bob")
    assert await store.secrets.sealed("ada", "db") == "gAAAAABsealed"


async def test_schedules(store: Store, request: pytest.FixtureRequest) -> None:
    found = await store.schedules.list()
    if request.node.name[-5:-1] < "0005":
        assert found == ()
        return
    (schedule,) = found
    assert (schedule.key, schedule.generation, schedule.created_by, schedule.runs_as) == (
        "ada/nightly",
        2,
        "ada",
        "bob",
    )
    said = schedule.spec
    assert (said.cron, said.time_zone, said.catch_up, said.overlap) == ("0 3 * * *", "Europe/Berlin", "all", True)
    assert (said.deadline, said.paused, said.run.parameters) == (600, False, {"depth": 3})
    assert schedule.status.cursor == datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
    assert [(s.count, s.reason) for s in schedule.status.skipped] == [(2, "DeadlineExceeded")]
    troubles = ["there is no folder /lake"] if request.node.name[-5:-1] >= "0010" else []
    assert [one.message for one in schedule.status.troubles] == troubles
    assert schedule.status.last is not None
    assert schedule.status.last.id == "9f2c1d77a0b3e854"


async def test_groups(store: Store, request: pytest.FixtureRequest) -> None:
    found = await store.groups.list()
    if request.node.name[-5:-1] < "0006":
        assert found == ()
        return
    (listed,) = found
    assert (listed.id, listed.owner, listed.name, listed.kind, listed.parallel) == ("g", "ada", "depths", "sweep", 2)
    (member,) = (await store.groups.get("g")).members
    assert (member.member, member.parameters, member.results) == ("depth=3", {"depth": 3}, {"auc": 0.93})


async def test_it_goes_on(store: Store) -> None:
    actor = Actor("ada")
    new = await store.create("team", "gone", spec(), packages(1), actor)
    assert new.id > 3, "numbers are not used again"
    rolled = await store.rollback("ada", "churn", actor)
    assert [(t.revision, t.percent) for t in rolled.endpoint.spec.traffic] == [(1, 100)]
    assert await store.remove("bob", "tips")
