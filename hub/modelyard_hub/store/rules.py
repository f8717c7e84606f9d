"""What every write of a spec obeys. Pure."""

from __future__ import annotations

from typing import Any

from modelyard_api.endpoints import EndpointSpec, RevisionSpec, TrafficTarget
from modelyard_api.errors import Conflict, InvalidInput, InvalidTraffic

KEPT_NEWEST = 2
_HISTORY = 50


def stable_revision(spec: EndpointSpec) -> int | None:
    """The revision that has all traffic, or None while it is split."""
    return next((t.revision for t in spec.traffic if t.percent == 100), None)


def rollback_target(history: tuple[int, ...], spec: EndpointSpec) -> int | None:
    """The last revision that had all traffic before the present allocation, and still exists; None: there is none."""
    present = stable_revision(spec)
    return next((n for n in reversed(history) if n != present and spec.revision(n) is not None), None)


def advance(history: tuple[int, ...], spec: EndpointSpec) -> tuple[int, ...]:
    """The history after `spec` was written: removed revisions leave it, a new stable one joins at its end."""
    kept = [n for n in history if spec.revision(n) is not None]
    present = stable_revision(spec)
    if present is not None and (not kept or kept[-1] != present):
        kept.append(present)
    merged = [n for i, n in enumerate(kept) if i == 0 or kept[i - 1] != n]
    return tuple(merged[-_HISTORY:])


def roll_back(history: tuple[int, ...], spec: EndpointSpec) -> tuple[EndpointSpec, tuple[int, ...]]:
    """The spec with all traffic on the rollback target, and the history cut there, so that a further rollback goes
    further back. Raises Conflict with the reason when there is no target."""
    target = rollback_target(history, spec)
    if target is None:
        raise Conflict(
            "there is no earlier revision that had all traffic",
            remedy="Send all traffic to the revision that you want instead.",
        )
    cut = max(i for i, n in enumerate(history) if n == target)
    revisions = tuple(_with_active(r, r.active or r.number == target) for r in spec.revisions)
    traffic = (TrafficTarget(revision=target, percent=100),)
    return spec.model_copy(update={"revisions": revisions, "traffic": traffic}), history[: cut + 1]


def activate(spec: EndpointSpec, history: tuple[int, ...]) -> EndpointSpec:
    """`spec` with `active` settled: a revision runs when it has traffic, is the rollback target or the newest, or was
    asked to by name and is among the newest two."""
    newest = sorted((r.number for r in spec.revisions), reverse=True)[:KEPT_NEWEST]
    needed = {t.revision for t in spec.traffic if t.percent > 0} | {newest[0], rollback_target(history, spec)}

    def settled(revision: RevisionSpec) -> RevisionSpec:
        asked = revision.active and "active" in revision.model_fields_set and revision.number in newest
        return _with_active(revision, revision.number in needed or asked)

    return spec.model_copy(update={"revisions": tuple(settled(r) for r in spec.revisions)})


def check_change(before: EndpointSpec, after: EndpointSpec) -> None:
    """Refuse what a write must not do: InvalidInput for a changed revision or a number that does not count up,
    InvalidTraffic for a removed revision that has traffic."""
    highest = max(r.number for r in before.revisions)
    for position, revision in enumerate(after.revisions):
        old = before.revision(revision.number)
        where = f"spec.revisions.{position}"
        if old is not None:
            _check_same(old, revision, where)
        elif revision.number < highest:
            raise InvalidInput(
                f"{where}.number: {revision.number} is lower than the newest revision, {highest}",
                remedy=f"Number a new revision {highest + 1}.",
                field=f"{where}.number",
            )
    for target in before.traffic:
        if target.percent > 0 and after.revision(target.revision) is None:
            raise InvalidTraffic(
                f"revision {target.revision} has {target.percent} % of the traffic, so it cannot be removed",
                remedy="Move its traffic to another revision first, then remove it.",
                field="spec.revisions",
            )


def describe_change(before: EndpointSpec | None, after: EndpointSpec) -> dict[str, Any]:
    """What a write changed, for the audit: the new values of the members that differ."""
    new = after.model_dump(mode="json")
    if before is None:
        return new
    old = before.model_dump(mode="json")
    return {k: v for k, v in new.items() if old[k] != v}


def _check_same(old: RevisionSpec, new: RevisionSpec, where: str) -> None:
    for name in RevisionSpec.model_fields:
        if name != "active" and getattr(old, name) != getattr(new, name):
            raise InvalidInput(
                f"{where}.{name}: revision {old.number} is immutable; it has {getattr(old, name)!r}",
                remedy="Add a revision with a new number instead.",
                field=f"{where}.{name}",
            )


def _with_active(revision: RevisionSpec, active: bool) -> RevisionSpec:
    return revision if revision.active == active else revision.model_copy(update={"active": active})
