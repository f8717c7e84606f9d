"""Carrying out what `plan_runs` says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from modelyard_api.errors import Conflict, InvalidInput, ModelyardError
from modelyard_api.resources import MiB, Resources
from modelyard_api.runs import CANNOT_SCORE, Run, RunReport, RunState, RunStatus, attempt_folder, task_name
from modelyard_api.tasks import TaskState
from modelyard_hub.backoff import Backoff
from modelyard_hub.reconcile.reports import read_report
from modelyard_hub.reconcile.runs import RUN_LABEL, Action, Delete, Left, Note, Revoke, Settle, Start, settle
from modelyard_hub.runtimes.base import Runtime
from modelyard_hub.runtimes.outputs import read_end
from modelyard_hub.runtimes.task import Task, moment
from modelyard_hub.store.records import StoredRun
from modelyard_hub.store.store import Store

log = logging.getLogger(__name__)
_LIFETIME = 30 * 86400.0
"""Of a token, in seconds: its task may wait long for the cluster. It is revoked when the attempt ends."""


class Tokens(Protocol):
    """Who makes and revokes tokens of users: see `HubTokens`."""

    async def make(self, user: str, note: str, lifetime: float) -> tuple[str, str]:
        """Id and secret."""

    async def revoke(self, user: str, token_id: str) -> None:
        """It no longer works."""

    async def revoke_all(self, user: str, note: str) -> None:
        """None of that note works any more."""


class Secrets(Protocol):
    """Who knows named secrets."""

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Variables, and files by name, that a run is given. InvalidInput, NotFound for one that is not there."""


class NoSecrets:
    """Where there are none."""

    async def given(self, run: Run) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """See `Secrets.given`."""
        if run.spec.secrets:
            raise InvalidInput(f"there is no secret {run.spec.secrets[0].secret!r}")
        return {}, {}


@dataclass(frozen=True)
class RunOptions:
    """`place`: the location of a path below the artifacts' root. `environment`: what every run is told. `image` and
    `gpu_image`: where a runtime has images. `slots`: shards at once, 0 any number. `again`: when a start that failed is
    tried again."""

    place: Callable[[str], str]
    environment: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    gpu_image: str = ""
    slots: int = 0
    again: Backoff = field(default_factory=lambda: Backoff(first=2.0, cap=60.0))


class RunSteps:
    """One method for each kind of action; each may be done again."""

    def __init__(self, store: Store, runtime: Runtime, tokens: Tokens, secrets: Secrets, options: RunOptions) -> None:
        self._store, self._runtime, self._tokens, self._secrets = store, runtime, tokens, secrets
        self._options = options
        self._failures: dict[str, int] = {}

    async def carry_out(self, action: Action) -> None:
        """Raises ModelyardError where it could not be done now."""
        match action:
            case Start():
                await self._start_or_later(action)
            case Settle():
                await self._settle(action)
            case Note():
                await self._write(action.stored, action.status)
            case Delete():
                await self._runtime.delete(action.name)
            case Revoke():
                await self._revoke(action.stored)

    async def _start_or_later(self, action: Start) -> None:
        """One whose start fails goes out of the way of the others for a while."""
        run_id = action.stored.run.id
        try:
            await self._start(action)
        except Exception as error:
            self._failures[run_id] = self._failures.get(run_id, 0) + 1
            await self._later(action.stored, error)
            raise
        self._failures.pop(run_id, None)

    async def _later(self, before: StoredRun, error: Exception) -> None:
        run = (await self._store.get_run(before.run.id)).run
        if run.status.attempt != before.run.status.attempt:
            return  # somebody else started it
        why = str(error) if isinstance(error, ModelyardError) else type(error).__name__
        change = {"reason": "StartFailed", "message": f"It could not be started, and will be tried again: {why}"}
        wait = timedelta(seconds=self._options.again.delay(self._failures[run.id]))
        await self._store.write_run_status(run.id, run.status.model_copy(update=change), datetime.now(UTC) + wait)

    async def _start(self, action: Start) -> None:
        stored, run = action.stored, action.stored.run
        if run.spec.takes_a_file:  # of a schedule that was stored before these were refused
            why = "It takes {file} or {stem}, which only new files fill in, and what started it is none."
            await self._refuse(stored, CANNOT_SCORE, f"{why} Let on_files alone start the schedule.")
            return
        try:
            variables, files = await self._secrets.given(run)
        except InvalidInput as error:
            await self._refuse(stored, "NoSecret", str(error))
            return
        try:
            secret = await self._token(stored)
        except InvalidInput as error:
            await self._refuse(stored, "NoToken", str(error))
            return
        if secret is None:
            return  # somebody else starts it
        expected = await self._store.usual_seconds(run.owner, run.spec.called)
        told = {
            "run": run.model_dump(mode="json"),
            "attempt": action.attempt,
            "parameters": dict(action.parameters),
            "expected": expected,
        }
        task = Task(
            name=task_name(run.id, action.attempt),
            command=("python", "-m", "modelyard.batch"),
            output=self._options.place(attempt_folder(run.owner, run.id, action.attempt)),
            resources=run.spec.resources or Resources(),
            image=self._image(run),
            environment={
                **run.spec.environment,
                **self._options.environment,
                "MODELYARD_TOKEN": secret,
                "MODELYARD_RUN": run.id,
                **variables,
            },
            files={"run.json": json.dumps(told), **files},
            labels={"modelyard.dev/owner": run.owner, RUN_LABEL: run.id},
            timeout=run.spec.timeout,
            shm=run.spec.shm or 64 * MiB,
            shards=run.spec.shards,
            parallel=min(run.spec.shards, self._options.slots),
        )
        try:
            await self._runtime.run(task)
        except Conflict:
            log.info("task %s is there already", task.name)
        except InvalidInput as error:
            await self._refuse(stored, "InvalidTask", str(error))
            return
        change: dict[str, Any] = {"attempt": action.attempt, "reason": "Starting", "message": ""}
        change["progress"] = run.status.progress.model_copy(update={"expected": expected})
        await self._store.write_run_status(run.id, run.status.model_copy(update=change))

    async def _token(self, stored: StoredRun) -> str | None:
        """A secret for a new attempt; the one of an earlier attempt, or of one that was never ordered, is revoked.
        None where another hub service was faster."""
        run = stored.run
        if stored.token_id is not None:
            await self._tokens.revoke(run.created_by, stored.token_id)
        token_id, secret = await self._tokens.make(run.created_by, _note(run), _LIFETIME)
        if not await self._store.write_run_token(run.id, token_id, stored.token_id):
            await self._tokens.revoke(run.created_by, token_id)
            return None
        return secret

    def _image(self, run: Run) -> str:
        gpus = run.spec.resources.gpu if run.spec.resources is not None else 0
        return self._options.gpu_image if gpus and self._options.gpu_image else self._options.image

    async def _refuse(self, stored: StoredRun, reason: str, message: str) -> None:
        change = {"state": RunState.failed, "reason": reason, "message": message, "ended": datetime.now(UTC)}
        await self._write(stored, stored.run.status.model_copy(update=change))

    async def _write(self, stored: StoredRun, status: RunStatus) -> None:
        """With the attempts of one that has ended MLflow is told of, whose run in MLflow is its own from now on."""
        tell = status.state.ended and bool(status.attempts)
        await self._store.write_run_status(stored.run.id, status, stored.not_before, tell=tell)

    async def _settle(self, action: Settle) -> None:
        run = action.stored.run
        left = await self._left(action)
        status, not_before = settle(run, action.attempt, left, datetime.now(UTC))
        await self._store.write_run_status(run.id, status, not_before, tell=True)
        if action.task is not None:
            await self._runtime.delete(action.task.name)
        if action.stored.token_id is not None:
            await self._revoke(action.stored)

    async def _left(self, action: Settle) -> Left:
        """What it left at its output; where that says nothing, what was observed of its task."""
        run = action.stored.run
        output, shards = self._options.place(attempt_folder(run.owner, run.id, action.attempt)), run.spec.shards
        status, task = await read_end(output, shards), action.task
        report = await read_report(output, shards) or RunReport()
        if status is not None:
            started, ended = moment(status.started), moment(status.ended)
            told = (status.reason, status.message, status.exit_code, started, ended, status.lines)
            return Left(status.state, *told, report)
        if task is not None:
            seen = (task.reason, task.message, task.exit_code, task.started, task.ended, task.log_tail)
            return Left(task.state, *seen, report)
        return Left(TaskState.failed, "Lost", "Its task is gone, and left no word.", report=report)

    async def _revoke(self, stored: StoredRun) -> None:
        if stored.token_id is not None:
            # By the note: a hub service that was killed may have made one that it could not write down.
            await self._tokens.revoke_all(stored.run.created_by, _note(stored.run))
            await self._store.write_run_token(stored.run.id, None, stored.token_id)


def _note(run: Run) -> str:
    """By which users see whose a token is."""
    return f"run {run.id}"
