"""Fetching a package: `python -m modelyard_server.fetch` as a process, from directories and from a real S3 server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.disk import small_disk
from harness.packages import write_skops
from harness.s3 import S3, server
from harness.wait import eventually
from modelyard_server.manifest import read_manifest


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with server() as running:
        yield running


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    write_skops(folder)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "a folder").mkdir()
    (folder / "a folder" / "ü 41%, #2?.txt").write_text("any name")
    (folder / "empty").touch()
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def start(source: str, target: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "modelyard_server.fetch", source, str(target), *options]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.Popen(command, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fetch(source: str, target: Path, *options: str, **environment: str) -> tuple[int, str, str]:
    process = start(source, target, *options, **environment)
    output, errors = process.communicate(timeout=60)
    assert process.returncode is not None
    assert len(errors.splitlines()) <= 1, errors
    return process.returncode, output, errors


def test_from_a_directory_and_once_more(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "here" / "package"
    target.parent.mkdir()
    code, output, errors = fetch(str(package), target)
    assert (code, errors) == (0, "")
    assert "fetching 5 files" in output
    assert content(target) == content(package)
    code, output, _ = fetch(f"file://{package}", target)
    assert code == 0
    assert "there already" in output
    assert [p.name for p in target.parent.iterdir()] == ["package"]


def test_from_s3(s3: S3, package: Path, tmp_path: Path) -> None:
    url = s3.put("models", "1/m-1", content(package))
    s3.put("models", "1/m-10", {"other": b"not this one's"})
    target = tmp_path / "package"
    code, _, errors = fetch(url, target, **s3.environment)
    assert (code, errors) == (0, "")
    assert content(target) == content(package)
    assert read_manifest(target).flavor == "skops"


def test_what_can_be_wrong_has_a_code_and_one_line(s3: S3, package: Path, tmp_path: Path) -> None:
    url = s3.put("models", "2/m-1", content(package))
    bare = s3.put("models", "2/bare", {"MLmodel": b"flavors: {}"})
    wrong = s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    away = s3.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    into = tmp_path / "into"
    into.mkdir()
    for source, environment, expected, word in (
        ("s3://models/2/none", s3.environment, 10, "nothing at"),
        ("s3://nowhere/m", s3.environment, 10, "NoSuchBucket"),
        (str(tmp_path / "none"), {}, 10, "no directory"),
        (url, away, 11, "does not answer"),
        (url, wrong, 12, "AWS_SECRET_ACCESS_KEY"),
        (bare, s3.environment, 14, "modelyard/package.json"),
        ("models/2", {}, 2, "absolute path"),
        ("s3://models/../m", {}, 2, "s3://bucket/key"),
    ):
        code, _, errors = fetch(source, into / "package", "--patience", "0.5", **environment)
        assert (code, word in errors) == (expected, True), (source, code, errors)
        assert list(into.iterdir()) == []


def test_a_link_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "passwords").symlink_to("/etc/passwd")
    code, _, errors = fetch(str(package), tmp_path / "package")
    assert (code, "passwords" in errors) == (14, True), errors


def test_what_stands_at_the_target_stays(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes").write_text("mine")
    code, _, errors = fetch(str(package), target)
    assert (code, "something else" in errors) == (14, True), errors
    assert content(target) == {"notes": b"mine"}


def test_a_store_that_comes_back_is_waited_for(s3: S3, package: Path, tmp_path: Path) -> None:
    url = s3.put("models", "3/m-1", content(package))
    s3.stop()
    process = start(url, tmp_path / "package", **s3.environment)
    # Its first question fails: until then there is nothing to wait for.
    eventually(lambda: list(tmp_path.glob(".package.fetching-*")), what="the fetching has begun")
    s3.start()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), output
    assert content(tmp_path / "package") == content(package)


def test_a_full_disk_is_told_in_numbers_and_nothing_stays(package: Path, tmp_path: Path) -> None:
    (package / "weights").write_bytes(bytes(20 * 2**20))
    with small_disk(tmp_path / "disk", 8 * 2**20) as disk:
        code, _, errors = fetch(str(package), disk.path / "package")
        assert code == 13
        assert "needs 20." in errors
        assert "are free" in errors
        assert list(disk.path.iterdir()) == []


class Stalling:
    """An S3 store that sends the beginning of each object and then nothing."""

    def __init__(self, names: dict[str, int]) -> None:
        entries = "".join(
            f"<Contents><Key>{k}</Key><Size>{v}</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
            "<ETag>x</ETag></Contents>"
            for k, v in names.items()
        )
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        self.asked = threading.Event()
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                whole = listing if "list-type=2" in self.path else bytes(1000)
                self.send_response(200)
                self.send_header("Content-Length", str(len(whole)))
                self.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
                self.send_header("ETag", '"x"')
                self.end_headers()
                if whole is listing:
                    self.wfile.write(whole)
                    return
                self.wfile.write(whole[:100])
                self.wfile.flush()
                outer.asked.set()
                outer.release.wait(60)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_one_leaves_nothing_that_looks_whole(
    package: Path, tmp_path: Path, number: signal.Signals
) -> None:
    store = Stalling({"m/modelyard/package.json": 1000, "m/MLmodel": 1000})
    folder = tmp_path / "into"
    folder.mkdir()
    try:
        process = start("s3://models/m", folder / "package", **store.environment)
        assert store.asked.wait(30)
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        store.close()
    assert process.returncode == (143 if number is signal.SIGTERM else -signal.SIGKILL)
    assert not (folder / "package").exists()
    assert len(list(folder.iterdir())) == (0 if number is signal.SIGTERM else 1)
    assert fetch(str(package), folder / "package")[0] == 0
    assert [p.name for p in folder.iterdir()] == ["package"], "what the killed one left is cleaned up"


def test_several_at_once_fetch_once(s3: S3, package: Path, tmp_path: Path) -> None:
    url = s3.put("models", "4/m-1", content(package))
    several = [start(url, tmp_path / "package", **s3.environment) for _ in range(3)]
    outputs = [p.communicate(timeout=60)[0] for p in several]
    assert [p.returncode for p in several] == [0, 0, 0]
    assert sorted("fetched" in output for output in outputs) == [False, False, True]
    shutil.rmtree(tmp_path / "package")
