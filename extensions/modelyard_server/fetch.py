"""`python -m modelyard_server.fetch SOURCE TARGET`: a package brought to this machine, whole or not at all.

SOURCE is an absolute path, `file://…` or `s3://bucket/key`, whose endpoint and keys are in the AWS_* variables. TARGET
is a folder that is not there yet, in one that is. It is safe to run again, and by several at once.

Exit codes: 0 fetched, or there already; 2 wrong use; 10 nothing at the source; 11 the store does not answer; 12 access
denied; 13 no space left; 14 what is there is no package; 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from modelyard_api.errors import Forbidden, InvalidInput, ModelyardError, NotFound, StorageFull, Unavailable
from modelyard_api.models import MANIFEST_PATH
from modelyard_api.resources import MiB
from modelyard_server.manifest import read_manifest
from modelyard_server.sources import Source, open_source

EXIT_CODES: tuple[tuple[type[ModelyardError], int], ...] = (
    (NotFound, 10),
    (StorageFull, 13),  # before Unavailable, of which it is one
    (Unavailable, 11),
    (Forbidden, 12),
    (InvalidInput, 14),
)
_EXIT_USE, _EXIT_TERMINATED = 2, 128 + signal.SIGTERM
_TOGETHER = 8
_SAY_EVERY = 5.0
_LONGEST = 600


def fetch(source: Source, target: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Copy the package that `source` is to the new folder `target`; `say` is told how far it is.

    Raises NotFound, Forbidden, Unavailable, StorageFull, InvalidInput (no package, or `target` is something else).
    """
    with _alone_in(target.parent):
        if (target / MANIFEST_PATH).is_file():
            say(f"{target} is there already")
            return
        if target.is_mount() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
            raise InvalidInput(f"{target} is something else", remedy="Name a folder that is not there yet.")
        pending = f".{target.name}.fetching-"
        for left in target.parent.glob(f"{pending}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(mkdtemp(prefix=pending, dir=target.parent))
        try:
            _fill(source, folder, say)
            read_manifest(folder)
            folder.chmod(0o755)
            os.replace(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fill(source: Source, folder: Path, say: Callable[[str], None]) -> None:
    files = source.files()
    total, free = sum(files.values()), shutil.disk_usage(folder).free
    if MANIFEST_PATH not in files:
        raise InvalidInput(f"there is no {MANIFEST_PATH}, so it is no package", remedy="Publish it with yard.publish.")
    if total > free:
        raise _full(total, free)
    say(f"fetching {len(files)} files, {_mib(total)}")
    # All before the first file: one that is stopped late must not bring back a folder that is being removed.
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    began = said = time.monotonic()
    done = 0
    stopped = threading.Event()

    def copy(path: str) -> int:
        with (folder / path).open("wb") as file:
            written = 0
            for piece in source.read(path):
                if stopped.is_set():
                    raise Unavailable("stopped")
                written += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if written != files[path]:
            raise Unavailable(f"{path} ended after {written} of {files[path]} bytes")
        return written

    pool = ThreadPoolExecutor(_TOGETHER, "fetch")
    try:
        for written in pool.map(copy, files):
            done += written
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                say(f"{_mib(done)} of {_mib(total)}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(total, shutil.disk_usage(folder).free) from error
        raise
    finally:
        stopped.set()
        # Not waited for: where this ends early, one may be waiting for a store that says nothing.
        pool.shutdown(wait=False, cancel_futures=True)
    say(f"fetched {_mib(total)} in {time.monotonic() - began:.1f} s")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else fetches into `folder` meanwhile; another one is waited for."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidInput(f"there is no folder {folder} to fetch into") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left in {folder}") from error
        raise InvalidInput(f"{folder} cannot be written by user {os.geteuid()}: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _full(needed: int, free: int) -> StorageFull:
    return StorageFull(f"no space left: the package needs {_mib(needed)}, {_mib(free)} are free")


def _mib(size: int) -> str:
    return f"{size / MiB:,.1f} MiB"


def _end(signum: int, frame: object) -> None:
    raise SystemExit(_EXIT_TERMINATED)


def main() -> int:
    parser = argparse.ArgumentParser("python -m modelyard_server.fetch", description="Bring a package to this machine.")
    parser.add_argument("source", metavar="SOURCE", help="absolute path, file://… or s3://bucket/key")
    parser.add_argument("target", metavar="TARGET", type=Path, help="folder that is not there yet")
    parser.add_argument(
        "--patience", type=float, default=60, metavar="SECONDS", help="a store is asked again for so long"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    try:
        source = open_source(given.source, given.patience)
    except InvalidInput as error:
        print(error, file=sys.stderr)  # noqa: T201
        return _EXIT_USE
    try:
        fetch(source, given.target.absolute(), lambda line: print(line, flush=True))  # noqa: T201
    except ModelyardError as error:
        print(f"{given.source}: {' '.join(str(error).split())[:_LONGEST]}", file=sys.stderr)  # noqa: T201
        return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the interpreter would wait for a thread that waits for a store that says nothing.
    os._exit(status)
