"""What a task leaves, brought to its output: the log while it runs, the rest when it ended."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO

from modelyard_api.errors import ModelyardError
from modelyard_api.tasks import LIVE, LOG, OLDER_LOG, RESULTS, STATUS, TaskState, TaskStatus
from modelyard_server.task.folder import TaskFolder
from modelyard_server.task.targets import Target

UPLOAD_FAILED = "UploadFailed"
_TOGETHER = 4
_LIVE_BYTES = 16 * 1024 * 1024
_GLANCE = 0.2
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class Delivery:
    """From the folder to the target. Only plain files go, and no link is followed: the command's own process could let
    one lead to what only this one may read."""

    def __init__(self, folder: TaskFolder, target: Target) -> None:
        self._folder, self._target = folder, target
        self._sent: dict[str, tuple[int, int, int]] = {}
        self._said: TaskStatus | None = None

    def glance(self) -> None:
        """What is there so far. A store that is away is told on stderr, and tried again with the next one."""
        try:
            self._logs()
            self._live()
            status = self._folder.status()
            if status is not None and not status.state.ended and status != self._said:
                self._say(status)
        except ModelyardError as error:
            print(f"the log could not be delivered: {error}", file=sys.stderr, flush=True)  # noqa: T201

    def finish(self, status: TaskStatus) -> TaskStatus:
        """All of it, the status last; the status that was written, which is a failure where the rest could not be."""
        try:
            self._results()
            self._logs()
            self._say(status)
        except (ModelyardError, OSError) as error:
            failed = upload_failed(status, str(error))
            try:
                self._say(failed)
            except ModelyardError as again:
                print(f"the status could not be delivered: {again}", file=sys.stderr, flush=True)  # noqa: T201
            return failed
        return status

    def _say(self, status: TaskStatus) -> None:
        self._target.put(STATUS, io.BytesIO(status.to_json().encode()))
        self._said = status

    def _logs(self) -> None:
        for name in (OLDER_LOG, LOG):
            with _opened_in(self._folder, name) as file:
                if file is None:
                    continue
                about = os.fstat(file.fileno())
                seen = (about.st_ino, about.st_size, about.st_mtime_ns)
                if self._sent.get(name) != seen:
                    # Whole in memory: it grows meanwhile, and is small.
                    self._target.put(name, io.BytesIO(file.read(about.st_size)))
                    self._sent[name] = seen

    def _live(self) -> None:
        """What is to be looked at meanwhile: small files in a folder of that name."""
        for path, file in _plain_files(self._folder, LIVE):
            with file:
                about = os.fstat(file.fileno())
                seen = (about.st_ino, about.st_size, about.st_mtime_ns)
                if os.path.basename(path).startswith("."):
                    continue  # about to become one of them
                if about.st_size <= _LIVE_BYTES and self._sent.get(path) != seen:
                    self._target.put(f"{RESULTS}/{path}", io.BytesIO(file.read(about.st_size)))
                    self._sent[path] = seen

    def _results(self) -> None:
        pool = ThreadPoolExecutor(_TOGETHER, "deliver")
        try:
            waiting = []
            for path, file in _plain_files(self._folder):
                waiting.append(pool.submit(self._put, path, file))
                if len(waiting) > 2 * _TOGETHER:
                    waiting.pop(0).result()  # few files are open at a time
            for one in waiting:
                one.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _put(self, path: str, file: IO[bytes]) -> None:
        with file:
            self._target.put(f"{RESULTS}/{path}", file)


class Courier(threading.Thread):
    """Glances every `interval` seconds until stopped, longer apart the longer the log is."""

    def __init__(self, delivery: Delivery, folder: TaskFolder, interval: float) -> None:
        super().__init__(name="courier", daemon=True)
        self._delivery, self._folder, self._interval = delivery, folder, interval
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._pause()):
            self._delivery.glance()

    def stop(self) -> None:
        """Glance no more; returns when it does not."""
        self._stopped.set()
        self.join()

    def _pause(self) -> float:
        try:
            return self._interval * (1 + self._folder.log.stat().st_size / 1_000_000)
        except OSError:
            return self._interval


def deliver(folder: TaskFolder, target: Target, interval: float, stopped: threading.Event) -> str:
    """Deliver for a command that runs beside us: once it has ended, or `stopped` says that it is gone.

    Returns what went wrong, when it is stopped: in a pod, whoever ends earlier is started again."""
    if folder.delivered() is None:
        _deliver(folder, target, interval, stopped)
    stopped.wait()
    return folder.delivered() or ""


def _deliver(folder: TaskFolder, target: Target, interval: float, stopped: threading.Event) -> None:
    delivery = Delivery(folder, target)
    courier = Courier(delivery, folder, interval)
    courier.start()
    while True:
        gone = stopped.wait(_GLANCE)
        status = folder.status()
        if gone or (status is not None and status.state.ended):
            break
    courier.stop()
    if status is None or not status.state.ended:
        status = killed(folder)
        folder.write_last_status(status)
    done = delivery.finish(status)
    folder.write_delivered(done.message if done.reason == UPLOAD_FAILED else "")


def killed(folder: TaskFolder) -> TaskStatus:
    """The status of a command that is gone without having said how it ended."""
    known = folder.status() or TaskStatus(TaskState.running)
    return replace(
        known,
        state=TaskState.failed,
        reason="Killed",
        message="It was killed, perhaps by the system for want of memory, or its machine stopped.",
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        lines=folder.tail(),
    )


def upload_failed(status: TaskStatus, error: str) -> TaskStatus:
    """The status of a command whose results are not where they should be."""
    text = f"What it left could not be delivered: {error}"
    if status.state is TaskState.failed:
        text = f"{status.message} And {text[0].lower()}{text[1:]}"
    return replace(status, state=TaskState.failed, reason=UPLOAD_FAILED, message=text)


def _plain_files(folder: TaskFolder, below: str = "") -> Iterator[tuple[str, IO[bytes]]]:
    """Paths below the results, and the files. By descriptors all the way: no link gets in between."""
    top = folder.results / below
    if not top.is_dir() or top.is_symlink():
        return  # the command took it away
    for where, _, names, descriptor in os.fwalk(top, follow_symlinks=False):
        base = os.path.relpath(where, folder.results)
        for name in sorted(names):
            file = _plain(name, descriptor)
            if file is not None:
                yield os.path.normpath(os.path.join(base, name)), file


@contextmanager
def _opened_in(folder: TaskFolder, name: str) -> Iterator[IO[bytes] | None]:
    file = _plain(folder.path / name)
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _plain(path: str | os.PathLike[str], folder: int | None = None) -> IO[bytes] | None:
    """The file, opened; None where it is none, or not a plain one."""
    try:
        descriptor = os.open(path, _FLAGS, dir_fd=folder)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")
