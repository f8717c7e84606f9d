"""`python -m modelyard_server.task run|deliver`.

`run` exits as the command does, 128 + N after signal N, 127 where there is none, 143 where it was told to stop, 124
where it took too long, 1 where it did not fail but its results could not be delivered.
`deliver` exits after SIGTERM, with 0 where all is delivered, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from modelyard_api.errors import InvalidInput
from modelyard_api.redact import paths_of, values_of
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_server.task.deliver import Courier, Delivery, deliver, upload_failed
from modelyard_server.task.folder import TaskFolder
from modelyard_server.task.run import Order, Runner
from modelyard_server.task.targets import Target, open_target

OUTPUT, FILES = "MODELYARD_OUTPUT", "MODELYARD_FILES"
_EXIT_USE = 2
_CODES = {"Stopped": 143, "DeadlineExceeded": 124}
"""By these a cluster tells who was ended, and may be tried again, from who took too long."""
_SAID_BYTES = 3500
_GLANCE = 0.05


def main() -> int:
    given = _parser().parse_args()
    folder = TaskFolder(given.folder.absolute())
    try:
        target = open_target(given.output, given.patience) if given.output else None
    except InvalidInput as error:
        print(error, file=sys.stderr)  # noqa: T201
        return _EXIT_USE
    if given.what == "run":
        return _run(given, folder, target)
    assert target is not None, "the parser asks for it"
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    if given.gone:
        stopped.set()
    trouble = deliver(folder, target, given.every, stopped)
    if trouble:
        print(trouble, file=sys.stderr)  # noqa: T201
    return 1 if trouble else 0


def _run(given: argparse.Namespace, folder: TaskFolder, target: Target | None) -> int:
    environment = _environment(given, folder)
    order = Order(
        command=given.command,
        environment=environment,
        timeout=given.timeout,
        grace=given.grace,
        memory=given.memory,
        log_size=given.log_size,
        tee=given.tee,
        secrets=values_of(environment, given.files),
    )
    runner = Runner(folder, order)
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    signal.signal(signal.SIGINT, lambda *_: runner.stop())
    if target is not None:
        status = _run_and_deliver(runner, folder, target, given.every)
    else:
        status = runner.run()
        folder.write_last_status(status)  # from now on it is delivered, by the one beside us
        status = _delivered(status, folder, given.patience)
    if given.say is not None:
        given.say.write_text(_short(status))
    if status.state is TaskState.succeeded:
        return 0
    return _CODES.get(status.reason) or status.exit_code or 1


def _run_and_deliver(runner: Runner, folder: TaskFolder, target: Target, every: float) -> TaskStatus:
    delivery = Delivery(folder, target)
    courier = Courier(delivery, folder, every)
    courier.start()
    status = runner.run()
    courier.stop()
    status = delivery.finish(status)
    folder.write_last_status(status)
    if status.state is TaskState.succeeded:
        shutil.rmtree(folder.results, ignore_errors=True)  # they are at the output
    return status


def _delivered(status: TaskStatus, folder: TaskFolder, patience: float) -> TaskStatus:
    """What it comes to, once it was delivered."""
    deadline = time.monotonic() + patience
    while (error := folder.delivered()) is None:
        if time.monotonic() > deadline:
            return upload_failed(status, f"nobody had taken it after {patience:g} s.")
        time.sleep(_GLANCE)
    return upload_failed(status, error) if error else status


def _environment(given: argparse.Namespace, folder: TaskFolder) -> dict[str, str]:
    """The command's variables: ours without the keys of the store, those of its own, and where its things are."""
    passed = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    own: Mapping[str, str | None] = {}
    if given.environment is not None:
        own = json.loads(given.environment.read_text())
    places = {OUTPUT: str(folder.results)}
    if given.files is not None:
        places[FILES] = str(given.files)
        told = {k: v for k, v in own.items() if v is not None}
        places |= {k: v for k, v in paths_of(told, given.files).items() if k not in places}
    made = {**passed, **({"HOME": str(folder.home)} if given.home else {}), **own, **places}
    return {k: v for k, v in made.items() if v is not None}


def _short(status: TaskStatus) -> str:
    """The status with as many of its last lines as a pod's status takes."""
    lines = list(status.lines)
    while True:
        text = TaskStatus(**{**vars(status), "message": status.message[:800], "lines": tuple(lines)}).to_json()
        if len(text.encode()) <= _SAID_BYTES or not lines:
            return text
        del lines[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m modelyard_server.task", description="Run a command to its end.")
    parts = parser.add_subparsers(dest="what", required=True)
    run = parts.add_parser("run", help="run COMMAND")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    run.add_argument("--output", default="", help="deliver there; without, `deliver` beside us does")
    run.add_argument("--environment", type=Path, metavar="FILE", help="JSON of the command's variables; null: none")
    run.add_argument("--files", type=Path, metavar="FOLDER", help=f"told to the command as ${FILES}")
    run.add_argument("--home", action="store_true", help="its home is in the folder")
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="it may take so long")
    run.add_argument("--grace", type=float, default=10.0, metavar="SECONDS", help="between SIGTERM and SIGKILL")
    run.add_argument("--memory", type=int, default=0, metavar="BYTES", help="it may use so much")
    run.add_argument("--log-size", type=int, default=10 * 1024 * 1024, metavar="BYTES", help="of half of its log")
    run.add_argument("--tee", action="store_true", help="say what it says")
    run.add_argument("--say", type=Path, metavar="FILE", help="write how it ended there")
    out = parts.add_parser("deliver", help="deliver what `run` beside us leaves; SIGTERM says that it is gone")
    out.add_argument("--output", required=True)
    out.add_argument("--gone", action="store_true", help="it is gone already")
    for one in (run, out):
        one.add_argument("--folder", type=Path, required=True, help="the folder of the task")
        one.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between looks at the log")
        one.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help="a store is asked so long")
    return parser


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a thread may still wait for what the command left behind.
    os._exit(status)
