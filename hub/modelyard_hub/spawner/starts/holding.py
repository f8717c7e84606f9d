"""Whether some node has the home volume, looked at before there is a pod: little, and most of it once for all."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from kubernetes_asyncio.client import (
    StorageV1Api,
    V1Affinity,
    V1NodeAffinity,
    V1NodeSelectorRequirement,
    V1NodeSelectorTerm,
    V1PreferredSchedulingTerm,
)

from modelyard_hub.spawner.starts.causes.held import Hold, attachment, mounting
from modelyard_hub.spawner.starts.wide import AWAY, Wide, read

log = logging.getLogger(__name__)


async def hold(api: Any, namespace: str, wide: Wide, claim: str) -> Hold | None:
    """Where the volume of the claim is; None where it is nowhere, or where that cannot be known."""
    if not (attachments := await wide.attachments()):
        return None
    try:
        found = await read(api.read_namespaced_persistent_volume_claim, name=claim, namespace=namespace)
        known = attachment(found, attachments)
        if known is None or not await _still(api, known["metadata"]["name"]):
            return None
        there = f"spec.nodeName={known['spec']['nodeName']}"
        pods = await read(api.list_namespaced_pod, namespace=namespace, field_selector=there)
    except AWAY as error:
        if getattr(error, "status", 0) != 404:  # the first start makes the claim
            log.warning("Reading where the volume of %s is: %r", claim, error)
        return None
    return Hold(datetime.now(UTC), found, known, mounting(claim, pods["items"]), await wide.nodes())


async def _still(api: Any, name: str) -> bool:
    """What is known of attachments may be some seconds old."""
    storage = StorageV1Api(api.api_client)
    return bool((await read(storage.list_volume_attachment, field_selector=f"metadata.name={name}"))["items"])


def prefer(pod: Any, node: str) -> None:
    """Have a V1Pod placed on this node, if there is room."""
    named = V1NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    term = V1PreferredSchedulingTerm(weight=100, preference=V1NodeSelectorTerm(match_fields=[named]))
    affinity = pod.spec.affinity = pod.spec.affinity or V1Affinity()
    nodes = affinity.node_affinity = affinity.node_affinity or V1NodeAffinity()
    before = nodes.preferred_during_scheduling_ignored_during_execution or []
    nodes.preferred_during_scheduling_ignored_during_execution = [*before, term]
