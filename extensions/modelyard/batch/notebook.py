"""One attempt of a notebook, by papermill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelyard import config, recorded
from modelyard.batch import late
from modelyard.batch.hidden import redactor
from modelyard.batch.inputs import Refused, check_kernel, fetch, read_notebook
from modelyard.batch.order import Order
from modelyard.batch.report import STORAGE_FULL, Reporter, is_full, no_room
from modelyard.batch.track import Tracked, begin, finish
from modelyard.client import AsyncClient
from modelyard.errors import InvalidParameter
from modelyard.snapshots import declared_by, name_language
from modelyard_api.parameters import check
from modelyard_api.runs import Failure

late.import_papermill()

from nbclient.exceptions import DeadKernelError  # noqa: E402
from papermill.engines import papermill_engines  # noqa: E402
from papermill.exceptions import PapermillException, PapermillExecutionError  # noqa: E402
from papermill.execute import execute_notebook  # noqa: E402

from modelyard.batch.engine import Engine, Stopped, write_notebook  # noqa: E402

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_TRACEBACK = 20_000
INPUT = Path("input").absolute()


def run(order: Order, reporter: Reporter) -> int:
    """The exit code."""
    began = time.time()
    tracked: Tracked | None = None
    try:
        tracked, path = asyncio.run(_prepare(order, reporter))
        status = _execute(order, reporter, path, tracked)
    except Refused as refusal:
        reporter.fail(refusal.reason, str(refusal))
        status = "FAILED"
    if tracked is not None:
        reporter.write()
        asyncio.run(_close(order, reporter, tracked, status, began))
    return 0 if status == "FINISHED" else 1


async def _prepare(order: Order, reporter: Reporter) -> tuple[Tracked | None, Path]:
    async with AsyncClient() as client:
        begun = asyncio.create_task(begin(client, order))
        try:
            path = await fetch(client, order, INPUT)
        finally:
            tracked = await begun
        if tracked is not None:
            reporter.tracked(tracked.run.id)
        return tracked, path


async def _close(order: Order, reporter: Reporter, tracked: Tracked, status: str, began: float) -> None:
    async with AsyncClient() as client:
        await finish(client, order, reporter, tracked, status)


def _execute(order: Order, reporter: Reporter, path: Path, tracked: Tracked | None) -> str:
    """MLflow's word for how it ended."""
    notebook = read_notebook(path)
    kernel = check_kernel(notebook)
    try:
        check(declared_by(notebook, path.name), order.parameters)
    except InvalidParameter as error:
        raise Refused("InvalidParameters", str(error)) from error
    os.environ[recorded.RECORDS] = str(reporter.records)
    if tracked is not None:
        connection = config.connection()
        os.environ.update(
            MLFLOW_TRACKING_URI=connection.mlflow,
            MLFLOW_TRACKING_TOKEN=connection.token,
            MLFLOW_RUN_ID=tracked.run.id,
        )
    return _papermill(order, reporter, path, notebook, kernel)


def _papermill(order: Order, reporter: Reporter, path: Path, notebook: Any, kernel: str) -> str:
    """MLflow's word for how it ended. Its output notebook is kept, also where it fails."""
    marked = Path("ended.ipynb").absolute()  # not among what is delivered: values of secrets are in it
    try:
        status = _executed(order, reporter, (path, marked), notebook, kernel)
    except OSError as error:
        if not is_full(error):
            raise
        reporter.fail(STORAGE_FULL, no_room(error))
        status = "FAILED"
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if marked.exists():
        kept = reporter.keep(marked.read_text(encoding="utf-8"))
        marked.unlink()
        if not kept and status == "FINISHED":
            reporter.fail(
                STORAGE_FULL, "There is no space left for its output notebook, which is kept as it was before."
            )
            return "FAILED"
    return status


def _executed(order: Order, reporter: Reporter, places: tuple[Path, Path], notebook: Any, kernel: str) -> str:
    """`places`: of the notebook among its files, and of what papermill makes of it."""
    papermill_engines.register("modelyard", Engine)
    kills = oom_kills()
    source = Path("source.ipynb").absolute()  # papermill takes braces in a name for parameters
    name_language(notebook)
    write_notebook(notebook, source)

    def stop_on_sigterm(client: Any) -> None:
        def stop(*_: object) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            client.shutdown_kernel = "immediate"
            raise Stopped

        signal.signal(signal.SIGTERM, stop)

    try:
        execute_notebook(
            str(source),
            str(places[1]),
            parameters=dict(order.parameters),
            engine_name="modelyard",
            kernel_name=kernel,
            request_save_on_cell_execute=False,
            progress_bar=False,
            cwd=str(places[0].parent),
            reporter=reporter,
            began=stop_on_sigterm,
        )
    except PapermillExecutionError as error:
        failure = failed_cell(error)
        reporter.fail("CellFailed", f"Cell {failure.cell} raised {failure.error}", failure)
        return "FAILED"
    except Stopped:
        reporter.fail("Stopped", "It was told to end.")
        return "KILLED"
    except DeadKernelError:
        reporter.fail(*_dead(order, reporter, kills))
        return "FAILED"
    except PapermillException as error:
        reporter.fail("PapermillFailed", str(error))
        return "FAILED"
    return "FINISHED"


def failed_cell(error: Any) -> Failure:
    """Where and what: `error` is papermill's."""
    hide = redactor().text  # before it is cut: what is left of a value is none that would be found
    trace = hide(_ESCAPES.sub("", "\n".join(error.traceback)))
    return Failure(
        cell=error.exec_count or 0,
        source=hide(error.source)[:_TRACEBACK],
        error=hide(f"{error.ename}: {error.evalue}")[:2000],
        traceback=trace[-_TRACEBACK:],
    )


def _dead(order: Order, reporter: Reporter, kills: int) -> tuple[str, str]:
    resources = order.run.spec.resources
    limit = resources.memory if resources is not None else 0
    if oom_kills() > kills or (limit and reporter.peak > 0.9 * limit):
        return "OutOfMemory", (
            f"The kernel was ended for want of memory: its peak was {reporter.peak >> 20} MiB, "
            f"the limit is {limit >> 20} MiB."
        )
    return "KernelDied", "The kernel ended before its cell did."


def oom_kills() -> int:
    """How many processes the kernel has ended here for want of memory; 0 where it does not say."""
    with suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", Path("/sys/fs/cgroup/memory.events").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0
