"""What a server's last sessions used at most: told by the server, kept in its spawner's state beyond its stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import object_session
from tornado.web import HTTPError
from traitlets import HasTraits

from modelyard_api.activity import Peaks
from modelyard_api.choices import Sizes

PATH = "api/modelyard/peaks/([^/]+)/([^/]*)"
"""The user and the server."""
STATE = "used"
KEPT = 3


class Session(BaseModel):
    """From a start to a stop. `started` tells them apart; the sizes are what it had."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    started: str
    profile: str
    cpu: float
    memory: int
    shm: int = 0
    gpus: int = 0
    peaks: Peaks


class Used(HasTraits):  # type: ignore[misc]  # traitlets is untyped
    """Before one of JupyterHub's in a class's bases: a spawner that remembers its server's last sessions."""

    sessions: tuple[Session, ...] = ()
    """The latest last."""

    def note(self, peaks: Peaks, sizes: Sizes) -> None:
        """What the present session, of these sizes, used at most so far."""
        fields = {name: getattr(sizes, name) for name in ("profile", "cpu", "memory", "shm", "gpus")}
        now = Session(started=str(self.orm_spawner.started), peaks=peaks, **fields)
        before = [one for one in self.sessions if one.started != now.started]
        self.sessions = (*before, now)[-KEPT:]
        self.orm_spawner.state = self.get_state()
        if session := object_session(self.orm_spawner):
            session.commit()

    def get_state(self) -> dict[str, Any]:
        """As the spawner's, with the sessions."""
        state: dict[str, Any] = super().get_state()
        return {**state, STATE: [one.model_dump() for one in self.sessions]} if self.sessions else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it up again. What an earlier version wrote and this one does not understand is forgotten."""
        super().load_state(state)
        try:
            self.sessions = tuple(Session.model_validate(one) for one in state.get(STATE) or ())
        except ValidationError:
            self.sessions = ()


def install(app: Any, sizes_of: Callable[[Any], Sizes | None]) -> None:
    """Add the route to JupyterHub's application."""
    route = (url_path_join(app.hub_prefix, PATH), PeaksHandler, {"sizes_of": sizes_of})
    app.tornado_application.add_handlers(".*", [route])


class PeaksHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """`PUT`: a server says what it used."""

    def initialize(self, sizes_of: Callable[[Any], Sizes | None]) -> None:
        """Called by tornado for each request."""
        super().initialize()
        self._sizes_of = sizes_of

    @needs_scope("users:activity")  # type: ignore[untyped-decorator]
    async def put(self, user_name: str, server_name: str = "") -> None:
        """404 where there is no such server, 409 where it does not run."""
        user = self.find_user(user_name)
        if user is None or server_name not in user.orm_spawners:
            raise HTTPError(404)
        spawner = user.spawners[server_name]
        if not spawner.active:
            raise HTTPError(409, "it does not run")
        try:
            peaks = Peaks.model_validate_json(self.request.body)
        except ValidationError as error:
            raise HTTPError(400, str(error.errors(include_url=False)[0]["msg"])) from None
        if (sizes := self._sizes_of(spawner)) is not None:
            spawner.note(peaks, sizes)
        self.set_status(204)
