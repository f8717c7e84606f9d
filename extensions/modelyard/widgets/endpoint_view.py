"""What EndpointPanel shows of an endpoint, as JSON of at most 4 KB. Pure."""

from __future__ import annotations

from typing import Any

from modelyard import changes, portrait
from modelyard_api.conditions import Condition, ConditionStatus
from modelyard_api.endpoints import Endpoint, Identity

SHOWN = 8
"""Revisions; the newest of those that run or get calls."""
_TAIL, _WIDTH = 6, 160
_QUESTIONS = {
    "Ready": "Answers calls",
    "Routed": "The router knows it",
    "TrafficApplied": "Calls are split as wanted",
    "Autoscaling": "Scales by itself",
}


def view(resource: Endpoint, me: Identity, url: str) -> dict[str, Any]:
    """All that is shown, but for rates and what is asked for."""
    text, kind = portrait.state(resource)
    rows = portrait.rows(resource)
    shown = [r for r in rows if r.wanted or r.applied or r in rows[-SHOWN:]][-SHOWN:]
    worst = next((r.number for r in shown if r.kind == "bad"), None)
    tails = {r.number: r.log_tail for r in resource.status.revisions}
    return {
        "owner": resource.owner,
        "name": resource.name,
        "url": url,
        "description": cut(resource.spec.description, 300),
        "state": cut(text),
        "kind": kind,
        "deleting": resource.deleting,
        "conditions": [_condition(c) for c in resource.status.conditions],
        "revisions": [
            {
                "number": r.number,
                "version": r.version,
                "wanted": r.wanted,
                "applied": r.applied,
                "replicas": r.replicas,
                "flavor": r.flavor,
                "state": cut(r.state),
                "kind": r.kind,
                "tail": [cut(line) for line in tails.get(r.number, ())[-_TAIL:]] if r.number == worst else [],
            }
            for r in shown
        ],
        "older": len(resource.spec.revisions) - len(shown),
        "traffic": {str(n): p for n, p in changes.traffic(resource.spec).items()},
        "rollback": resource.rollback_to,
        "scaling": [resource.spec.scaling.min, resource.spec.scaling.max],
        "locked": locked(resource, me),
        "problem": None,
        "gone": False,
    }


def locked(resource: Endpoint, me: Identity) -> str:
    """Why this person may not change it; empty when they may."""
    scopes = {s.rsplit(":", 1)[-1] for s in me.scopes}
    if not (me.admin or resource.owner == me.owner or resource.owner in me.groups):
        return (
            f"{resource.owner}/{resource.name} belongs to {resource.owner}, and you are {me.owner}. You can look at it "
            f"and call it. To change it, ask {resource.owner}, or publish one of your own."
        )
    if scopes and not scopes & {"write", "admin"}:
        return "Your token may only read. Use the one of your notebook server, or make one that may write."
    return ""


def cut(text: str, width: int = _WIDTH) -> str:
    """At most `width` characters of it."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _condition(condition: Condition) -> dict[str, Any]:
    holds = condition.status is ConditionStatus.true
    said = cut(f"{condition.reason}: {condition.message}" if condition.message else condition.reason)
    return {
        "what": _QUESTIONS.get(condition.type, condition.type),
        "holds": holds,
        "said": "" if holds else said,
    }
