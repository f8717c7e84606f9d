"""Sees that a task's Job is made once, and that how it ended is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from modelyard_api.errors import InvalidInput, ModelyardError, QuotaExceeded, Unavailable
from modelyard_api.tasks import TaskStatus
from modelyard_hub.runtimes.kubernetes.client import Client
from modelyard_hub.runtimes.kubernetes.errors import forbidden
from modelyard_hub.runtimes.kubernetes.kinds import JOB, SECRET, Object
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.task_pods import job as job_of
from modelyard_hub.runtimes.kubernetes.task_record import Progress, read_progress, task_record
from modelyard_hub.runtimes.kubernetes.task_view import job_ended, of_job, status_of, the_pod
from modelyard_hub.runtimes.kubernetes.view import View
from modelyard_hub.runtimes.outputs import read_end
from modelyard_hub.runtimes.task import Task

_PATIENCE = 5.0
"""Seconds for a store's answer, during which no other workload is looked at."""


class TaskKeeper:
    """Looks at a task, under the workload's lock."""

    def __init__(self, client: Client, options: KubernetesOptions) -> None:
        self._client, self._options = client, options

    async def keep(self, view: View, task: Task, record: Object) -> bool:
        """Do what is next; whether to look again soon. Raises ModelyardError, which the view says too until it is
        over."""
        progress, seen = read_progress(record), view.task(task.name)
        if progress.end is not None:
            return False
        if seen is not None and seen.state.ended:
            await self._write(view, task, replace(progress, end=status_of(seen)))
            return False
        live, pod = view.of(JOB).get(task.name), the_pod(view.pods_of(task.name))
        if live is None and not progress.job:
            await self._make(view, task, record)
            return True
        if live is not None and not progress.job:
            await self._write(view, task, Progress(live["metadata"]["uid"]))
        if pod is not None:
            view.refused(task.name, None)
            return False
        if live is None or job_ended(live):
            await self._write(view, task, Progress(progress.job, await self._end_of(task, live)))
            return False
        view.refused(task.name, await self._why_no_pod(live))
        return True

    async def _make(self, view: View, task: Task, record: Object) -> None:
        try:
            made = await self._client.apply(JOB, job_of(task, record, self._options))
        except Unavailable as error:
            # A cluster that is away is said of all workloads alike; the next look is soon.
            if isinstance(error, QuotaExceeded):
                view.refused(task.name, error)
            raise
        except ModelyardError as error:
            view.refused(task.name, error)
            raise
        view.put(JOB, made)
        view.refused(task.name, None)
        await self._write(view, task, Progress(made["metadata"]["uid"]))

    async def _write(self, view: View, task: Task, progress: Progress) -> None:
        answer = await self._client.apply(SECRET, task_record(task, self._client.namespace, progress))
        view.put(SECRET, answer)

    async def _end_of(self, task: Task, live: Object | None) -> TaskStatus:
        """How a task ended whose pod is gone: as it says itself at its output, else as its Job does."""
        try:
            async with asyncio.timeout(_PATIENCE):
                said = await read_end(task.output, task.shards)
        except (Unavailable, TimeoutError) as error:
            if live is None:
                raise Unavailable(f"the output of task {task.name} cannot be read: {error}") from error
            said = None
        return said if said is not None else of_job(live)

    async def _why_no_pod(self, live: Object) -> ModelyardError | None:
        """What the cluster says of a Job that it makes no pod for: of Jobs it says so in events alone."""
        said = await self._client.refused_pods(live["metadata"]["uid"])
        if not said:
            return None
        if "exceeded quota" in said or "forbidden" in said:
            return forbidden(said)
        return InvalidInput(f"The cluster refuses its pod: {said}")
