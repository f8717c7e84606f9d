"""`/hub/api/modelyard/servers/{user}`: JupyterHub's part of resizing a server that runs. The hub service calls it with
its caller's token."""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.utils import url_path_join
from pydantic import ValidationError

from modelyard_api.errors import Forbidden, InvalidInput, ModelyardError, NotFound
from modelyard_api.problem import PROBLEM_MEDIA_TYPE
from modelyard_api.servers import ResizeOrder
from modelyard_hub.auth import ADMIN, READ, WRITE

PATH = "api/modelyard/servers/([^/]+)"


def install(app: Any) -> None:
    """Add the route to JupyterHub's application."""
    app.tornado_application.add_handlers(".*", [(url_path_join(app.hub_prefix, PATH), SizeHandler)])


class SizeHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """`GET`: a `ServerSize`; `POST` a `ResizeOrder`. `?server=`: the name of one that is not the default."""

    async def get(self, user_name: str) -> None:
        """What the server has."""
        await self._answer(user_name, None)

    async def post(self, user_name: str) -> None:
        """Have it have something else."""
        try:
            order = ResizeOrder.model_validate_json(self.request.body)
        except ValidationError as error:
            self._problem(InvalidInput(str(error.errors(include_url=False)[0]["msg"]), remedy=""))
            return
        await self._answer(user_name, order)

    async def _answer(self, user_name: str, order: ResizeOrder | None) -> None:
        try:
            spawner = self._spawner(user_name, READ if order is None else WRITE)
            if order is None:
                size = await spawner.has_size()
            else:
                size = await spawner.resize(order)
        except ModelyardError as error:
            self._problem(error)
        else:
            self.finish(size.model_dump_json())

    def _spawner(self, user_name: str, scope: str) -> Any:
        if not self.current_user or not any(map(self.has_scope, (f"{scope}!user={user_name}", ADMIN))):
            raise Forbidden(f"your token lacks the scope {scope} of {user_name}", remedy="")
        name = self.get_query_argument("server", "")
        user = self.find_user(user_name)
        if user is None or name not in user.spawners:
            called = f"{user_name}/{name}" if name else user_name
            raise NotFound(f"there is no notebook server {called}", remedy="")
        return user.spawners[name]

    def _problem(self, error: ModelyardError) -> None:
        self.set_status(error.status)
        self.set_header("Content-Type", PROBLEM_MEDIA_TYPE)
        self.finish(error.problem().model_dump_json())
