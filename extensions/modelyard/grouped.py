"""Sweeps and pipelines for `async` code: runs that are queued together. `modelyard.group_view` is the blocking face."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelyard import grid
from modelyard.errors import InvalidInput, NotFound
from modelyard.polling import until
from modelyard.transport import Request
from modelyard.unattended import AsyncRun, Submission, prepared
from modelyard_api.groups import Group as Resource
from modelyard_api.groups import GroupList, GroupWrite, MemberWrite, ResultFrom

if TYPE_CHECKING:
    from modelyard.client import AsyncClient

_PATIENCE = 30.0


@dataclass(frozen=True)
class FromMember:
    """A parameter that is what another member of the pipeline records."""

    member: str
    name: str


@dataclass(frozen=True)
class Step:
    """A notebook of a pipeline. `needs`: members that must have succeeded before it starts."""

    notebook: str | Path
    submission: Submission = field(default_factory=Submission)
    needs: tuple[str, ...] = ()


class AsyncGroup:
    """A sweep or a pipeline, as it was when it was last read; `refresh` reads it again."""

    def __init__(self, client: AsyncClient, resource: Resource) -> None:
        self._client = client
        self.resource = resource

    @property
    def id(self) -> str:
        """Its id, for `group(id)` at any later time."""
        return self.resource.id

    async def refresh(self) -> AsyncGroup:
        """Itself, as it is now."""
        self.resource = await self._client.get(f"/groups/{self.id}", Resource)
        return self

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109
        told: Callable[[Resource], None] | None = None,
    ) -> AsyncGroup:
        """Itself, once all members have ended, however they did. TimedOut after `timeout` seconds, and it goes on."""

        async def ended() -> bool:
            await self.refresh()
            if told is not None:
                told(self.resource)
            return self.resource.state != "running"

        await until(ended, timeout, lambda: f"{self.resource.name} is still running")
        return self

    async def cancel(self) -> AsyncGroup:
        """Tell all members to end that have not."""
        answer = await self._client.send(Request("DELETE", f"/groups/{self.id}"))
        self.resource = Resource.model_validate_json(answer.content)
        return self

    async def rerun(self) -> AsyncGroup:
        """Run again what has not succeeded; what has is not. Conflict while a member has not ended."""
        self.resource = await self._client.fetch(Request("POST", f"/groups/{self.id}/rerun"), Resource)
        return self

    async def run(self, member: str) -> AsyncRun:
        """The newest run of a member; NotFound names those there are."""
        from modelyard import unattended

        found = next((m.run for m in self.resource.members if m.member == member), None)
        if found is None:
            known = ", ".join(m.member for m in self.resource.members)
            raise NotFound(f"{self.resource.name} has no member {member!r}", remedy=f"There are: {known}.")
        return await unattended.run(self._client, found)


@dataclass(frozen=True)
class SweepPlan:
    """What is varied, and how many members may be at work at once (0: any number)."""

    grid: Mapping[str, Sequence[Any]] | None = None
    points: Sequence[Mapping[str, Any]] | None = None
    parallel: int = 0


async def sweep(client: AsyncClient, notebook: str | Path, plan: SweepPlan, submission: Submission) -> AsyncGroup:
    """One run for each point, queued together."""
    found = grid.points(plan.grid, plan.points)
    spec = await prepared(client, notebook, submission)
    one = [Submission(parameters=point).spec({"kind": "notebook", "notebook": spec.notebook}) for point in found]
    members = [
        {"member": name, "parameters": made.parameters} for name, made in zip(grid.labels(found), one, strict=True)
    ]
    wanted = {"name": spec.called, "kind": "sweep", "run": spec, "members": members, "parallel": plan.parallel}
    return await _post(client, wanted, submission)


async def pipeline(client: AsyncClient, name: str, steps: Mapping[str, Step], owner: str | None) -> AsyncGroup:
    """One run for each step, queued together."""
    members = []
    for member, step in steps.items():
        plain = {p: v for p, v in step.submission.parameters.items() if not isinstance(v, FromMember)}
        later = {p: v for p, v in step.submission.parameters.items() if isinstance(v, FromMember)}
        strange = [needed for needed in (*step.needs, *(v.member for v in later.values())) if needed not in steps]
        if strange:
            known = ", ".join(steps)
            raise InvalidInput(f"step {member!r} needs {strange[0]!r}", remedy=f"There are the steps {known}.")
        alone = replace(step.submission, parameters=plain, owner=owner, name=step.submission.name or member)
        spec = await prepared(client, step.notebook, alone, frozenset(later))
        sources = {p: ResultFrom(member=v.member, result=v.name) for p, v in later.items()}
        members.append({"member": member, "spec": spec, "needs": step.needs, "results_of": sources})
    return await _post(client, {"name": name, "kind": "pipeline", "members": members}, Submission(owner=owner))


async def group(client: AsyncClient, group_id: str) -> AsyncGroup:
    """The sweep or pipeline of that id; NotFound."""
    return AsyncGroup(client, await client.get(f"/groups/{group_id}", Resource))


async def groups(client: AsyncClient, limit: int) -> list[AsyncGroup]:
    """Sweeps and pipelines of the user and of their groups, newest first, without their members."""
    found = await client.fetch(Request("GET", "/groups", query={"limit": limit}), GroupList)
    return [AsyncGroup(client, item) for item in found.items]


async def _post(client: AsyncClient, wanted: Mapping[str, Any], submission: Submission) -> AsyncGroup:
    try:
        members = [MemberWrite.model_validate(one) for one in wanted["members"]]
        key = submission.idempotency_key or uuid.uuid4().hex
        body = GroupWrite(**{**wanted, "members": members, "owner": submission.owner, "idempotency_key": key})
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    # The key makes it safe to send again.
    request = Request("POST", "/groups", body=body.model_dump(mode="json"), headers={"If-None-Match": "*"})
    patient = client.patient(max(client.patience, _PATIENCE))
    return AsyncGroup(client, await patient.fetch(request, Resource))
