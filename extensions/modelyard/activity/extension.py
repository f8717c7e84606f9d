"""The extension of Jupyter Server: `modelyard/activity`, for the hub's culler and for pages of this server.

`GET` it; `POST …/here` (somebody is at work in a page), `…/keep` (`{"seconds": …}`), `…/countdown` (the culler's).
None of these calls counts as work itself.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.web import HTTPError, authenticated

from modelyard.activity.watch import EVERY, Watch
from modelyard_api.activity import Activity, Countdown

LONGEST = 24 * 3600.0


class Keep(BaseModel):
    """For how long its user wants a server kept."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(gt=0, le=LONGEST)


class ActivityHandler(APIHandler):  # type: ignore[misc]  # Jupyter Server is not followed
    """What is at work, and what is told."""

    auth_resource = "modelyard"
    _track_activity = False

    def initialize(self, watch: Watch) -> None:
        """Called by tornado for each request."""
        self._watch = watch

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self, what: str = "") -> None:
        """See `Activity`."""
        if what:
            raise HTTPError(405)
        self._answer(await self._watch.now())

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def post(self, what: str = "") -> None:
        """`here`, `keep` or `countdown`; the answer is as for GET."""
        try:
            if what == "here":
                self._watch.present()
            elif what == "keep":
                self._watch.keep(Keep.model_validate_json(self.request.body).seconds)
            elif what == "countdown":
                self._watch.count_down(Countdown.model_validate_json(self.request.body))
            else:
                raise HTTPError(404)
        except ValidationError as error:
            raise HTTPError(422, str(error.errors(include_url=False)[0]["msg"])) from None
        self._answer(await self._watch.now())

    def _answer(self, activity: Activity) -> None:
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(activity.model_dump()))


def load(serverapp: Any) -> Watch:
    """Add the handlers, and begin to look."""
    watch = Watch(serverapp.web_app.settings)
    watch.traffic.follow(serverapp.web_app)
    base = url_path_join(serverapp.web_app.settings["base_url"], "modelyard", "activity")
    serverapp.web_app.add_handlers(
        ".*$", [(base, ActivityHandler, {"watch": watch}), (f"{base}/([a-z]+)", ActivityHandler, {"watch": watch})]
    )
    return watch


async def start(watch: Watch) -> None:
    """When the server's event loop runs."""
    tasks.add(task := asyncio.create_task(watch.run(EVERY), name="look at what is at work"))
    task.add_done_callback(tasks.discard)


tasks: set[asyncio.Task[None]] = set()
