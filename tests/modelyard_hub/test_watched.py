"""Watched places: whose they may be, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.runs import spec
from harness.s3 import S3, server
from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.runs import Run, SecretUse
from modelyard_api.schedules import OnFiles
from modelyard_hub import watched
from modelyard_hub.settings import Settings
from modelyard_hub.watched import Places, Watcher, folder_rule


class Given:
    """Secrets of a run, as they would be opened."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {use.env: self.variables[use.secret] for use in run.spec.secrets if use.env is not None}, {}


def places(home: Path, secrets: Given | None = None, **settings: Any) -> Places:
    return Places(secrets or Given(), folder_rule(Settings(home=home, **settings)))


def on(location: object, **members: Any) -> OnFiles:
    return OnFiles(location=str(location), **members)


ADA = Watcher("ada", "ada", spec())


async def names(found: Places, location: object, whose: Watcher = ADA) -> list[str]:
    return sorted(one.location.rsplit("/", 1)[-1] for one in await found.look(on(location), whose))


async def test_a_folder_with_what_is_below_it(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.csv", "deep/b.csv", ".hidden", "_temporary/c.csv", "deep/_d.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "link.csv").symlink_to(folder / "a.csv")
    os.mkfifo(folder / "pipe")
    found = places(tmp_path / "home")
    assert await names(found, folder) == ["a.csv", "b.csv"]
    assert await names(found, f"file://{folder}") == ["a.csv", "b.csv"]
    with pytest.raises(NotFound, match="there is no folder"):
        await names(found, tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="neither an absolute path"):
        await names(found, "in")


async def test_the_yards_own_state_is_nobodys_to_watch(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in (home / "users" / "ada", home / "users" / "bob", home / "secrets"):
        folder.mkdir(parents=True)
    (home / "users" / "ada" / "way-out").symlink_to(home / "secrets")
    found = places(home)
    assert await names(found, home / "users" / "ada") == []
    for other in ("users/bob", "secrets", "users/ada/way-out", "users/ada/../bob", ".", ".."):
        with pytest.raises(Forbidden):
            await names(found, f"{home}/{other}")


async def test_in_a_cluster_only_folders_that_were_mounted_for_it(tmp_path: Path) -> None:
    (tmp_path / "lake" / "in").mkdir(parents=True)
    (tmp_path / "lake" / "in" / "a.csv").write_text("x")
    with pytest.raises(InvalidInput, match="does not see the folder") as caught:
        await names(places(tmp_path, runtime="kubernetes"), tmp_path / "lake")
    assert caught.value.remedy == "Name s3://bucket/key."
    found = places(tmp_path, runtime="kubernetes", watch_folders=(tmp_path / "lake",))
    assert await names(found, tmp_path / "lake" / "in") == ["a.csv"]
    with pytest.raises(InvalidInput, match="does not see"):
        await names(found, tmp_path / "lake" / "..")


async def test_more_files_than_one_look_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "MOST", 3)
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / str(number)).write_text("x")
    with pytest.raises(InvalidInput, match="holds more than 3 files"):
        await names(places(tmp_path / "home"), tmp_path / "in")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        running.put("lake", "in", {"a.csv": b"1", "deep/b.csv": b"2", "_c.csv": b"3", ".d": b"4"})
        running.put("lake", "inside", {"e.csv": b"5"})
        yield running


def watcher(s3: S3, **changed: str) -> tuple[Given, Watcher]:
    told = {**s3.environment, **changed}
    uses = (
        SecretUse(secret="key", env="AWS_ACCESS_KEY_ID"),
        SecretUse(secret="word", env="AWS_SECRET_ACCESS_KEY"),
    )
    run = spec(secrets=uses, environment={"AWS_ENDPOINT_URL": told["AWS_ENDPOINT_URL"]})
    return Given(key=told["AWS_ACCESS_KEY_ID"], word=told["AWS_SECRET_ACCESS_KEY"]), Watcher("ada", "ada", run)


async def test_a_bucket_by_the_keys_of_the_run(tmp_path: Path, s3: S3) -> None:
    secrets, whose = watcher(s3)
    for found in (places(tmp_path, secrets), places(tmp_path, secrets, runtime="kubernetes")):
        assert [one.location for one in await found.look(on("s3://lake/in"), whose)] == [
            "s3://lake/in/a.csv",
            "s3://lake/in/deep/b.csv",
        ]
    assert await places(tmp_path, secrets).look(on("s3://lake/nothing"), whose) == []
    with pytest.raises(NotFound, match="there is no bucket elsewhere"):
        await places(tmp_path, secrets).look(on("s3://elsewhere"), whose)


async def test_never_by_the_hub_services_own_keys(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match="the run has no variable AWS_ACCESS_KEY_ID"):
        await places(tmp_path).look(on("s3://lake/in"), ADA)
    secrets, whose = watcher(s3, AWS_SECRET_ACCESS_KEY="another")
    with pytest.raises(Forbidden, match="refuses to list s3://lake/in"):
        await places(tmp_path, secrets).look(on("s3://lake/in"), whose)
    secrets, whose = watcher(s3, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="does not answer"):
        await places(tmp_path, secrets).look(on("s3://lake/in"), whose)
