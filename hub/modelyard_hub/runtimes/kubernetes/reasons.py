"""Why a replica does not run, in a word and in a sentence that says what to do. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard_api.names import EXIT_LOAD_TIMEOUT
from modelyard_hub.runtimes.base import UNHEARD
from modelyard_hub.runtimes.environment import loaded_too_late
from modelyard_hub.runtimes.kubernetes.kinds import Object

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
          "RegistryUnavailable"}  # fmt: skip
_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
          "ContainerCannotRun"}  # fmt: skip
_DISRUPTIONS = {
    "TerminationByKubelet": ("Evicted", "Its node {node} had no room for it any more, or was stopped."),
    "EvictionByEvictionAPI": ("Evicted", "It was evicted from its node {node}, such as to drain it."),
    "PreemptionByScheduler": ("Preempted", "It had to make room on {node} for something of higher priority."),
    "DeletionByTaintManager": ("NodeLost", "Its node {node} did not report any more, or takes no such pods."),
    "DeletionByPodGC": ("NodeLost", "Its node {node} is gone."),
}
"""By the reason of the condition DisruptionTarget."""
_KILLED = 128 + signal.SIGKILL
_TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Cause:
    """`lines`: the last log lines, where something ended."""

    reason: str = ""
    message: str = ""
    lines: tuple[str, ...] = ()


def waiting(state: Mapping[str, Any]) -> Cause | None:
    """Why a container cannot be started at all; None where it only has not been yet, or ended before."""
    reason, said = str(state.get("reason", "")), str(state.get("message", "")).strip()
    if reason in _IMAGE:
        text = f"Its image cannot be had: {(said or reason).rstrip('.')}. The image's name is a setting of the hub."
        return Cause(reason, text)
    if reason in _START:
        return Cause(reason, f"It cannot be started: {said or reason}.")
    return None


def of_pod(pod: Object) -> Cause | None:
    """Why a whole pod is of no use any more; None where it is."""
    status: Mapping[str, Any] = pod.get("status") or {}
    reason, said = str(status.get("reason", "")), str(status.get("message", "")).strip()
    node = (pod.get("spec") or {}).get("nodeName", "its node")
    if reason == "Evicted":
        return Cause("Evicted", f"Its node {node} had no room for it any more: {said} Another one is started.")
    if reason == "NodeLost" or node_is_silent(status):
        return Cause(UNHEARD, f"Its node {node} does not report any more. It is replaced when the node stays away.")
    if status.get("phase") in ("Failed", "Succeeded"):
        return Cause(reason or "Ended", f"Its pod ended: {said or reason or status['phase']}. Another one is started.")
    return None


def unschedulable(condition: Mapping[str, Any]) -> Cause:
    """No node takes a pod; its condition PodScheduled says of how many nodes why."""
    said = str(condition.get("message") or "No node takes it.").strip()
    remedies = []
    if "were unschedulable" in said:
        remedies.append("Nodes that are closed for maintenance (cordoned) take it when they are opened again.")
    if "nsufficient" in said or not remedies:
        remedies.append("Ask for less, or an administrator for more room.")
    return Cause(str(condition.get("reason") or "Unschedulable"), " ".join([said, *remedies]))


def fetch_failed(end: Mapping[str, Any]) -> Cause:
    """The package could not be fetched."""
    lines = _lines(end)
    last = f": {lines[-1]}" if lines else "."
    if end.get("reason") == "OOMKilled":
        last = ": fetching took more memory than the replica's limit."
    return Cause("FetchFailed", f"The package could not be fetched (exit code {end.get('exitCode')}){last}", lines)


def ended(end: Mapping[str, Any], memory: int, start_timeout: float) -> Cause:
    """A server ended; `memory` is its limit in bytes, 0 where it is not known, `start_timeout` its seconds to start."""
    code, lines = int(end.get("exitCode", 0)), _lines(end)
    if end.get("reason") == "OOMKilled":
        return Cause("OutOfMemory", f"It used more memory than its limit of {memory // 2**20} MiB.", lines)
    if end.get("reason") in _START:
        return Cause("StartError", f"It cannot be started: {' '.join(lines)}")
    if code == EXIT_LOAD_TIMEOUT:
        return Cause("LoadTimeout", loaded_too_late(start_timeout), lines)
    if code != 0 and any("MemoryError" in line or "bad_alloc" in line for line in lines[-3:]):
        return Cause("OutOfMemory", f"It could not get more memory (exit code {code}).", lines)
    if code in (0, _KILLED, _TERMINATED):
        # A server does not end by itself like this: it was told to, for it failed its liveness probe.
        text = f"It did not answer and was ended (exit code {code}), unless the node ended it."
        return Cause("Unresponsive", text, lines)
    if code > 128:
        return Cause("Signaled", f"It ended by {_signal(code - 128)}.", lines)
    return Cause("Exited", f"It ended with exit code {code}.", lines)


def node_is_silent(status: Mapping[str, Any]) -> bool:
    """Whether a pod's node does not report.

    The cluster sets only Ready back, and leaves ContainersReady as the node said it last."""
    said = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    return said.get("Ready") in ("False", "Unknown") and said.get("ContainersReady") == "True"


def of_exit(code: int, lines: tuple[str, ...]) -> Cause:
    """A task ended that could not say why."""
    if code == _KILLED:
        return Cause("Killed", f"It was killed, perhaps by its node (exit code {code}).", lines)
    if code > 128:
        return Cause("Signaled", f"It ended by {_signal(code - 128)}.", lines)
    return Cause("Exited", f"It ended with exit code {code}.", lines)


def disrupted(pod: Object) -> Cause | None:
    """Who took a pod from its node, in a word and a sentence; None where nobody did."""
    status: Mapping[str, Any] = pod.get("status") or {}
    node = (pod.get("spec") or {}).get("nodeName", "its node")
    found: Mapping[str, Any] = next(
        (c for c in status.get("conditions") or () if c.get("type") == "DisruptionTarget"), {}
    )
    said = str(status.get("message") or found.get("message") or "").strip()
    if found.get("status") == "True":
        reason, text = _DISRUPTIONS.get(str(found.get("reason")), ("Evicted", "It was taken from its node {node}."))
        return Cause(reason, f"{text.format(node=node)} {said}".strip())
    if status.get("reason") == "Evicted":
        return Cause("Evicted", f"Its node {node} had no room for it any more. {said}".strip())
    return None


def _lines(end: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(end.get("message") or "").splitlines())


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
