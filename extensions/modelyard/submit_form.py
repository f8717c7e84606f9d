"""The form that submits the notebook that is open: what it has to ask, and what somebody filled in.

`GET modelyard/submit?path=…` describes the form, `POST modelyard/submit` submits, as `yard.submit` does.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ConfigDict, ValidationError
from tornado.web import authenticated

from modelyard import unattended
from modelyard.client import AsyncClient
from modelyard.errors import InvalidInput, InvalidParameter, ModelyardError, NotFound, in_words
from modelyard_api.parameters import expected
from modelyard_api.profiles import Profile
from modelyard_api.runs import Declared, NotebookWork


class Filled(BaseModel):
    """The form, filled in. `parameters` as they were typed, all of them."""

    model_config = ConfigDict(extra="forbid")

    path: str
    parameters: dict[str, str | bool] = {}
    profile: str = ""
    name: str = ""


def form(work: NotebookWork, profiles: list[Profile]) -> dict[str, Any]:
    """What is to be asked, as JSON."""
    parameters = [
        {"name": one.name, "type": expected(one), "value": shown(one), "help": one.help} for one in work.declared or ()
    ]
    return {
        "name": work.path.removesuffix(".ipynb"),
        "parameters": parameters,
        "profiles": [{"name": one.name, "title": one.called} for one in profiles],
        "files": [[one.path, one.size] for one in work.files],
    }


def shown(one: Declared) -> str | bool:
    """A default as a form has it: a text without its quotes, yes or no, else as it is written in the cell."""
    kind = expected(one)
    if kind in ("str", "bool"):
        try:
            value = ast.literal_eval(one.default)
        except (ValueError, SyntaxError):
            return one.default
        if isinstance(value, str | bool):
            return value
    return one.default


def values(declared: tuple[Declared, ...], filled: Mapping[str, str | bool]) -> dict[str, Any]:
    """The parameters that somebody changed; the others have the defaults of the notebook as it is.

    InvalidParameter names the one that means nothing, and what it should be.
    """
    known = {one.name: one for one in declared}
    changed = {name: text for name, text in filled.items() if name not in known or text != shown(known[name])}
    return {name: _value(known.get(name), name, text) for name, text in changed.items()}


def _value(one: Declared | None, name: str, text: str | bool) -> Any:
    kind = "" if one is None else expected(one)
    if isinstance(text, bool) or kind == "str":
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return list(found) if isinstance(found, tuple) else found
    if not kind:
        return text  # any value will do
    raise InvalidParameter(
        f"parameter {name!r} must be of type {kind}, {text!r} is none",
        remedy=f"Its default is {one.default}." if one else "",
        field=name,
    )


class SubmitHandler(APIHandler):  # type: ignore[misc]  # Jupyter Server is not followed
    """The form, and submitting."""

    auth_resource = "modelyard"

    def initialize(self, root: Path) -> None:
        """Called by tornado for each request. `root`: the folder that the server shows."""
        self._root = root

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """See `form`."""

        async def describe() -> Any:
            path = notebook_in(self._root, self.get_argument("path"))
            async with AsyncClient() as client:
                return form((await unattended.taken(client, path)).work, await client.profiles())

        await self._answer(describe)

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Submit; answers the run's id and name."""

        async def submit() -> Any:
            filled = _read(self.request.body)
            path = notebook_in(self._root, filled.path)
            async with AsyncClient() as client:
                declared = (await unattended.taken(client, path)).work.declared or ()
                submission = unattended.Submission(
                    parameters=values(declared, filled.parameters), profile=filled.profile, name=filled.name
                )
                made = await unattended.submit(client, path, submission)
            return {"id": made.id, "name": made.resource.spec.called}

        await self._answer(submit)

    async def _answer(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        try:
            value = await work()
        except ModelyardError as error:
            self.set_status(error.status)
            value = {**in_words(error), "field": error.extra.get("field", "")}
        self.finish(json.dumps(value))


def notebook_in(root: Path, path: str) -> Path:
    """The file at a path of the server's; NotFound for what is none, or lies outside of its folder."""
    found = (root / path.lstrip("/")).resolve()
    if not found.is_relative_to(root.resolve()) or not found.is_file():
        raise NotFound(f"there is no notebook {path}", remedy="Save it first.")
    return found


def _read(body: bytes) -> Filled:
    try:
        return Filled.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(str(error.errors(include_url=False)[0]["msg"])) from None
