"""The scheduler finds no node: no room, a taint, a label, a volume that is elsewhere."""

from __future__ import annotations

import re

from modelyard_hub.spawner.starts.causes.base import ADMINISTRATOR, Diagnosis, Object, Observed, parse, said
from modelyard_hub.spawner.starts.causes.room import Best, best, repelling, requests, selected
from modelyard_hub.spawner.starts.causes.volumes import unbound
from modelyard_hub.spawner.starts.causes.words import amount, bare, joined

_SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
_AWAY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
KUEUE_GATE, KUEUE_QUEUE = "kueue.x-k8s.io/admission", "kueue.x-k8s.io/queue-name"
WAIT = "Choose a smaller size, or wait until a server that runs now stops."
VOLUME_ELSEWHERE = {
    "volume node affinity conflict": (
        "The home volume is in a place whose nodes have no room for this server.",
        "Choose a smaller size, or wait until a server there stops.",
    ),
    "exceed max volume count": (
        "Every node that fits has as many volumes attached as it can.",
        "Wait until a server stops.",
    ),
    "ReadWriteOncePod": (
        "The home volume is in use by another server, and may be used by one at a time.",
        "Stop that server first.",
    ),
    "Too many pods": ("Every node that fits runs as many pods as it may.", "Wait until a server stops."),
}  # fmt: skip


def unscheduled(seen: Observed) -> Diagnosis:
    """Why a pod has no node yet."""
    condition = seen.condition("PodScheduled")
    if condition.get("reason") == "SchedulingGated":
        names = [gate["name"] for gate in seen.spec.get("schedulingGates") or ({"name": "a gate"},)]
        if KUEUE_GATE in names:
            return _queued(seen, condition)
        gates = joined(names)
        return Diagnosis("schedule", "gated", f"It is held back by {gates}.", said(condition), "Wait for its turn.")
    message = str(condition.get("message") or "")
    if condition.get("status") != "False" or not message:
        return _not_tried_yet(seen)
    evidence = (*said(seen.last("NotTriggerScaleUp", "TriggeredScaleUp")), _line(message))
    if volume := unbound(seen, message):
        return volume
    if growing := seen.last("TriggeredScaleUp"):
        short = _no_room(seen, message)[0] if _SHORT.search(message) else "No node fits."
        cause = f"{short} Another node is being started."
        return Diagnosis(
            "schedule", "scaling-up", cause, (*said(growing), _line(message)), "Wait: it takes some minutes.", False
        )
    for mark, (cause, remedy) in VOLUME_ELSEWHERE.items():
        if mark in message and not _SHORT.search(message):
            return Diagnosis("schedule", "no-room", cause, evidence, remedy, capacity=True)
    if _SHORT.search(message):
        cause, remedy, more = _no_room(seen, message)
        return Diagnosis("schedule", "no-room", cause, (*more, *evidence), remedy, capacity=True)
    return _repelled(seen, message, evidence)


def _queued(seen: Observed, condition: Object) -> Diagnosis:
    """Kueue lets it in when its turn comes."""
    name = ((seen.pod or {}).get("metadata") or {}).get("labels", {}).get(KUEUE_QUEUE)
    cause = f"It waits for its turn in the cluster's queue{f' {name}' if name else ''} (Kueue)."
    return Diagnosis("queue", "kueue", cause, said(condition), wrong=False, capacity=True)


def _not_tried_yet(seen: Observed) -> Diagnosis:
    volume = unbound(seen, "")
    if volume and volume.wrong:
        return volume
    waited = seen.since(parse(((seen.pod or {}).get("metadata") or {}).get("creationTimestamp")))
    if waited > 30 and not volume:
        cause = f"The cluster's scheduler has not looked at it for {waited:.0f} s."
        return Diagnosis("schedule", "no-scheduler", cause, said(*seen.events), ADMINISTRATOR)
    return volume or Diagnosis("schedule", "scheduling", "The cluster looks for a node with room.", wrong=False)


def _no_room(seen: Observed, message: str) -> tuple[str, str, tuple[str, ...]]:
    """Cause, remedy, evidence."""
    wanted = requests(seen.pod or {})
    short = [name for name in dict.fromkeys(_SHORT.findall(message)) if name in wanted]
    if not short:
        return "No node has room for it.", WAIT, ()
    asked = joined(amount(name, wanted[name]) for name in short)
    if seen.nodes is None:
        return f"No node has {asked} free.", WAIT, ("JupyterHub may not see the nodes: how much is free is not known.",)
    fitting = [n for n in selected(seen.pod or {}, seen.nodes) if not _closed(seen, n)]
    tops = {name: best(name, fitting, seen.used) for name in short}
    if never := [name for name, top in tops.items() if top is None or top.largest < wanted[name]]:
        return _too_large(never, wanted, tops)
    known = [(name, top, top.free) for name, top in tops.items() if top and top.free is not None]
    if len(known) < len(short):
        return f"No node has {asked} free.", WAIT, ("JupyterHub may not see all pods: how much is free is not known.",)
    if all(free >= wanted[name] for name, _, free in known):
        return f"No node has {asked} free at once.", WAIT, ()
    most = joined(f"{amount(name, free)} on {top.node}" for name, top, free in known)
    return f"No node has {asked} free; the most is {most}.", WAIT, ()


def _too_large(
    never: list[str], wanted: dict[str, float], tops: dict[str, Best | None]
) -> tuple[str, str, tuple[str, ...]]:
    asked = joined(amount(name, wanted[name]) for name in never)
    has = [_has(name, top) for name in never if (top := tops[name])]
    largest = f"; the most is {joined(has)}" if has else ""
    return f"No node has {asked}{largest}.", "Choose a smaller size; waiting does not help unless a node is added.", ()


def _has(name: str, top: Best) -> str:
    free = "" if top.free is None else f" ({bare(name, top.free)} free)"
    return f"{amount(name, top.largest)} on {top.node}{free}"


def _repelled(seen: Observed, message: str, evidence: tuple[str, ...]) -> Diagnosis:
    """Nodes there are, and they do not take this pod."""
    pod = seen.pod or {}
    wanted = seen.spec.get("nodeSelector") or {}
    nodes = None if seen.nodes is None else selected(pod, seen.nodes)
    if "didn't match" in message and not nodes and (nodes is not None or "taint" not in message):
        labels = joined(f"{name}={value}" for name, value in wanted.items()) if wanted else "that it asks for"
        return Diagnosis("schedule", "no-node", f"No node has the label {labels}.", evidence, ADMINISTRATOR)
    taints = {node["metadata"]["name"]: repelling(pod, node) for node in nodes or ()}
    away = sorted(name for name, of_it in taints.items() if any(taint.get("key") in _AWAY for taint in of_it))
    if away and len(away) == len(taints):
        return Diagnosis("schedule", "node-away", f"{_nodes(away)} no answer.", evidence, ADMINISTRATOR)
    if "unschedulable" in message or any(
        t.get("key") == "node.kubernetes.io/unschedulable" for of in taints.values() for t in of
    ):
        cause = "The nodes that fit are closed for maintenance."
        return Diagnosis("schedule", "cordoned", cause, evidence, "Wait until they are opened again.", capacity=True)
    if "taint" in message:
        kept = [
            f"{name} has the taint {joined(_taint(t) for t in of_it)}"
            for name, of_it in sorted(taints.items())
            if of_it
        ]
        tail = f": {joined(kept[:3])}" if kept else ""
        cause = f"The nodes that fit are kept for other work{tail}."
        return Diagnosis("schedule", "taint", cause, evidence, "Choose another size, or ask an administrator.")
    return Diagnosis("schedule", "no-node", "No node fits.", evidence, ADMINISTRATOR)


def _closed(seen: Observed, node: Object) -> bool:
    return bool(repelling(seen.pod or {}, node) or (node.get("spec") or {}).get("unschedulable"))


def _nodes(names: list[str]) -> str:
    return f"The node {names[0]} gives" if len(names) == 1 else f"The nodes {joined(names)} give"


def _taint(taint: Object) -> str:
    return f"{taint.get('key')}={taint['value']}" if taint.get("value") else str(taint.get("key"))


def _line(message: str) -> str:
    """Without what the scheduler says of preemption, which repeats the first half."""
    first = message.partition(" preemption:")[0].replace("no new claims to deallocate,", "")
    return f"The scheduler: {first.strip()}"
