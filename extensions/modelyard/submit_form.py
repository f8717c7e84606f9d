"""The form that submits the notebook that is open: what it has to ask, and what somebody filled in.

`GET modelyard/submit?path=…` describes the form, `GET modelyard/submit?cron=…&time_zone=…` reads a cron line out,
`POST modelyard/submit` submits or schedules, as `yard.submit` and `yard.schedule` do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import ValidationError
from tornado.web import authenticated

from modelyard import timetable, unattended
from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, ModelyardError, NotFound, in_words
from modelyard.submit_fields import Filled, place_of, shown, submission, times
from modelyard_api.endpoints import Identity
from modelyard_api.parameters import expected
from modelyard_api.profiles import Profile
from modelyard_api.runs import NotebookWork
from modelyard_api.secrets import Secret


def form(
    work: NotebookWork, profiles: list[Profile], schedules: list[str], secrets: list[dict[str, str]]
) -> dict[str, Any]:
    """What is to be asked, as JSON. `schedules`: names that a new one would replace. `secrets`: see `offered`."""
    parameters = [
        {"name": one.name, "type": expected(one), "value": shown(one), "help": one.help} for one in work.declared or ()
    ]
    return {
        "name": work.path.removesuffix(".ipynb"),
        "parameters": parameters,
        "profiles": [{"name": one.name, "title": one.called} for one in profiles],
        "schedules": schedules,
        "files": [[one.path, one.size] for one in work.files],
        "secrets": secrets,
    }


def offered(secrets: list[Secret], who: Identity) -> list[dict[str, str]]:
    """Those that `who` may give to a run, named as `yard.submit` takes them: theirs first, then their groups'.
    Administrators see everybody's, and give only these."""
    owners = dict.fromkeys((who.owner, *sorted(who.groups)))  # a group may be called as its user
    return [
        {"name": one.name if owner == who.owner else f"{owner}/{one.name}", "description": one.description}
        for owner in owners
        for one in secrets
        if one.owner == owner
    ]


class SubmitHandler(APIHandler):  # type: ignore[misc]  # Jupyter Server is not followed
    """The form, and submitting."""

    auth_resource = "modelyard"

    def initialize(self, root: Path) -> None:
        """Called by tornado for each request. `root`: the folder that the server shows."""
        self._root = root

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """See `form`; with `cron` what it says, in words and times."""

        async def describe() -> Any:
            path = notebook_in(self._root, self.get_argument("path"))
            async with AsyncClient() as client:
                work = (await unattended.taken(client, path)).work
                who = await client.me()
                known = [one.resource.name for one in await client.schedules(who.owner)]
                return form(work, await client.profiles(), known, offered(await client.secrets(), who))

        async def read() -> Any:
            async with AsyncClient() as client:
                found = await client.due(self.get_argument("cron"), self.get_argument("time_zone", "UTC"))
            return {"words": found.words, "next": _seconds(found.next)}

        await self._answer(read if self.get_argument("cron", None) is not None else describe)

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Submit; answers the run's id and name, or the schedule and its next times."""

        async def submit() -> Any:
            filled = _read(self.request.body)
            path = notebook_in(self._root, filled.path)
            async with AsyncClient() as client:
                wanted = submission(filled, (await unattended.taken(client, path)).work.declared or ())
                if filled.cron is not None or filled.on_files is not None:
                    made = await timetable.schedule(client, path, times(filled), wanted)
                    return {"schedule": made.resource.key, "next": _seconds(made.resource.status.next)}
                run = await unattended.submit(client, path, wanted)
            return {"id": run.id, "name": run.resource.spec.called}

        await self._answer(submit)

    async def _answer(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        try:
            value = await work()
        except ModelyardError as error:
            self.set_status(error.status)
            field, said = place_of(error)
            value = {**in_words(error), "detail": said, "field": field}
        self.finish(json.dumps(value))


def notebook_in(root: Path, path: str) -> Path:
    """The file at a path of the server's; NotFound for what is none, or lies outside of its folder."""
    found = (root / path.lstrip("/")).resolve()
    if not found.is_relative_to(root.resolve()) or not found.is_file():
        raise NotFound(f"there is no notebook {path}", remedy="Save it first.")
    return found


def _seconds(moments: Sequence[datetime]) -> list[int]:
    return [round(moment.timestamp()) for moment in moments]


def _read(body: bytes) -> Filled:
    try:
        return Filled.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(str(error.errors(include_url=False)[0]["msg"])) from None
