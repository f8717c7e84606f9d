"""`/hub/api/modelyard/accounts`: the names of all accounts in one answer. JupyterHub's own list comes in pages."""

from __future__ import annotations

import json
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope
from jupyterhub.utils import url_path_join


def install(app: Any) -> None:
    """Add the route to JupyterHub's application."""
    app.tornado_application.add_handlers(
        ".*", [(url_path_join(app.hub_prefix, "api/modelyard/accounts"), AccountsHandler)]
    )


class AccountsHandler(APIHandler):  # type: ignore[misc]  # JupyterHub is untyped
    """For who may list users."""

    @needs_scope("list:users")  # type: ignore[untyped-decorator]
    def get(self) -> None:
        """`{"names": […]}`."""
        names = [name for (name,) in self.db.query(orm.User.name).order_by(orm.User.name)]
        self.finish(json.dumps({"names": names}))
