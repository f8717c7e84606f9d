"""PublishPanel: a model in, a ready endpoint out, with each step on the way."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from dataclasses import asdict
from typing import Any

import traitlets

from modelyard.errors import Conflict, InvalidInput, ModelyardError, NotFound, TimedOut, in_words
from modelyard.handle import Endpoint
from modelyard.loop import Job, begin, run
from modelyard.publishing import PublishOptions
from modelyard.remote import AsyncEndpoint
from modelyard.sync import client, publish_as
from modelyard.training.run import TrainingRun
from modelyard.widgets import namespace
from modelyard.widgets.calls import CallsPanel
from modelyard.widgets.endpoint import EndpointPanel
from modelyard.widgets.endpoint_view import cut
from modelyard.widgets.looking import away
from modelyard.widgets.publish_form import EXAMPLE_ROWS, Form, naming, signature
from modelyard.widgets.publish_steps import StepLog
from modelyard_api.endpoints import Endpoint as Resource
from modelyard_api.names import is_label

_TAIL, _WIDTH = 10, 160


class PublishPanel(CallsPanel, front_end="publish"):
    """Publish a model by form: `yard.PublishPanel()`, or with what is known, as for `yard.publish`.

    `model`: a fitted estimator or a `TrainingRun`; else one is chosen among the notebook's variables. `example`: a few
    input rows; a TrainingRun brings its own. `options`: further ones of `yard.publish`, such as `training=`; those that
    the form has can be changed in it. `panel.publish()` does what the button does, `panel.endpoint` is what came of it.
    """

    form = traitlets.Dict(help="What is typed: {by: the view that it was typed in, values}.").tag(sync=True)
    table = traitlets.Dict(help="The signature as read from the example.").tag(sync=True)

    def __init__(self, model: Any = None, name: str | None = None, *, example: Any = None, **options: Any) -> None:
        self.endpoint = None
        self._model = model
        self._given = _options(options, example)
        self._job: Job[AsyncEndpoint] | None = None
        self._steps = StepLog()
        self._problem: dict[str, Any] | None = None
        self._guard = threading.Lock()
        self._panel: EndpointPanel | None = None
        found = namespace.variables()
        chosen = namespace.name_of(found, model) if model is not None else next(iter(namespace.models(found)), "")
        self._form = self._first(chosen, name, found)
        super().__init__(view=self._view(), form={"by": "", "values": asdict(self._form)}, table=self._signature())

    def publish(self) -> Endpoint:
        """Publish what the form says, as its button does; the Endpoint, ready. Raises as `yard.publish` does."""
        if self.comm is None:
            model, example = self._chosen()
            self.endpoint = publish_as(model, self._form.name, self._form.options(self._given, example))
            return self.endpoint
        job = self._start()
        try:
            self.endpoint = Endpoint(job.done.result())
        except KeyboardInterrupt:
            job.cancel()
            raise
        return self.endpoint

    def text(self) -> str:
        """What it would publish, and how to."""
        if self.endpoint is not None:
            return repr(self.endpoint)
        what = self._form.model or (type(self._model).__name__ if self._model is not None else "no model yet")
        return f"PublishPanel: {what} as {self._form.name or 'no name yet'}; panel.publish() publishes it"

    def tick(self) -> bool:
        """The steps of the publish under way."""
        more = self._steps.ended is None
        self.tell(view={**self.view, **self._progress()})
        return more

    def on_fill(self, by: str, values: dict[str, Any]) -> None:
        """Something was typed: take it, and say what it means."""
        before, self._form = self._form, Form.read(values)
        again = (before.model, before.example) != (self._form.model, self._form.example)
        self.tell(form={"by": by, "values": asdict(self._form)}, view=self._view())
        if again:
            self.tell(table=self._signature())

    def on_look(self) -> None:
        """Look at the notebook's variables again."""
        self.tell(view=self._view(), table=self._signature())

    def on_publish(self) -> None:
        """Begin; the view tells the rest."""
        self._start()

    def on_cancel(self) -> None:
        """Give it up."""
        if self._job is not None:
            self._job.cancel()

    def on_open(self) -> None:
        """Show the endpoint's own panel below."""
        endpoint = self.shown()
        if self._panel is None or self._panel.endpoint.url != endpoint.url:
            self._panel = EndpointPanel(endpoint)
        self.put_below(self._panel)

    def _first(self, chosen: str, name: str | None, found: Any) -> Form:
        model = found.get(chosen) if chosen else self._model
        own = getattr(model, "name", "") if isinstance(model, TrainingRun) else ""
        given = self._given
        example = namespace.name_of(found, given.example) if given.example is not None else ""
        if given.example is None and not isinstance(model, TrainingRun):
            example = namespace.fitting(found, model)
        return Form(
            model=chosen,
            name=name or (own if is_label(own) else ""),
            owner=given.owner or "",
            description=given.description or "",
            example=example,
            traffic=_typed(given.traffic),
            cpu=_typed(given.cpu),
            memory=_typed(given.memory),
            replicas=_typed(given.replicas),
            requirements="\n".join(given.requirements or ()),
            environment="\n".join(f"{k}={v}" for k, v in (given.environment or {}).items()),
        )

    def _chosen(self) -> tuple[Any, Any]:
        """The model and the example rows that the form names. InvalidInput when a variable is gone."""
        found = namespace.variables()
        model = _variable(found, self._form.model, self._model)
        if model is None:
            raise InvalidInput("no model is chosen", remedy="Train one, or choose a variable that holds one.")
        example = _variable(found, self._form.example, self._given.example)
        return model, example if not self._form.example else example[:EXAMPLE_ROWS]

    def _start(self) -> Job[AsyncEndpoint]:
        with self._guard:
            if self._job is not None and not self._job.done.done():
                raise Conflict("it is being published already", remedy="Wait for it, or cancel it.")
            model, example = self._chosen()
            options = self._form.options(self._given, example)
            steps = StepLog()
            self._steps, self._problem, self.endpoint = steps, None, None
            if isinstance(model, TrainingRun) and model.state == "running":
                steps.told("package", "waiting until the training has ended", time.monotonic())
            work = client().publish(
                model, self._form.name, options, lambda step, detail: steps.told(step, detail, time.monotonic())
            )
            self._job = begin(work)
            self._job.done.add_done_callback(self._finished)
        self.tell(view={**self.view, **self._progress()}, below="")
        self.watch()
        return self._job

    def _finished(self, done: concurrent.futures.Future[AsyncEndpoint]) -> None:
        try:
            self.endpoint = Endpoint(done.result())
        except concurrent.futures.CancelledError:
            stays = "What was written of the endpoint stays, and is started: open its panel to take it back."
            left = stays if self._steps.written else "The endpoint is as it was."
            self._problem = {"title": "Cancelled", "detail": "You gave the publish up.", "remedy": left}
        except ModelyardError as error:
            self._problem = _failure(error)
        except Exception as error:  # whatever the user's own model raises is shown in the panel
            self._problem = {"title": "Failed", "detail": f"{type(error).__name__}: {error}", "remedy": ""}
        self._steps.end(time.monotonic(), failed=self._problem is not None)
        # The ticker, which is called once more, tells it: here is the client's loop, which may not wait.

    def _progress(self) -> dict[str, Any]:
        running = self._job is not None and self._steps.ended is None
        state, kind = ("Publishing", "busy") if running else ("", "dim")
        if self._problem is not None:
            state, kind = ("Cancelled" if self._problem["title"] == "Cancelled" else "Failed"), "bad"
        elif self.endpoint is not None:
            state, kind = "Ready", "good"
        result = None
        if self.endpoint is not None:
            result = {"owner": self.endpoint.owner, "name": self.endpoint.name, "url": self.endpoint.url}
        steps = [] if self._job is None else self._steps.rows(time.monotonic())
        shown = {"running": running, "state": state, "kind": kind, "steps": steps, "result": result}
        return shown | {"failure": self._problem}

    def _view(self) -> dict[str, Any]:
        found = namespace.variables()
        me, problem = None, None
        checked: dict[str, Any] = {"ok": False, "exists": False, "says": ""}
        try:
            me = run(client().me())
            checked = naming(self._form, me, self._named())
        except ModelyardError as error:
            problem = away(error)
            checked["says"] = problem["title"]
        models = [{"value": name, "label": f"{name}: {said}"} for name, said in namespace.models(found).items()]
        if self._model is not None and not namespace.name_of(found, self._model):
            models.insert(0, {"value": "", "label": f"the {type(self._model).__name__} that was given"})
        return {
            "models": models,
            "examples": self._examples(found),
            "owners": [] if me is None else [me.owner, *me.groups],
            "naming": checked,
            "away": problem,
            "code": self._form.code(self._given, me, namespace.name_of(found, self._given.training)),
            **self._progress(),
        }

    def _examples(self, found: Any) -> list[dict[str, str]]:
        rows = [{"value": name, "label": f"{name}: {said}"} for name, said in namespace.tables(found).items()]
        if isinstance(_held(found, self._form.model, self._model), TrainingRun):
            return [{"value": "", "label": "the training run's own rows"}, *rows]
        if self._given.example is not None:
            return [{"value": "", "label": "the rows that were given"}, *rows]
        return rows if self._form.example else [{"value": "", "label": "none chosen"}, *rows]

    def _named(self) -> Resource | None:
        """The endpoint of the form's name; None when there is none."""
        if not is_label(self._form.name):
            return None
        owner = self._form.owner or run(client().me()).owner
        try:
            return run(AsyncEndpoint(client(), owner, self._form.name).read())
        except NotFound:
            return None

    def _signature(self) -> dict[str, Any]:
        found = namespace.variables()
        model = _held(found, self._form.model, self._model)
        example = _held(found, self._form.example, self._given.example)
        if example is None and isinstance(model, TrainingRun):
            if model.state == "running":
                return {"columns": [], "more": 0, "problem": "The training run brings it, when it has ended."}
            try:
                example = model.example
            except ModelyardError as error:
                return {"columns": [], "more": 0, "problem": str(error)}
        if example is None:
            return {"columns": [], "more": 0, "problem": "Choose rows as the model takes them."}
        return signature(example[:EXAMPLE_ROWS], self._given.training)


def _options(options: dict[str, Any], example: Any) -> PublishOptions:
    try:
        chosen = PublishOptions(**options)
    except TypeError as error:
        known = ", ".join(sorted(asdict(PublishOptions())))
        raise InvalidInput(f"PublishPanel: {error}", remedy=f"The options are: {known}.") from error
    return chosen if example is None else PublishOptions(**{**vars(chosen), "example": example})


def _held(found: Any, name: str, given: Any) -> Any:
    return found.get(name) if name else given


def _variable(found: Any, name: str, given: Any) -> Any:
    if name and name not in found:
        raise InvalidInput(f"there is no variable {name!r} any more", remedy="Choose another one.")
    return _held(found, name, given)


def _typed(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _failure(error: ModelyardError) -> dict[str, Any]:
    tail = [cut(str(line), _WIDTH) for line in error.extra.get("log_tail", ())][-_TAIL:]
    found: dict[str, Any] = in_words(error)
    detail = found["detail"].splitlines()[0] if tail else found["detail"]
    if isinstance(error, TimedOut):
        found["title"] = "It takes too long"
    return {**found, "detail": cut(detail, 800), "tail": tail}
