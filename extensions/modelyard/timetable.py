"""Schedules from a notebook: `yard.schedule`, and the `Schedule` that it returns."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.client import split_name
from modelyard.errors import InvalidInput, NotFound, StaleWrite
from modelyard.loop import run
from modelyard.transport import Request
from modelyard_api.schedules import Due, Hook, ScheduleList, ScheduleSpec, ScheduleStatus
from modelyard_api.schedules import Schedule as Resource

if TYPE_CHECKING:
    from modelyard.client import AsyncClient
    from modelyard.submitting import Run
    from modelyard.unattended import AsyncRun, Submission
    from modelyard_api.runs import RunSpec

_ATTEMPTS = 8
_EDITED = frozenset({"cron", "time_zone", "catch_up", "overlap", "deadline", "description"})


@dataclass(frozen=True)
class Times:
    """When, and what becomes of what was missed; see `yard.schedule`."""

    cron: str | None = None
    time_zone: str = "UTC"
    name: str | None = None
    catch_up: str = "last"
    overlap: bool = False
    deadline: float | None = None
    paused: bool = False
    on_version: str | None = None
    version_parameter: str | None = None
    on_files: str | Mapping[str, Any] | None = None
    on_drift: str | Mapping[str, Any] | None = None
    description: str = ""


class AsyncSchedule:
    """A schedule, as it was when it was last read; `refresh` reads it again."""

    def __init__(self, client: AsyncClient, resource: Resource) -> None:
        self._client = client
        self.resource = resource

    @property
    def path(self) -> str:
        """Below the REST API."""
        return f"/schedules/{self.resource.owner}/{self.resource.name}"

    async def refresh(self) -> AsyncSchedule:
        """Itself, as it is now."""
        self.resource = await self._client.get(self.path, Resource)
        return self

    async def pause(self) -> AsyncSchedule:
        """Start nothing until it is resumed."""
        self.resource = await self._client.fetch(Request("POST", f"{self.path}/pause"), Resource)
        return self

    async def resume(self) -> AsyncSchedule:
        """Go on with what is due from now on."""
        self.resource = await self._client.fetch(Request("POST", f"{self.path}/resume"), Resource)
        return self

    async def edit(self, **fields: Any) -> AsyncSchedule:
        """Change what is given of `cron`, `time_zone`, `catch_up`, `overlap`, `deadline`, `description`; the rest stays
        as it is, also what somebody else changed meanwhile. Its runs run as whoever edited it last."""
        from modelyard.changes import checked

        unknown = sorted(set(fields) - _EDITED)
        if unknown:
            known = ", ".join(sorted(_EDITED))
            raise InvalidInput(f"{unknown[0]!r} of a schedule cannot be edited", remedy=f"There are: {known}.")
        for attempt in range(_ATTEMPTS):
            await self.refresh()
            members = {name: getattr(self.resource.spec, name) for name in type(self.resource.spec).model_fields}
            body = {"spec": checked(ScheduleSpec, **members | fields).model_dump(mode="json")}
            request = Request("PUT", self.path, body=body, headers={"If-Match": self.resource.etag})
            try:
                self.resource = await self._client.fetch(request, Resource)
                return self
            except StaleWrite:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def start(self, parameters: Mapping[str, Any] | None = None) -> AsyncRun:
        """A run now, besides the due times; `parameters` beside those of the schedule."""
        from modelyard.unattended import AsyncRun
        from modelyard_api.runs import Run

        body = {"parameters": dict(parameters or {}), "idempotency_key": uuid.uuid4().hex}
        # The key makes it safe to send again.
        request = Request("POST", f"{self.path}/start", body=body, headers={"If-None-Match": "*"})
        return AsyncRun(self._client, await self._client.fetch(request, Run))

    async def hook(self) -> str:
        """A URL that starts a run when it is posted to, by whoever has it; it works until the schedule is deleted."""
        return (await self._client.fetch(Request("POST", f"{self.path}/hook"), Hook)).url

    async def delete(self) -> None:
        """Forget it; its runs stay. Fine when it is gone already."""
        try:
            await self._client.send(Request("DELETE", self.path))
        except NotFound:
            return

    async def runs(self, limit: int = 50) -> list[AsyncRun]:
        """Its runs, newest first."""
        from modelyard import unattended

        return await unattended.runs(self._client, schedule=self.resource.key, limit=limit)


def split(cron: str | None, fields: Mapping[str, Any]) -> tuple[Times, Submission]:
    """What `yard.schedule` takes, taken apart: when, and what. The runs are called as the schedule is."""
    from modelyard.unattended import Submission

    times = {name: value for name, value in fields.items() if name in Times.__dataclass_fields__}
    rest = {name: value for name, value in fields.items() if name not in times}
    name = str(times.get("name") or "").rpartition("/")[2]
    return Times(cron, **times), Submission(**{"name": name, **rest})


async def schedule(client: AsyncClient, notebook: str | Path, times: Times, submission: Submission) -> AsyncSchedule:
    """Make the schedule, or put this in its place."""
    from modelyard.unattended import prepared

    work = await prepared(client, notebook, submission)
    return await put(client, work, times, (submission.owner, Path(notebook).stem))


async def put(client: AsyncClient, work: RunSpec, times: Times, whose: tuple[str | None, str]) -> AsyncSchedule:
    """Make the schedule of such runs, or put this in its place. `whose`: its owner, and its name where `times` has
    none."""
    from modelyard.changes import checked

    owner, name = split_name(times.name or label(whose[1]), whose[0])
    if owner is None:
        owner = (await client.me()).owner
    members = {key: value for key, value in vars(times).items() if key != "name"}
    for key, only in (("on_files", "location"), ("on_drift", "model")):
        if isinstance(members[key], str):
            members[key] = {only: members[key]}
    spec = checked(ScheduleSpec, run=work, **members)
    return AsyncSchedule(client, await _put(client, f"/schedules/{owner}/{name}", spec))


async def schedules(client: AsyncClient, owner: str | None) -> list[AsyncSchedule]:
    """Those of the user and of their groups."""
    query = {"owner": owner} if owner else None
    found = await client.fetch(Request("GET", "/schedules", query=query), ScheduleList)
    return [AsyncSchedule(client, item) for item in found.items]


async def one(client: AsyncClient, name: str, owner: str | None) -> AsyncSchedule:
    """The schedule of that name; NotFound."""
    owner, name = split_name(name, owner)
    whose = owner or (await client.me()).owner
    return AsyncSchedule(client, await client.get(f"/schedules/{whose}/{name}", Resource))


async def due(client: AsyncClient, cron: str, time_zone: str) -> Due:
    """What a cron line says."""
    return await client.fetch(Request("GET", "/schedules/due", query={"cron": cron, "time_zone": time_zone}), Due)


async def _put(client: AsyncClient, path: str, spec: ScheduleSpec) -> Resource:
    body = {"spec": spec.model_dump(mode="json")}
    for attempt in range(_ATTEMPTS):
        try:
            condition = {"If-Match": (await client.get(path, Resource)).etag}
        except NotFound:
            condition = {"If-None-Match": "*"}
        try:
            return await client.fetch(Request("PUT", path, body=body, headers=condition), Resource)
        except StaleWrite:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


class Schedule:
    """A cron line that creates runs of a notebook. It tells what was last read: `refresh()`."""

    def __init__(self, remote: AsyncSchedule) -> None:
        self._remote = remote

    @property
    def remote(self) -> AsyncSchedule:
        """The same for `async` code."""
        return self._remote

    @property
    def name(self) -> str:
        """`owner/name`."""
        return self._remote.resource.key

    @property
    def spec(self) -> ScheduleSpec:
        """What it says."""
        return self._remote.resource.spec

    @property
    def status(self) -> ScheduleStatus:
        """The next times, the last run, and the latest due times without one, and why; as they are now."""
        return self.refresh()._remote.resource.status

    @property
    def next(self) -> tuple[datetime, ...]:
        """The next five times, in its own zone; none while it is paused."""
        return self.status.next

    def refresh(self) -> Schedule:
        """Itself, as it is now."""
        run(self._remote.refresh())
        return self

    def pause(self) -> Schedule:
        """Start nothing until it is resumed."""
        run(self._remote.pause())
        return self

    def resume(self) -> Schedule:
        """Go on with what is due from now on."""
        run(self._remote.resume())
        return self

    def edit(self, **fields: Any) -> Schedule:
        """Change its `cron`, `time_zone`, `catch_up`, `overlap`, `deadline` or `description`; the rest stays."""
        run(self._remote.edit(**fields))
        return self

    def start(self, parameters: Mapping[str, Any] | None = None) -> Run:
        """A run now, besides the due times; `parameters` beside those of the schedule. Conflict where runs may not
        overlap and one has not ended."""
        from modelyard.submitting import Run

        return Run(run(self._remote.start(parameters)))

    def hook(self) -> str:
        """A URL that starts a run when it is posted to, such as by another program's webhook. Whoever has it may; it
        works until the schedule is deleted."""
        return run(self._remote.hook())

    def runs(self, limit: int = 50) -> list[Run]:
        """Its runs, newest first."""
        from modelyard.submitting import Run

        return [Run(one) for one in run(self._remote.runs(limit))]

    def delete(self) -> None:
        """Forget it; its runs stay."""
        run(self._remote.delete())

    def __repr__(self) -> str:
        spec, status = self.spec, self._remote.resource.status
        times = ", ".join(time.strftime("%a %d %b %H:%M") for time in status.next)
        said = "paused" if spec.paused else f"next: {times}"
        when = f"'{spec.cron}' {spec.time_zone}" if spec.cron else ""
        when += f" on versions of {spec.on_version}" if spec.on_version else ""
        when += f" on files in {spec.on_files.location}" if spec.on_files else ""
        when += f" on drift of {spec.on_drift.model}" if spec.on_drift else ""
        when = when.strip() or "when it is started"
        return f"<Schedule {self.name} {when}; {said}>"


def label(text: str) -> str:
    """A text as the name of a schedule."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or "notebook"
