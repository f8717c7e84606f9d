"""The cluster: does it answer, and may the hub's account do what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from modelyard_api.errors import ModelyardError
from modelyard_hub.doctor.base import Finding, Patient
from modelyard_hub.settings import Settings


def check(patient: Patient) -> Iterator[Finding]:
    """Findings where the settings name a cluster."""
    settings = patient.settings
    if settings.runtime != "kubernetes":
        return
    if not settings.server_image:
        yield Finding(
            "MODELYARD_SERVER_IMAGE", "it is not set", "no pod can be made", "Set it to the image of model servers."
        )
    try:
        missing = asyncio.run(_missing(settings))
    except ModelyardError as error:
        yield Finding("cluster", error.detail, "the API server, the network or the credentials", error.remedy)
        return
    for verb, resource in missing:
        yield Finding(
            f"{verb} {resource}",
            "the hub's account may not do it in the cluster",
            "its Role lacks the rule",
            "Grant it; the chart's Role does.",
        )


async def _missing(settings: Settings) -> list[tuple[str, str]]:
    """Verbs and resources that are needed and not granted."""
    # Only here: the client takes a second to import, and is not there where only processes are run.
    from modelyard_hub.runtimes.kubernetes import KubernetesOptions
    from modelyard_hub.runtimes.kubernetes.client import connect
    from modelyard_hub.runtimes.kubernetes.rbac import RULES

    client = await connect(KubernetesOptions.from_settings(settings))
    try:
        asked = [(rule, verb) for rule in RULES for verb in rule.verbs]
        answers = await asyncio.gather(*(client.allowed(rule.group, rule.resource, verb) for rule, verb in asked))
    finally:
        await client.close()
    return [(verb, rule.resource) for (rule, verb), allowed in zip(asked, answers, strict=True) if not allowed]
