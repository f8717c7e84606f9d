"""The notebook server's side of the panels: look at training runs and control them while the kernel is busy or gone;
and what is at work in the server (`modelyard.activity`).

An extension of Jupyter Server, which the package enables (`etc/jupyter/jupyter_server_config.d/modelyard.json`). It
reads the run logs of the user it runs as, and can do no more than that user's kernels can: `GET
modelyard/runs/<id>` and `…/<id>/<part>`, `POST …/<id>/<stop|pause|resume|kill>`. Who may ask is Jupyter Server's
business: its sign-in, its authorizer, its cross-site check.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from modelyard.activity import extension as activity
from modelyard.errors import ModelyardError, NotFound, in_words
from modelyard.fullness import report_forever
from modelyard.submit_form import SubmitHandler
from modelyard.training import control
from modelyard.training.run import TrainingRun
from modelyard.training.snapshot import part, snapshot

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,90}")
_KEPT = 64


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "modelyard.notebook_server"}]


def _load_jupyter_server_extension(serverapp: Any) -> None:
    settings = serverapp.web_app.settings
    base = url_path_join(settings["base_url"], "modelyard", "runs", "([^/]+)")
    runs = Runs()
    serverapp.io_loop.add_callback(report_forever)
    serverapp.web_app.add_handlers(
        ".*$",
        [
            (base, RunHandler, {"runs": runs}),
            (f"{base}/({'|'.join(control.ACTIONS)})", ActionHandler, {"runs": runs}),
            (f"{base}/([a-z0-9_-]+)", PartHandler, {"runs": runs}),
            (
                url_path_join(settings["base_url"], "modelyard", "submit"),
                SubmitHandler,
                {"root": Path(serverapp.root_dir)},
            ),
        ],
    )
    serverapp.web_app.settings["modelyard_activity"] = activity.load(serverapp)


async def _start_jupyter_server_extension(serverapp: Any) -> None:
    await activity.start(serverapp.web_app.settings["modelyard_activity"])


class Runs:
    """The runs that were asked for lately, whose logs are read on from where they were."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, TrainingRun] = OrderedDict()

    def find(self, run_id: str) -> TrainingRun:
        """NotFound for what is no id of a run of this user."""
        if not _ID.fullmatch(run_id):
            raise NotFound("that is no id of a training run")
        run = self._known.pop(run_id, None)
        if run is None or not run.folder.exists():
            run = TrainingRun.find(run_id)
        self._known[run_id] = run
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return run


class _Handler(APIHandler):  # type: ignore[misc]  # Jupyter Server is not followed
    auth_resource = "modelyard"

    def initialize(self, runs: Runs) -> None:
        """Called by tornado for each request."""
        self._runs = runs

    async def answer(self, run_id: str, work: Callable[[TrainingRun], Any]) -> None:
        """`work` on that run, in a thread; an error as a document of title, detail and remedy."""

        def do() -> Any:
            return work(self._runs.find(run_id))

        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        try:
            value = await asyncio.to_thread(do)
        except ModelyardError as error:
            self.set_status(error.status)
            value = in_words(error)
        self.finish(json.dumps(value))


class RunHandler(_Handler):
    """A run as it is now."""

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self, run_id: str) -> None:
        """`view` and `curves` (base64), as the panel's traits are."""
        await self.answer(run_id, _now)


class PartHandler(_Handler):
    """What a panel fetches when somebody looks at it."""

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def get(self, run_id: str, name: str) -> None:
        """See `training.snapshot.part`."""
        await self.answer(run_id, lambda run: part(run, name))


class ActionHandler(_Handler):
    """Stop, pause, resume, kill."""

    @authenticated  # type: ignore[untyped-decorator]
    @authorized  # type: ignore[untyped-decorator]
    async def post(self, run_id: str, action: str) -> None:
        """Ask for it; the answer is the run just after, which may not have done it yet."""

        def ask(run: TrainingRun) -> Any:
            with run.reading() as now:
                control.send(run.folder, now, action)
            return _now(run)

        await self.answer(run_id, ask)


def _now(run: TrainingRun) -> dict[str, Any]:
    view, curves = snapshot(run)
    return {"view": view, "curves": base64.b64encode(curves).decode()}
