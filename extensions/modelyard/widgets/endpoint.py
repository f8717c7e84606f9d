"""EndpointPanel: an endpoint's state, traffic, rates, logs and keys, and a form that asks it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import traitlets

from modelyard.errors import InvalidInput, ModelyardError, NotFound
from modelyard.handle import Endpoint
from modelyard.loop import run
from modelyard.sync import client
from modelyard.widgets import tryit
from modelyard.widgets.calls import CallsPanel
from modelyard.widgets.endpoint_view import view
from modelyard.widgets.looking import LookedAt, away, soon
from modelyard.widgets.rates import Rates

_LOG_LINES, _LOG_CHARACTERS = 200, 32_000


class EndpointPanel(LookedAt, CallsPanel, front_end="endpoint"):
    """An endpoint, live: `yard.EndpointPanel("churn")`, by name, by "owner/name", or for an `Endpoint`.

    It looks at the endpoint every two seconds while the panel is in sight, and not otherwise. `panel.endpoint` is the
    `Endpoint` that it shows, with which everything in it can be done as well. NotFound names the endpoints there are.
    """

    endpoint: Endpoint
    live = traitlets.Dict(help="The rates between the last two looks: {at, revisions}.").tag(sync=True)

    def __init__(self, endpoint: Endpoint | str, *, owner: str | None = None) -> None:
        self.endpoint = (
            endpoint if isinstance(endpoint, Endpoint) else Endpoint(run(client().endpoint(endpoint, owner)))
        )
        self._remote = self.endpoint.remote
        self._rates = Rates()
        super().__init__(view=self._seen())

    def refresh(self) -> bool:
        """Look at the endpoint now; whether that was possible."""
        shown = self._seen()
        self.tell(view=shown, live=self._count() if shown["problem"] is None and not shown["gone"] else {})
        return shown["problem"] is None

    def text(self) -> str:
        """As the endpoint tells itself."""
        return repr(self.endpoint)

    def _seen(self) -> dict[str, Any]:
        """What is to be shown now: as it was last, with the reason, where that cannot be known."""
        try:
            me, resource = run(soon(client().me())), run(soon(self._remote.read()))
        except NotFound:
            return {**self.view, **self._name(), "gone": True, "problem": None}
        except ModelyardError as error:
            return {**self.view, **self._name(), "problem": away(error)}
        return view(resource, me, self.endpoint.url)

    def _name(self) -> dict[str, Any]:
        return {"owner": self.endpoint.owner, "name": self.endpoint.name, "url": self.endpoint.url}

    def _count(self) -> dict[str, Any]:
        with contextlib.suppress(ModelyardError):  # the state is told already; rates are missing for this while
            point = self._rates.add(time.time(), run(self._remote.metrics()).items)
            if point is not None:
                return {"at": point[0], "revisions": point[1]}
        return dict(self.live)

    def on_split(self, shares: Mapping[str, int], expected: Mapping[str, int] | None = None) -> None:
        """Write the traffic; StaleWrite when it is not what the person saw."""
        seen = None if expected is None else _numbered(expected)
        run(self._remote.split(_numbered(shares), expected=seen, wait=0))
        self.refresh()

    def on_rollback(self) -> None:
        """All traffic back."""
        run(self._remote.rollback(wait=0))
        self.refresh()

    def on_scale(self, min: int, max: int) -> None:
        """So many replicas of each active revision."""
        run(self._remote.scale(min=min, max=max, wait=0))
        self.refresh()

    def on_form(self, revision: int | None = None) -> dict[str, Any]:
        """The form that asks the endpoint, or that revision of it."""
        metadata = run(self._remote.metadata(revision))
        try:
            example = run(self._remote.example(revision))
        except ModelyardError:  # MLflow is away, or keeps its files elsewhere: an empty form asks as well
            example = []
        return tryit.form(metadata, example)

    def on_predict(self, filled: Any, revision: int | None = None) -> dict[str, Any]:
        """Ask; the time is that of the whole way from here and back."""
        metadata = run(self._remote.metadata(revision))
        rows = tryit.rows_of(metadata, filled)
        began = time.perf_counter()
        found = run(self._remote.infer(rows, revision=revision))
        return tryit.answer(found, metadata, time.perf_counter() - began)

    def on_history(self) -> list[Any]:
        """The rates of the last minutes."""
        return [list(point) for point in list(self._rates.points)]

    def on_logs(self, revision: int | None = None) -> list[dict[str, Any]]:
        """The last lines of each replica."""
        found = run(self._remote.logs(revision=revision, lines=_LOG_LINES)).items
        room = _LOG_CHARACTERS // max(len(found), 1)
        return [{"revision": f.revision, "replica": f.replica, "text": "\n".join(f.lines)[-room:]} for f in found]

    def on_delete(self, name: str) -> None:
        """Delete the endpoint, when its name was typed."""
        if name != self.endpoint.name:
            raise InvalidInput(f"{name!r} is not its name", remedy=f"Type {self.endpoint.name} to delete it.")
        run(self._remote.delete(wait=0))
        self.refresh()


def _numbered(shares: Mapping[str, int]) -> dict[int, int]:
    return {int(number): percent for number, percent in shares.items()}
