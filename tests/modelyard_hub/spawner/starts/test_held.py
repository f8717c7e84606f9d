"""What it means for a start that a node has the home volume already: a table over objects as a real cluster told them."""

# ruff: noqa: E501  # sentences as they are said, in one piece each

from __future__ import annotations

import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard_hub.spawner.starts.causes.held import Hold, attachment, mounting

SEEN: dict[str, Any] = json.loads((Path(__file__).parent / "observed" / "held.json").read_text())
CLAIM = SEEN["claim"]
VOLUME = CLAIM["spec"]["volumeName"]
NODE = SEEN["attachments"][0]["spec"]["nodeName"]


def at(node: dict[str, Any], seconds: float) -> datetime:
    """So long after it was silent."""
    silent = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    then = datetime.fromisoformat(silent["lastTransitionTime"])
    return datetime.fromtimestamp(then.timestamp() + seconds, tz=then.tzinfo)


def hold(**changes: Any) -> Hold:
    """As it was seen: three minutes after the node was silent, with a pod on it that mounts the volume."""
    seen = copy.deepcopy(SEEN)
    found = attachment(CLAIM, seen["attachments"])
    assert found
    given = {"claim": CLAIM, "attachment": found, "nodes": (seen["node"],), "now": at(seen["node"], 180)}
    return Hold(**{**given, "pods": mounting(CLAIM["metadata"]["name"], seen["pods"]), **changes})


def node(status: str = "Unknown", *taints: str) -> tuple[dict[str, Any]]:
    seen = copy.deepcopy(SEEN["node"])
    next(c for c in seen["status"]["conditions"] if c["type"] == "Ready")["status"] = status
    seen["spec"]["taints"] = [{"key": key, "effect": "NoExecute"} for key in taints]
    return (seen,)


def alone() -> dict[str, Any]:
    return {**CLAIM, "spec": {**CLAIM["spec"], "accessModes": ["ReadWriteOncePod"]}}


def undetached() -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(SEEN["attachments"][0])
    found["status"]["detachError"] = {"message": "rpc error: the image has watchers"}
    return found


SILENT = f"The home volume is attached to the node {NODE}, which has given no answer for 3 min"
CASES: dict[str, tuple[dict[str, Any], str | None, bool, bool]] = {
    "silent": ({}, f"{SILENT}: notebook-mover-left has it there. Try again when that node is back. If it is switched off for good, "
               f"an administrator can free the volume: kubectl taint nodes {NODE} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute", True, True),
    "being-freed": ({"nodes": node("Unknown", "node.kubernetes.io/out-of-service")},
                    f"{SILENT}: notebook-mover-left has it there. It is being freed.", True, False),
    "silent-unused": ({"pods": ()}, f"{SILENT}. It is let go some minutes after that, or when the node is back.", True, False),
    "gone": ({"nodes": ()}, f"The home volume is still attached to the node {NODE}, which is gone. It is let go some minutes after that. "
             "If it stays, an administrator has to look.", True, False),
    "shared": ({"nodes": node("True")}, f"The home volume is in use on {NODE} by notebook-mover-left: this server has to run there too.", False, False),
    "nodes-unseen": ({"nodes": None}, f"The home volume is in use on {NODE} by notebook-mover-left: this server has to run there too.", False, False),
    "alone": ({"nodes": node("True"), "claim": alone()}, f"The home volume is in use on {NODE} by notebook-mover-left, and may be used by one "
              "server at a time. Stop that server first.", True, False),
    "undetached": ({"nodes": node("True"), "pods": (), "attachment": undetached()}, f"The home volume cannot be detached from {NODE}: rpc error: "
                   "the image has watchers. It is tried again. If it stays, an administrator has to look.", True, False),
    "let-go": ({"nodes": node("True"), "pods": ()}, None, False, False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_said_where_the_volume_is_who_has_it_and_what_helps(case: str) -> None:
    changes, text, wrong, final = CASES[case]
    found = hold(**changes).diagnosis()
    assert (found.text if found else None) == text
    if found:
        assert (found.phase, found.reason, found.wrong, found.final) == ("queue", "volume-in-use", wrong, final)
        assert f"{VOLUME} on {NODE}" in found.evidence[0]


def test_a_second_server_is_placed_where_the_volume_is_only_if_it_can_use_it_there() -> None:
    placed = {case: hold(**changes).shared_by for case, (changes, *_) in CASES.items()}
    assert {case for case, there in placed.items() if there} == {"shared", "nodes-unseen"}
    assert placed["shared"] == NODE


def test_what_is_for_many_nodes_or_of_another_volume_is_in_nobodys_way() -> None:
    many = {**CLAIM, "spec": {**CLAIM["spec"], "accessModes": ["ReadWriteMany"]}}
    unbound = {**CLAIM, "spec": {"accessModes": ["ReadWriteOnce"]}}
    other = {**CLAIM, "spec": {**CLAIM["spec"], "volumeName": "pvc-other"}}
    for claim in (many, unbound, other):
        assert attachment(claim, SEEN["attachments"]) is None


def test_pods_that_ended_hold_nothing() -> None:
    (left,) = SEEN["pods"]
    assert mounting("home-other", [left]) == ()
    assert mounting(CLAIM["metadata"]["name"], [{**left, "status": {"phase": "Failed"}}]) == ()
