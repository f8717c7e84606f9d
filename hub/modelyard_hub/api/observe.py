"""`…/logs` and `…/metrics`: what an endpoint's replicas say of themselves."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from modelyard_api.endpoints import EndpointMetrics, LogLines, Logs, RevisionMetrics
from modelyard_api.errors import NotFound
from modelyard_api.names import Label
from modelyard_hub.api.endpoints import readable
from modelyard_hub.api.problems import responses
from modelyard_hub.api.scrape import scrape, total
from modelyard_hub.parts import Parts, PartsDep, Reader
from modelyard_hub.reconcile.names import workload_name

router = APIRouter(prefix="/endpoints/{owner}/{name}", tags=["endpoints"], responses=responses(401, 403, 404, 422, 503))
RevisionQuery = Annotated[int | None, Query(ge=1, description="Only this revision.")]


@router.get("/logs", summary="The replicas' last log lines")
async def logs(
    owner: Label,
    name: Label,
    parts: PartsDep,
    identity: Reader,
    revision: RevisionQuery = None,
    lines: Annotated[int, Query(ge=1, le=10_000, description="Per replica.")] = 200,
) -> Logs:
    """Of each replica, oldest line first; revisions that run nothing have none."""
    numbers = await _revisions(parts, identity, (owner, name), revision)

    async def of(number: int) -> list[LogLines]:
        try:
            found = await parts.runtime.logs(workload_name(owner, name, number), lines=lines)
        except NotFound:
            return []
        return [LogLines(revision=number, replica=log.replica, lines=list(log.lines)) for log in found]

    return Logs(items=[log for found in await asyncio.gather(*map(of, numbers)) for log in found])


@router.get("/metrics", summary="Requests, errors, latency and memory per revision")
async def metrics(
    owner: Label, name: Label, parts: PartsDep, identity: Reader, revision: RevisionQuery = None
) -> EndpointMetrics:
    """Sums over the replicas that answer, since they started."""
    numbers = await _revisions(parts, identity, (owner, name), revision)
    observed = await parts.runtime.observe()

    async def of(number: int) -> RevisionMetrics | None:
        server = observed.get(workload_name(owner, name, number))
        if server is None:
            return None
        addresses = [replica.address for replica in server.replicas if replica.address]
        return total(number, await scrape(parts.http, addresses))

    return EndpointMetrics(items=[found for found in await asyncio.gather(*map(of, numbers)) if found is not None])


async def _revisions(parts: Parts, identity: Reader, key: tuple[str, str], only: int | None) -> list[int]:
    record = await readable(parts, identity, *key)
    numbers = [r.number for r in record.endpoint.spec.revisions]
    if only is not None and only not in numbers:
        raise NotFound(f"{'/'.join(key)} has no revision {only}; it has {', '.join(map(str, numbers))}")
    return numbers if only is None else [only]
