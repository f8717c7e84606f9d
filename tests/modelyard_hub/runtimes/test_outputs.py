"""A task's output, read back from a folder and from a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.code import python_task
from harness.s3 import S3, server
from modelyard_api.errors import InvalidInput, Unavailable
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.outputs import open_output, read_log, read_status
from modelyard_hub.runtimes.task import task_from_json, task_to_json

END = TaskStatus(TaskState.failed, 3, "Exited", "It ended.", "2026-01-01T00:00:00+00:00", lines=("a",))
FILES = {
    "log.1": b"one\ntwo\n",
    "log": b"three\n" + b"x" * 5_000_000 + b"\nlast\n",
    "status.json": END.to_json().encode(),
    "output/result.json": b"{}",
    "output/empty": b"",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "s3":
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        return s3.put("outputs", "ada/7", FILES)
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return str(tmp_path)


async def test_what_a_task_left_is_read(location: str) -> None:
    output = open_output(location)
    assert await read_status(output) == END
    assert await output.read("output/result.json") == b"{}"
    assert await output.read("output/none") is None
    assert await output.read("output/empty") == await output.read("output/empty", 5) == b""
    assert await output.read("log", 5) == b"last\n"
    assert await output.read("log.1", 100) == b"one\ntwo\n"
    assert await read_log(output, 1) == ("last",)
    assert [len(line) for line in await read_log(output, 4)] == [3, 3, 4000, 4], "of a long log only the end is read"


async def test_where_nothing_is_there_is_nothing(location: str) -> None:
    output = open_output(f"{location}/elsewhere")
    assert await read_status(output) is None
    assert await read_log(output, 5) == ()


async def test_a_store_that_refuses_is_not_taken_for_an_empty_one(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("refused", "7", FILES)
    for name, value in {**s3.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable, match="refuses it"):
        await read_status(open_output("s3://refused/7"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.environment["AWS_SECRET_ACCESS_KEY"])
    with pytest.raises(Unavailable):
        await read_log(open_output("s3://no-such-bucket/7"), 1)


def test_a_place_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="neither an absolute path"):
        open_output("relative")


def test_a_task_survives_being_written() -> None:
    task = python_task("pass", "/output")
    assert task_from_json(task_to_json(task)) == task
    assert replace(task, timeout=60).digest() == replace(task, timeout=60.0).digest()
    assert replace(task, timeout=61).digest() != replace(task, timeout=60).digest()
