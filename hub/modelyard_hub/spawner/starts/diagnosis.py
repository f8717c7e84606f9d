"""Why is it pending: what was seen of a start, as a cause that a person can act on. Pure."""

from __future__ import annotations

from dataclasses import replace

from modelyard_hub.spawner.starts.causes.base import Diagnosis, Observed
from modelyard_hub.spawner.starts.causes.containers import placed
from modelyard_hub.spawner.starts.causes.refused import refused, shm_too_large
from modelyard_hub.spawner.starts.causes.scheduling import unscheduled
from modelyard_hub.spawner.starts.causes.words import size

__all__ = ["Diagnosis", "Observed", "diagnose", "refused", "shm_too_large", "size"]


def diagnose(seen: Observed) -> Diagnosis:
    """What a start waits for, or what it failed for."""
    if seen.pod is None:
        return Diagnosis("queue", "queued", "The server has been asked for.", wrong=False)
    if (seen.pod.get("metadata") or {}).get("deletionTimestamp"):
        return Diagnosis("queue", "stopping", "The server that was here before is being stopped.", wrong=False)
    if seen.status.get("phase") in ("Failed", "Succeeded"):
        return _over(seen)
    return placed(seen) if seen.node else unscheduled(seen)


def _over(seen: Observed) -> Diagnosis:
    """The pod as a whole has ended."""
    reason, message = str(seen.status.get("reason") or ""), str(seen.status.get("message") or "").strip()
    if reason == "Evicted" and "emptyDir" in message.replace("EmptyDir", "emptyDir"):
        cause, remedy = (
            "The server wrote more into a folder of limited size, such as /dev/shm, than fits.",
            "Choose more shared memory.",
        )
        return Diagnosis("ready", "shm", cause, (message,), remedy, final=True)
    if reason == "Evicted":
        cause = f"The node {seen.node} ran short and ended the server."
        return Diagnosis("ready", "evicted", cause, (message,), "Start it again.", capacity=True, final=True)
    if reason == "Preempting" or reason == "Preempted":
        cause = "The server made room for something more urgent."
        return Diagnosis("ready", "preempted", cause, (message,), "Start it again.", capacity=True, final=True)
    if seen.status.get("containerStatuses"):
        return replace(placed(seen), final=True)
    cause = f"The node {seen.node} did not take the server: {message or reason or seen.status.get('phase')}."
    capacity = reason.startswith("OutOf")
    return Diagnosis("start", "rejected", cause, (message,), "Start it again.", capacity=capacity, final=True)
