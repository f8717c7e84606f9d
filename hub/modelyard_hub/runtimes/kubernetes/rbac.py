"""What the runtime's service account must be allowed, in its namespace. The chart grants exactly this."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard_hub.runtimes.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    CLAIM,
    DEPLOYMENT,
    EVENT,
    JOB,
    POD,
    SECRET,
    SERVICE,
    SNAPSHOT,
    Kind,
)


@dataclass(frozen=True)
class Rule:
    """`resource` may name a subresource, such as pods/log."""

    group: str
    resource: str
    verbs: tuple[str, ...]


def _rule(kind: Kind, *verbs: str) -> Rule:
    return Rule(kind.group, kind.plural, verbs)


RULES: tuple[Rule, ...] = (
    # Server-side apply is a patch, and needs create where it makes the object.
    _rule(SECRET, "get", "list", "watch", "create", "patch", "delete"),
    # For clusters that ask it of who sets blockOwnerDeletion (OwnerReferencesPermissionEnforcement).
    Rule("", "secrets/finalizers", ("update",)),
    _rule(DEPLOYMENT, "list", "watch", "create", "patch"),
    _rule(JOB, "list", "watch", "create", "patch", "delete"),
    _rule(SERVICE, "list", "watch", "create", "patch"),
    _rule(BUDGET, "list", "watch", "create", "patch"),
    _rule(AUTOSCALER, "list", "watch", "create", "patch", "delete"),
    _rule(POD, "list", "watch", "patch", "delete"),
    Rule("", "pods/log", ("get",)),
    # Only in events does a cluster say why it makes no pod for a Job.
    _rule(EVENT, "list", "create"),
    # Volumes of notebook servers; what is deleted was in the trash.
    _rule(CLAIM, "get", "list", "create", "patch", "delete"),
    _rule(SNAPSHOT, "list", "create", "delete"),
)
