"""What pods and a Deployment say of a server's replicas. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelyard_api.errors import ModelyardError
from modelyard_hub.runtimes.base import ObservedServer, Phase, Replica, Server
from modelyard_hub.runtimes.kubernetes.errors import quota
from modelyard_hub.runtimes.kubernetes.kinds import Object
from modelyard_hub.runtimes.kubernetes.manifests import scales
from modelyard_hub.runtimes.kubernetes.options import KubernetesOptions
from modelyard_hub.runtimes.kubernetes.pods import CONTAINER, FETCH, PORT
from modelyard_hub.runtimes.kubernetes.reasons import Cause, ended, fetch_failed, of_pod, unschedulable, waiting

_LONGEST = 4000


@dataclass(frozen=True)
class Seen:
    """A workload's objects. `pods` by the replica's index; `trouble`: why the objects could not be written, if so."""

    record: Object
    server: Server | None
    deployment: Object | None
    pods: Mapping[int, Object]
    trouble: ModelyardError | None = None


def observed(seen: Seen, options: KubernetesOptions) -> ObservedServer:
    """What runs. A record that nobody can read has no digest, so that it is applied again."""
    meta = seen.record["metadata"]
    leaving = deleting(seen.record)
    found = [replica(index, pod, options, leaving=leaving) for index, pod in sorted(seen.pods.items())]
    refused = _refused(seen)
    if refused is not None and not leaving:
        index = next(i for i in range(len(seen.pods) + 1) if i not in seen.pods)
        found.append(Replica(index, Phase.backoff, reason=refused.reason, message=refused.message))
    server = seen.server
    scaled = None
    if server is not None and scales(server):
        scaled = int(((seen.deployment or {}).get("spec") or {}).get("replicas", server.replicas))
    return ObservedServer(
        name=meta["name"],
        digest="" if server is None else server.digest(),
        replicas=tuple(sorted(found, key=lambda r: r.index)),
        labels=dict(meta.get("labels") or {}) if server is None else server.labels,
        scaled_to=scaled,
    )


def replica(index: int, pod: Object, options: KubernetesOptions, *, leaving: bool = False) -> Replica:
    """One pod as a replica; `leaving`: its workload is being deleted."""
    status: Mapping[str, Any] = pod.get("status") or {}
    main = container(status.get("containerStatuses") or (), CONTAINER)
    fetch = container(status.get("initContainerStatuses") or (), FETCH)
    phase, cause = _judge(pod, main, fetch, options)
    if leaving or deleting(pod):
        phase = Phase.stopping
    failing = phase in (Phase.backoff, Phase.crash_loop)
    ip = status.get("podIP")
    return Replica(
        index=index,
        phase=phase,
        address=f"http://[{ip}]:{PORT}" if ip and ":" in ip else f"http://{ip}:{PORT}" if ip else None,
        restarts=int(main.get("restartCount", 0)) + int(fetch.get("restartCount", 0)),
        reason="" if phase is Phase.ready else cause.reason,
        message="" if phase is Phase.ready else cause.message,
        log_tail=tuple(line[:_LONGEST] for line in cause.lines[-options.tail_lines :]) if failing else (),
        since=_since(pod, phase),
        ended=_ended(pod, main, options) if phase is Phase.ready else "",
    )


def indexes(known: Mapping[str, int], pods: Iterable[Object]) -> dict[str, int]:
    """An index for each pod, by uid: the one that it has, else the smallest that is free, the oldest pod first."""
    there = sorted(pods, key=lambda p: (p["metadata"].get("creationTimestamp", ""), p["metadata"]["name"]))
    uids = [p["metadata"]["uid"] for p in there]
    found = {uid: known[uid] for uid in uids if uid in known}
    for uid in uids:
        if uid not in found:
            taken = set(found.values())
            found[uid] = next(i for i in range(len(taken) + 1) if i not in taken)
    return found


def deleting(found: Object) -> bool:
    """Whether the cluster was told to delete it."""
    return bool(found["metadata"].get("deletionTimestamp"))


def failed(pod: Object) -> bool:
    """Whether it ended for good, such as by eviction: another one is made in its place, and it only lies around."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def is_ready(pod: Object) -> bool:
    """Whether it is ready for calls."""
    return condition(pod, "Ready").get("status") == "True" and not deleting(pod)


def crashed(pod: Object) -> bool:
    """Whether its server ended before and does not run now: the last words are those of the earlier one."""
    main = container((pod.get("status") or {}).get("containerStatuses") or (), CONTAINER)
    return int(main.get("restartCount", 0)) > 0 and "running" not in (main.get("state") or {})


def _judge(
    pod: Object, main: Mapping[str, Any], fetch: Mapping[str, Any], options: KubernetesOptions
) -> tuple[Phase, Cause]:
    if (whole := of_pod(pod)) is not None:
        return Phase.backoff, whole
    if is_ready(pod):
        return Phase.ready, Cause()
    for status in (fetch, main):
        why = waiting((status.get("state") or {}).get("waiting") or {})
        if why is not None:
            return Phase.backoff, why
    if (end := _last_end(fetch)) is not None and int(end.get("exitCode", 0)) != 0:
        return _after_end(fetch, fetch_failed(end), end, options)
    if (end := _last_end(main)) is not None:
        return _after_end(main, ended(end, _memory(pod), options.timing.start_timeout), end, options)
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return Phase.starting, unschedulable(scheduled)
    return Phase.starting, Cause()


def _after_end(
    status: Mapping[str, Any], cause: Cause, end: Mapping[str, Any], options: KubernetesOptions
) -> tuple[Phase, Cause]:
    """A container that ended before: it waits to be started again, or is starting again."""
    if "running" in (status.get("state") or {}):
        return Phase.starting, cause
    began, until = _time(end.get("startedAt")), _time(end.get("finishedAt"))
    lived = (until - began).total_seconds() if began and until else 0.0
    looping = int(status.get("restartCount", 0)) >= options.crash_loop_after and lived < options.timing.healthy_after
    return Phase.crash_loop if looping else Phase.backoff, cause


def _last_end(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for state in (status.get("state") or {}, status.get("lastState") or {}):
        if state.get("terminated"):
            end: Mapping[str, Any] = state["terminated"]
            return end
    return None


def _ended(pod: Object, main: Mapping[str, Any], options: KubernetesOptions) -> str:
    """How a server ended that runs again."""
    end = (main.get("lastState") or {}).get("terminated")
    if not end:
        return "its node does not tell any more how the one before it ended." if main.get("restartCount") else ""
    cause, at = ended(end, _memory(pod), options.timing.start_timeout), _time(end.get("finishedAt"))
    return f"{cause.reason}{f' at {at:%Y-%m-%d %H:%M:%S} UTC' if at else ''}: {cause.message}"


def _refused(seen: Seen) -> Cause | None:
    """Why the cluster makes no pods, or not all."""
    if seen.trouble is not None:
        return Cause(type(seen.trouble).__name__, str(seen.trouble))
    for condition in ((seen.deployment or {}).get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            said = str(condition.get("message", ""))
            if "exceeded quota" in said:
                text = quota(said)
                return Cause("QuotaExceeded", f"{text[0].upper()}{text[1:]}. Ask for less, or for a larger quota.")
            return Cause("Refused", f"The cluster refuses its pods: {said}")
    return None


def _memory(pod: Object) -> int:
    for container in pod["spec"]["containers"]:
        if container["name"] == CONTAINER:
            text = str(((container.get("resources") or {}).get("limits") or {}).get("memory", "0"))
            return int(text) if text.isdigit() else 0
    return 0


def _since(pod: Object, phase: Phase) -> datetime | None:
    if phase is Phase.stopping and deleting(pod):
        return _time(pod["metadata"]["deletionTimestamp"])
    changed = condition(pod, "Ready").get("lastTransitionTime")
    return _time(changed or pod["metadata"].get("creationTimestamp"))


def condition(pod: Object, kind: str) -> Mapping[str, Any]:
    """What a pod says of itself under that type."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    found: Mapping[str, Any] = next((c for c in conditions if c.get("type") == kind), {})
    return found


def container(statuses: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The one of that name."""
    return next((s for s in statuses if s.get("name") == name), {})


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
