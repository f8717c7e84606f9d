"""What a Job and its pod say of a task. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard_api.errors import ModelyardError
from modelyard_api.tasks import TaskState, TaskStatus
from modelyard_hub.runtimes.kubernetes.kinds import Object
from modelyard_hub.runtimes.kubernetes.reasons import Cause, disrupted, node_is_silent, of_exit, waiting
from modelyard_hub.runtimes.kubernetes.replicas import container, deleting
from modelyard_hub.runtimes.kubernetes.task_pods import COMMAND, DELIVER, INDEX
from modelyard_hub.runtimes.kubernetes.task_record import read_progress
from modelyard_hub.runtimes.task import ObservedTask, Task, joined

_EXIT_CODE = re.compile(r"failed with exit code (\d+)")


@dataclass(frozen=True)
class SeenTask:
    """A task's objects; `pods`: all of them, where it has shards. `trouble`: why they could not be written, if so;
    `before`: what was observed last."""

    record: Object
    task: Task | None
    job: Object | None
    pod: Object | None
    trouble: ModelyardError | None = None
    before: ObservedTask | None = None
    pods: Sequence[Object] = ()


def observed_task(seen: SeenTask) -> ObservedTask:
    """How far it is. An end that was once seen stays, whatever becomes of the objects that said so."""
    meta, task = seen.record["metadata"], seen.task
    base = ObservedTask(
        name=meta["name"],
        digest="" if task is None else task.digest(),
        labels=dict(meta.get("labels") or {}) if task is None else task.labels,
        deleting=deleting(seen.record),
    )
    end = read_progress(seen.record).end
    if end is not None:
        return with_status(base, end)
    before = seen.before
    if before is not None and before.state.ended:
        return replace(before, deleting=base.deleting)
    if task is not None and task.shards:
        return _observed_shards(seen, task, base)
    if seen.pod is not None:
        now = with_status(base, of_pod(seen.pod))
        return _with_what_kept_it(now, before)
    if before is not None and before.state is TaskState.running:
        return replace(before, deleting=base.deleting)  # its pod is gone; why is found out
    why = _not_begun(seen)
    return replace(base, reason=why.reason, message=why.message)


def _observed_shards(seen: SeenTask, task: Task, base: ObservedTask) -> ObservedTask:
    """By the Job, which counts its shards; their pods say what they are at, and why one failed."""
    if seen.job is not None and job_ended(seen.job):
        ends: list[TaskStatus | None] = [None] * task.shards
        for index, pod in newest_pods(seen.pods, task.shards).items():
            end = of_pod(pod)
            ends[index] = end if end.state.ended else None
        whole, by_pods = of_job(seen.job), joined(ends)
        return with_status(base, by_pods if by_pods is not None and by_pods.state is whole.state else whole)
    pods = [of_pod(pod) for pod in newest_pods(seen.pods, task.shards).values()]
    running = [pod for pod in pods if pod.state is TaskState.running]
    if running:
        began = str(((seen.job or {}).get("status") or {}).get("startTime") or running[0].started)
        lost = next((pod for pod in running if pod.reason), running[0])
        return with_status(base, TaskStatus(TaskState.running, None, lost.reason, lost.message, began))
    if seen.before is not None and seen.before.state is TaskState.running:
        return replace(seen.before, deleting=base.deleting)  # between two pods
    waiting = next((pod for pod in pods if pod.reason and not pod.state.ended), None)
    if waiting is not None:
        return with_status(base, waiting)
    why = _not_begun(seen)
    return replace(base, reason=why.reason, message=why.message)


def newest_pods(pods: Iterable[Object], shards: int) -> dict[int, Object]:
    """The newest pod of each shard that has one."""
    found: dict[int, list[Object]] = {}
    for pod in pods:
        text = str((pod["metadata"].get("labels") or {}).get(INDEX, ""))
        if text.isdigit() and int(text) < shards:
            found.setdefault(int(text), []).append(pod)
    return {index: newest for index in sorted(found) if (newest := the_pod(found[index])) is not None}


def with_status(observed: ObservedTask, status: TaskStatus) -> ObservedTask:
    """What is observed, with a status put in."""
    return observed.told(status)


def status_of(observed: ObservedTask) -> TaskStatus:
    """The opposite, for the record."""
    return TaskStatus(
        state=observed.state,
        exit_code=observed.exit_code,
        reason=observed.reason,
        message=observed.message,
        started=observed.started.isoformat() if observed.started else "",
        ended=observed.ended.isoformat() if observed.ended else "",
        lines=observed.log_tail,
    )


def of_pod(pod: Object) -> TaskStatus:
    """What a pod says. It has not ended before all of it has: until then something is still being delivered."""
    status: Mapping[str, Any] = pod.get("status") or {}
    main = container(status.get("containerStatuses") or (), COMMAND)
    state = main.get("state") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return _ended(pod, state.get("terminated") or {})
    if begun := state.get("running") or state.get("terminated"):
        lost = Cause()
        if node_is_silent(status):
            node = (pod.get("spec") or {}).get("nodeName", "its node")
            lost = Cause("NodeLost", f"Its node {node} does not report any more. It has failed if the node stays away.")
        return TaskStatus(TaskState.running, None, lost.reason, lost.message, str(begun.get("startedAt", "")))
    why = _why_not_yet(status, main)
    return TaskStatus(TaskState.queued, None, why.reason, why.message)


def of_job(job: Object | None) -> TaskStatus:
    """How a task ended whose pod nobody saw end, and that left no status at its output."""
    if job is None:
        return TaskStatus(TaskState.failed, None, "Deleted", "Its Job was deleted by hand.")
    status = job.get("status") or {}
    conditions = status.get("conditions") or ()
    found: Mapping[str, Any] = next((c for c in conditions if c.get("type") in ("Complete", "Failed")), {})
    began, ended = str(status.get("startTime") or ""), str(found.get("lastTransitionTime") or "")
    if found.get("type") == "Complete":
        return TaskStatus(TaskState.succeeded, 0, started=began, ended=ended)
    said = str(found.get("message", ""))
    code = _EXIT_CODE.search(said)
    why = of_exit(int(code[1]), ()) if code else Cause("Lost", f"Its pod is gone: {said}")
    if "DisruptionTarget" in said:
        why = Cause("Evicted", "Its pod was taken from its node.")
    return TaskStatus(TaskState.failed, int(code[1]) if code else None, why.reason, why.message, began, ended)


def job_ended(job: Object) -> bool:
    """Whether nothing more comes of it."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)


def the_pod(pods: Iterable[Object]) -> Object | None:
    """The pod of a task: there is one, unless somebody made more."""
    return max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp", "")), default=None)


def _ended(pod: Object, end: Mapping[str, Any]) -> TaskStatus:
    status: Mapping[str, Any] = pod["status"]
    said = _said(end)
    code = end.get("exitCode")
    code = int(code) if code is not None else None
    began, until = str(end.get("startedAt") or ""), str(end.get("finishedAt") or "")
    if said is not None:
        began, until = said.started or began, said.ended or until
    lines = said.lines if said is not None else tuple(str(end.get("message") or "").splitlines())
    if code == 0 and (status.get("phase") == "Succeeded" or (said is not None and not said.reason)):
        return TaskStatus(TaskState.succeeded, 0, started=began, ended=until, lines=lines)
    if said is not None and said.exit_code is not None:
        code = said.exit_code
    why = _why_ended(pod, end, said, lines)
    return TaskStatus(TaskState.failed, code, why.reason, why.message, began, until, lines)


def _why_ended(pod: Object, end: Mapping[str, Any], said: TaskStatus | None, lines: tuple[str, ...]) -> Cause:
    """What happened to the pod comes before what the command says, which was only told to end."""
    status: Mapping[str, Any] = pod["status"]
    if (taken := disrupted(pod)) is not None:
        return taken
    if status.get("reason") == "DeadlineExceeded":
        return Cause("DeadlineExceeded", "It did not end within its time.")
    if end.get("reason") == "OOMKilled":
        return Cause("OutOfMemory", f"It used more memory than its limit of {_memory(pod)} MiB.")
    if said is not None and said.reason:
        return Cause(said.reason, said.message)
    if end.get("reason") in ("StartError", "ContainerCannotRun"):
        return Cause("StartError", f"It cannot be started: {' '.join(lines)}")
    if end.get("exitCode") is None:
        return Cause(str(status.get("reason") or "Lost"), str(status.get("message") or "Its pod ended."))
    return of_exit(int(end["exitCode"]), lines)


def _said(end: Mapping[str, Any]) -> TaskStatus | None:
    try:
        return TaskStatus.from_json(str(end.get("message") or ""))
    except ValueError:
        return None


def _why_not_yet(status: Mapping[str, Any], main: Mapping[str, Any]) -> Cause:
    for one in (container(status.get("initContainerStatuses") or (), DELIVER), main):
        why = waiting((one.get("state") or {}).get("waiting") or {})
        if why is not None:
            return why
    conditions = status.get("conditions") or ()
    scheduled: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "PodScheduled"), {})
    if scheduled.get("status") == "False":
        text = f"{scheduled.get('message', 'No node takes it.')} Ask for less, or an administrator for more room."
        return Cause(str(scheduled.get("reason") or "Unschedulable"), text)
    return Cause()


def _not_begun(seen: SeenTask) -> Cause:
    if seen.trouble is not None:
        return Cause(type(seen.trouble).__name__, str(seen.trouble))
    if ((seen.job or {}).get("spec") or {}).get("suspend"):
        return Cause("Suspended", "Its Job was suspended by hand.")
    return Cause()


def _with_what_kept_it(now: ObservedTask, before: ObservedTask | None) -> ObservedTask:
    """One that never began is remembered with what kept it from that."""
    if now.reason == "DeadlineExceeded" and now.started is None and before is not None and before.reason:
        return replace(now, reason=before.reason, message=f"It could not begin in time. {before.message}")
    return now


def _memory(pod: Object) -> int:
    main = container(pod["spec"]["containers"], COMMAND)
    text = str(((main.get("resources") or {}).get("limits") or {}).get("memory", "0"))
    return int(text) // 2**20 if text.isdigit() else 0
