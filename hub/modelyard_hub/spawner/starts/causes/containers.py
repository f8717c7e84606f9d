"""The pod has its node: sandbox, image, container, and the server in it."""

from __future__ import annotations

import re
from typing import Any

from modelyard_hub.spawner.starts.causes.base import ADMINISTRATOR, Diagnosis, Object, Observed, parse, said, when
from modelyard_hub.spawner.starts.causes.volumes import not_mounted
from modelyard_hub.spawner.starts.causes.words import duration, number, size

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
          "RegistryUnavailable", "SignatureValidationFailed"}  # fmt: skip
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "PreStartHookError"}
_WHY_NO_IMAGE = (
    (r"not found|manifest unknown|does not exist|NotFound", "there is no such image", "image-missing"),
    (r"unauthorized|authentication|denied|forbidden|401|403", "the registry does not let this cluster in",
     "image-denied"),
    (r"no such host|connection refused|i/o timeout|no route|unreachable|reset by peer", "the registry does not answer",
     "registry-away"),
    (r"x509|certificate|tls:", "the registry's certificate is not trusted", "registry-tls"),
    (r"toomanyrequests|rate limit|429", "the registry allows no more pulls for now", "registry-limit"),
    (r"no space left", "the node's disk is full", "disk-full"),
)  # fmt: skip
QUIET = 20.0
"""Seconds after which a server that runs and does not answer is worth a look at its log."""


def placed(seen: Observed) -> Diagnosis:
    """Why the server of a pod that has a node does not answer."""
    if silent := _silent_node(seen):
        return silent
    states = list(seen.status.get("initContainerStatuses") or ()) + list(seen.status.get("containerStatuses") or ())
    for status in states:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _IMAGE:
            return _no_image(seen, status, waiting)
        if ended := _ended(seen, status):
            return ended
        if reason in _CONFIG:
            return _not_started(seen, waiting)
    if states and all((status.get("state") or {}).get("running") for status in states[-1:]):
        return _silent_server(seen, states[-1])
    return not_mounted(seen) or _sandbox(seen) or _pulling(seen) or _creating(seen)


def _silent_node(seen: Observed) -> Diagnosis | None:
    node = next((n for n in seen.nodes or () if n["metadata"]["name"] == seen.node), None)
    ready = next(
        (c for c in ((node or {}).get("status") or {}).get("conditions") or () if c.get("type") == "Ready"), None
    )
    if not ready or ready.get("status") == "True":
        return None
    since = duration(seen.since(parse(ready.get("lastTransitionTime"))))
    cause = f"Its node {seen.node} has given no answer for {since}."
    remedy = "Stop it and start it anew: it then gets another node, where there is one."
    return Diagnosis("start", "node-away", cause, (str(ready.get("message") or ""),), remedy)


def _no_image(seen: Observed, status: Object, waiting: Object) -> Diagnosis:
    image, message = status.get("image"), str(waiting.get("message") or "")
    failed = seen.last("Failed", "InspectFailed", "ErrImageNeverPull")
    text = f"{message} {(failed or {}).get('message') or ''}"
    evidence = said(waiting)
    if waiting.get("reason") == "InvalidImageName":
        cause = f"{image!r} is no name of an image."
        return Diagnosis("pull", "image-name", cause, evidence, ADMINISTRATOR, final=True)
    if waiting.get("reason") == "ErrImageNeverPull":
        cause = f"The image {image} is not on {seen.node}, and may not be pulled."
        return Diagnosis("pull", "image-missing", cause, evidence, ADMINISTRATOR)
    for pattern, why, reason in _WHY_NO_IMAGE:
        if re.search(pattern, text, re.IGNORECASE):
            remedy = (
                "Choose another image, or ask an administrator." if reason == "image-missing" else "It is tried again."
            )
            return Diagnosis("pull", reason, f"The image {image} cannot be pulled: {why}.", evidence, remedy)
    return Diagnosis("pull", "image", f"The image {image} cannot be pulled.", evidence, ADMINISTRATOR)


def _ended(seen: Observed, status: Object) -> Diagnosis | None:
    """A container that ended, now or before it was started again."""
    state, before = status.get("state") or {}, (status.get("lastState") or {}).get("terminated")
    end = state.get("terminated") or (before if not state.get("running") or status.get("restartCount") else None)
    if not end or (end.get("exitCode") == 0 and status["name"] in _init_names(seen)):
        return None
    evidence = (*(str(end.get("message") or "").splitlines()), *seen.log)
    again = int(status.get("restartCount") or 0)
    ends = again if state.get("running") else again + 1
    often = f", {ends} times so far" if ends > 1 else ""
    last = again >= 1 and not state.get("running")
    if end.get("reason") == "OOMKilled":
        memory = _limit(seen, status["name"])
        cause = f"The server used more than its memory{f' of {size(memory)}' if memory else ''} and was ended{often}."
        return Diagnosis("ready", "memory", cause, evidence, "Choose more memory.", final=last)
    if end.get("reason") in ("StartError", "ContainerCannotRun"):
        cause = f"The server cannot be started: {_tail(str(end.get('message') or ''))}."
        return Diagnosis("start", "command", cause, evidence, ADMINISTRATOR, final=last)
    if _shared_memory(seen.log):
        cause = f"The server ended with exit code {end.get('exitCode')}{often}: its shared memory (/dev/shm) is full."
        return Diagnosis("ready", "shm", cause, evidence, "Choose more shared memory.", final=last)
    cause = f"The server ended with exit code {end.get('exitCode')}{often}."
    remedy = "The end of its log is below. A package in your home may be at fault." if seen.log else ADMINISTRATOR
    return Diagnosis("ready", "ended", cause, evidence, remedy, final=last)


def _not_started(seen: Observed, waiting: Object) -> Diagnosis:
    cause = f"The server cannot be started: {_tail(str(waiting.get('message') or waiting.get('reason')))}."
    return Diagnosis("start", "command", cause, said(waiting), ADMINISTRATOR)


def _silent_server(seen: Observed, status: Object) -> Diagnosis:
    started = parse(status["state"]["running"].get("startedAt"))
    waited = seen.since(started)
    probe = said(seen.last("Unhealthy"))
    usual = seen.usual.get("ready")
    if waited < max(QUIET, 2 * (usual or 0.0)):
        hint = f", usually {duration(usual)}" if usual else ""
        return Diagnosis(
            "ready", "answering", f"The server starts: {duration(waited)} so far{hint}.", probe, wrong=False
        )
    cause = f"The server runs and has not answered for {duration(waited)}."
    remedy = "The end of its log is below." if seen.log else "Its log is empty, or cannot be read."
    return Diagnosis("ready", "silent", cause, (*probe, *seen.log), remedy)


def _sandbox(seen: Observed) -> Diagnosis | None:
    event, later = seen.last("FailedCreatePodSandBox"), seen.last("Pulling", "Pulled", "Created")
    if event is None or (later and when(later) > when(event)):
        return None
    message = str(event.get("message") or "")
    network = bool(re.search(r"cni|network|plugin type|IPAM|no IP|ipam", message))
    what = "Its network cannot be set up" if network else "Its pod cannot be set up"
    cause = f"{what} on {seen.node}: {_tail(message.rpartition('desc = ')[2])}."
    return Diagnosis("start", "network" if network else "sandbox", cause, said(event), ADMINISTRATOR)


def _pulling(seen: Observed) -> Diagnosis | None:
    event, later = seen.last("Pulling"), seen.last("Pulled", "Created", "Started")
    if event is None or (later and when(later) > when(event)):
        return None
    image = next(iter(re.findall(r'"([^"]+)"', str(event.get("message")))), "")
    waited, usual = seen.since(when(event)), seen.usual.get("pull")
    bytes_ = _image_size(seen, image)
    details = [f"{size(bytes_)}"] if bytes_ else []
    details.append(f"{duration(waited)} so far")
    if usual:
        details.append(f"usually {duration(usual)}")
    cause = f"Its image is being pulled to {seen.node}: {', '.join(details)}."
    return Diagnosis("pull", "pulling", cause, said(event), wrong=False)


def _creating(seen: Observed) -> Diagnosis:
    scheduled = parse(seen.condition("PodScheduled").get("lastTransitionTime"))
    waited = seen.since(scheduled)
    if seen.last("Pulled", "Created"):
        return Diagnosis("start", "starting", "The server's container is being started.", wrong=False)
    if waited > 60:
        cause = f"{seen.node} has been preparing it for {duration(waited)}, and does not say what it waits for."
        return Diagnosis("attach", "stuck", cause, said(*seen.events)[-3:], ADMINISTRATOR)
    return Diagnosis("attach", "preparing", f"{seen.node} prepares its volume and its network.", wrong=False)


def _image_size(seen: Observed, image: str) -> float:
    """As a node tells it that has the image already."""
    for node in seen.nodes or ():
        for known in (node.get("status") or {}).get("images") or ():
            if image in (known.get("names") or ()):
                return float(known.get("sizeBytes") or 0)
    return 0.0


def _limit(seen: Observed, name: str) -> float:
    containers: list[Any] = [*(seen.spec.get("initContainers") or ()), *(seen.spec.get("containers") or ())]
    found: Object = next((c for c in containers if c.get("name") == name), {})
    memory = ((found.get("resources") or {}).get("limits") or {}).get("memory")
    return number(memory) if memory else 0.0


def _init_names(seen: Observed) -> set[str]:
    return {str(c.get("name")) for c in seen.spec.get("initContainers") or ()}


def _shared_memory(log: tuple[str, ...]) -> bool:
    text = "\n".join(log)
    return "Bus error" in text or ("No space left on device" in text and "/dev/shm" in text)


def _tail(message: str) -> str:
    """The last part of a chain of errors: what a person can act on."""
    found = re.search(r'(exec: ".*)', message)
    text = found[1] if found else message
    return text.removesuffix(": unknown").strip().rstrip(".")[:240]
