"""`yard.submit`, `yard.run`, `yard.runs`, and the `Run` that they return: the blocking face of `AsyncRun`."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelyard import display, loop, sync, unattended
from modelyard.unattended import AsyncRun, Result, Submission
from modelyard_api.runs import RunState, RunStatus


class Run:
    """One execution of a notebook, unattended. It tells its state as it was when it was last read: `refresh()`."""

    def __init__(self, remote: AsyncRun) -> None:
        self._remote = remote

    @property
    def remote(self) -> AsyncRun:
        """The same for `async` code."""
        return self._remote

    @property
    def id(self) -> str:
        """Its id, for `yard.run(id)` at any later time."""
        return self._remote.id

    @property
    def state(self) -> RunState:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`, as it is now."""
        return self.refresh()._remote.state

    @property
    def status(self) -> RunStatus:
        """All that is observed: reason and message, place in the queue, progress, failure, times."""
        return self._remote.status

    @property
    def results(self) -> dict[str, Any]:
        """What the notebook recorded by `yard.record`, as far as it is."""
        if not self._remote.state.ended:
            self.refresh()
        return self._remote.results

    def result(self, name: str) -> Result:
        """A parameter for a run that needs this one: what this one records by that name."""
        return self._remote.result(name)

    def refresh(self) -> Run:
        """Itself, as it is now."""
        loop.run(self._remote.refresh())
        return self

    def wait(
        self, timeout: float | None = None, *, quiet: bool = False, told: Callable[[RunStatus], None] | None = None
    ) -> Run:
        """Itself, once it has succeeded; tells its progress in lines meanwhile, unless `quiet`, or to `told`.

        RunFailed, with the cell and the traceback, where it failed or was cancelled; TimedOut after `timeout` seconds,
        and it goes on. Interrupted, it goes on too: `cancel()` ends it.
        """
        steps: queue.SimpleQueue[Any] = queue.SimpleQueue()
        say = told or ((lambda _: None) if quiet else Lines(self.id))
        loop.run(self._remote.wait(timeout, steps.put), steps, say)
        return self

    def cancel(self) -> Run:
        """Tell it to end: SIGTERM first; what it made so far is kept."""
        loop.run(self._remote.cancel())
        return self

    def delete(self) -> None:
        """Away with it, and with its log, output and results: for good. Conflict where it has not ended."""
        loop.run(self._remote.delete())

    def logs(self, lines: int = 200, attempt: int | None = None) -> list[str]:
        """The last lines of an attempt's log, by default of the last one."""
        return loop.run(self._remote.logs(lines, attempt))

    def notebook(self, *, html: bool = False, attempt: int | None = None) -> Any:
        """The output notebook as far as it is: a dict, as in an .ipynb file, or with `html` a page."""
        return loop.run(self._remote.notebook(html=html, attempt=attempt))

    def __repr__(self) -> str:
        return f"<Run {self.id} {self._remote.resource.spec.called}: {describe(self.status)}>"


class Lines:
    """Tells a run's progress in lines: one for each change."""

    def __init__(self, run_id: str, write: Callable[[str], None] = display.write) -> None:
        self._id, self._write, self._last = run_id, write, ""

    def __call__(self, status: RunStatus) -> None:
        """The status as it is now."""
        line = describe(status, times=False)
        if line != self._last:
            self._last = line
            self._write(f"run {self._id}: {describe(status)}")


def describe(status: RunStatus, *, times: bool = True) -> str:
    """In a few words."""
    progress, words = status.progress, [status.state.value]
    if status.state is RunState.queued and status.place is not None:
        words.append(f"place {status.place}")
    if status.attempt > 1:
        words.append(f"attempt {status.attempt}")
    if status.state is RunState.running and progress.cells:
        words.append(f"cell {progress.cell} of {progress.cells}")
        if times and progress.elapsed is not None:
            expected = f" of about {display.duration(progress.expected)}" if progress.expected else ""
            words.append(f"{display.duration(progress.elapsed)}{expected}")
    elif status.state is RunState.running and progress.last_output:
        words.append(progress.last_output)
    if status.message and status.state is not RunState.running:
        words.append(status.message)
    return ", ".join(words)


def submit(
    notebook: str | Path,
    parameters: dict[str, Any] | None = None,
    *,
    profile: str = "",
    cpu: float | None = None,
    memory: int | str | None = None,
    gpu: int = 0,
    shm: int | str | None = None,
    environment: dict[str, str] | None = None,
    secrets: Mapping[str, str] | Sequence[str | Mapping[str, str]] = (),
    timeout: float | None = None,
    retries: int = 0,
    backoff: float = 30.0,
    priority: int = 0,
    needs: Sequence[Run | str] = (),
    name: str = "",
    owner: str | None = None,
    files: Sequence[str | Path] = (),
    idempotency_key: str | None = None,
) -> Run:
    """Execute a notebook unattended, in a workload of its own; a `Run` at once.

    The notebook is taken as it is on disk now, with the files beside it that its cells name (and `files`); it is never
    written to. `parameters`: for its cell with the tag `parameters`; one that is `other.result("auc")` is what the run
    `other` records, which then must have succeeded first. Size: by `profile`, one of `profiles()`, or `cpu` cores,
    `memory` and `shm` such as "2Gi", `gpu`. `environment`: variables. `secrets`: {"DB_URL": "db"} has the secret db in
    the variable DB_URL, ["db"] gives it to `secret("db")` in the run.
    `timeout` seconds for each attempt, `retries` further ones, the first after `backoff` seconds. A higher
    `priority` starts first. `needs`: runs that must have succeeded. `owner`: one of your groups. `idempotency_key`: of
    two submits with one key, one is a run.

    InvalidParameter names a parameter that the notebook does not have, or not of that type; InvalidInput, TooLarge,
    InvalidChoice what else is wrong, before anything starts.
    """
    submission = Submission(
        parameters=parameters or {},
        profile=profile,
        cpu=cpu,
        memory=memory,
        gpu=gpu,
        shm=shm,
        environment=environment or {},
        secrets=secrets,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        priority=priority,
        needs=needs,
        name=name,
        owner=owner,
        files=files,
        idempotency_key=idempotency_key,
    )
    return Run(loop.run(unattended.submit(sync.client(), notebook, submission)))


def run(run_id: str) -> Run:
    """The run of that id, from anywhere, at any later time; NotFound."""
    return Run(loop.run(unattended.run(sync.client(), run_id)))


def runs(
    *,
    state: str | Sequence[str] | None = None,
    name: str | None = None,
    schedule: str | None = None,
    group: str | None = None,
    result: str | Sequence[str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """Your runs and those of your groups, newest first; trainings are `trainings()`.

    `name`: only those that are called so. `state`: only those in that state, or in one of several. `result`: only
    those that recorded such a one, as "auc>0.9" or ["auc>0.9", "stage=final"].
    """
    query = {"state": state, "name": name, "schedule": schedule, "group": group, "result": result, "limit": limit}
    found = unattended.runs(sync.client(), **query)
    return [Run(one) for one in loop.run(found)]
