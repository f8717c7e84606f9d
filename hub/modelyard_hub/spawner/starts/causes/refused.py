"""The cluster does not take the pod or its volume: quota, limits, admission."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelyard_hub.spawner.starts.causes.base import Diagnosis, Object
from modelyard_hub.spawner.starts.causes.words import amount, bare, joined, number, size

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>\S+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<hard>\S+)"
)
_LIMIT = re.compile(
    r"(?P<which>maximum|minimum) (?P<name>\S+) usage per \w+ is (?P<most>[^,]+), but \w+ is (?P<asked>[^.,\]]+)"
)
ADMINISTRATOR = "An administrator has to change it; the lines below tell what."


def refused(status: int, message: str) -> Diagnosis | None:
    """What the API server's refusal to make something means; None where trying again may help."""
    if status not in (400, 403, 422):
        return None
    if found := _QUOTA.search(message):
        return _quota(found, message)
    if found := _LIMIT.search(message):
        name = found["name"]
        asked, most = (amount(name, number(found[key].rstrip("."))) for key in ("asked", "most"))
        cause = f"This server asks for {asked}; the {found['which']} here is {most}."
        return Diagnosis("queue", "limit-range", cause, (message,), "Choose another size.", final=True)
    if "violates PodSecurity" in message:
        cause = "The cluster refuses the server: it breaks the namespace's security rules."
        return Diagnosis("queue", "admission", cause, (message,), ADMINISTRATOR, final=True)
    if "admission webhook" in message:
        cause = "The cluster refuses the server: a rule of its administrators (an admission webhook) forbids it."
        return Diagnosis("queue", "admission", cause, (message,), ADMINISTRATOR, final=True)
    if "cannot create resource" in message:
        cause = "JupyterHub may not make notebook servers in this namespace."
        return Diagnosis("queue", "forbidden", cause, (message,), ADMINISTRATOR, final=True)
    cause = f"The cluster refuses the server: {_tail(message)}."
    return Diagnosis("queue", "admission", cause, (message,), ADMINISTRATOR, final=True)


def _quota(found: re.Match[str], message: str) -> Diagnosis:
    asked, used, hard = (_amounts(found[key]) for key in ("asked", "used", "hard"))
    # Requests and limits of the same resource are one thing to who waits.
    seen: dict[str, str] = {}
    never = False
    for name, wanted in asked.items():
        have, most = used.get(name, 0.0), hard.get(name, 0.0)
        never = never or wanted > most
        word = name.removeprefix("requests.").removeprefix("limits.")
        seen.setdefault(word, f"{bare(name, have)} of {amount(name, most)} in use, this asks for {bare(name, wanted)}")
    cause = f"The quota {found['name']} is used up: {joined(seen.values())}."
    if never:
        remedy = "It is more than the whole quota: choose a smaller size, or ask an administrator for more."
    else:
        remedy = "Stop a server that is not needed, choose a smaller size, or ask an administrator for more."
    return Diagnosis("queue", "quota", cause, (message,), remedy, capacity=True, final=True)


def _amounts(text: str) -> Mapping[str, float]:
    pairs = (part.split("=", 1) for part in text.split(",") if "=" in part)
    return {name: number(value) for name, value in pairs}


def _tail(message: str) -> str:
    """Without the object's name, which tells a user nothing."""
    return re.sub(r"^.*?is (forbidden|invalid): ", "", message, count=1).strip().rstrip(".")[:300]


def shm_too_large(pod: Object) -> Diagnosis | None:
    """Where /dev/shm would be larger than the memory that it is part of."""
    spec = pod.get("spec") or {}
    container = (spec.get("containers") or [{}])[0]
    memory = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    for volume in spec.get("volumes") or ():
        folder = volume.get("emptyDir") or {}
        shared = folder.get("sizeLimit") if folder.get("medium") == "Memory" else None
        if shared and memory and number(shared) > number(memory):
            cause = (
                f"Its shared memory (/dev/shm) of {size(number(shared))} is part of its memory, which is only "
                f"{size(number(memory))}."
            )
            remedy = "Choose less shared memory, or more memory."
            return Diagnosis("queue", "shm", cause, (), remedy, final=True)
    return None
