"""Watched places: whose they may be, and what is in them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.runs import spec
from harness.s3 import S3, server
from modelyard_api.errors import Forbidden, InvalidInput, NotFound, Unavailable
from modelyard_api.runs import Run, SecretUse
from modelyard_api.schedules import OnFiles
from modelyard_hub import listing
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
    monkeypatch.setattr(listing, "MOST", 3)
    (tmp_path / "in").mkdir()
    for number in range(4):
        (tmp_path / "in" / str(number)).write_text("x")
    with pytest.raises(InvalidInput, match="holds more than 3 files"):
        await names(places(tmp_path / "home"), tmp_path / "in")


async def test_what_is_no_folder_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("x" * 300, "a\0b", "circle"):
        for runtime in ("local", "kubernetes"):
            found = places(tmp_path / "home", runtime=runtime, watch_folders=(tmp_path,))
            with pytest.raises(InvalidInput, match="is no path of a folder"):
                await names(found, tmp_path / name)


async def test_one_that_the_hub_service_may_not_enter(tmp_path: Path) -> None:
    def closed(owner: str, folder: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(folder))

    with pytest.raises(Forbidden, match="may not enter"):
        await names(Places(Given(), closed), tmp_path)


async def test_folders_by_a_link_are_told_by_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "real" / "in" / "a.csv").write_text("x")
    (tmp_path / "lake").symlink_to(tmp_path / "real")
    found = places(tmp_path, runtime="kubernetes", watch_folders=(tmp_path / "lake",))
    (one,) = await found.look(on(tmp_path / "lake" / "in"), ADA)
    assert one.location == f"{tmp_path}/lake/in/a.csv"


async def test_a_link_that_is_turned_after_the_check_is_not_followed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder, name in ((home / "users" / "ada" / "in", "a.csv"), (home / "secrets", "key")):
        folder.mkdir(parents=True)
        (folder / name).write_text("x")
    link, rule = home / "users" / "ada" / "link", folder_rule(Settings(home=home))
    link.symlink_to("in")

    def turned(owner: str, folder: Path) -> Path:
        allowed = rule(owner, folder)
        link.unlink()
        link.symlink_to(home / "secrets")
        return allowed

    assert await names(Places(Given(), turned), link) == ["a.csv"]


async def test_folders_that_never_answer_take_no_time_of_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    answer = threading.Event()

    def rule(owner: str, folder: Path) -> Path:
        if owner == "bob":
            answer.wait(30)
        return folder

    found, bob = Places(Given(), rule, patience=0.3), Watcher("bob", "bob", spec())
    try:
        for _ in range(10):
            looks = [found.look(on(tmp_path / "in"), bob) for _ in range(10)]
            said = await asyncio.gather(*looks, return_exceptions=True)
            assert [type(one) for one in said] == [Unavailable] * 10
        assert await names(found, tmp_path / "in") == []
    finally:
        answer.set()


class Endless(BaseHTTPRequestHandler):
    """A store that always has another page, with nothing in it."""

    def do_GET(self) -> None:
        """Any listing."""
        text = (
            b"<ListBucketResult><Name>lake</Name><KeyCount>0</KeyCount><IsTruncated>true</IsTruncated>"
            b"<NextContinuationToken>on</NextContinuationToken></ListBucketResult>"
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.server.asked += 1  # type: ignore[attr-defined]

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


async def test_a_store_with_endless_pages_is_given_up(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as endless:
        endless.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=endless.serve_forever, daemon=True).start()
        run = spec(
            environment={
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{endless.server_port}",
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
            }
        )
        found = Places(Given(), folder_rule(Settings(home=tmp_path)), patience=1)
        with pytest.raises(Unavailable, match="was not listed in time"):
            await found.look(on("s3://lake/in"), Watcher("ada", "ada", run))
        endless.shutdown()
        assert endless.asked > 1  # type: ignore[attr-defined]


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
