"""TrainPanel: choose rows and an estimator, train, watch, stop, see what came out; or look at a run that there is."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import traitlets

from modelyard import display
from modelyard.errors import InvalidInput
from modelyard.training import control
from modelyard.training.order import start
from modelyard.training.portrait import as_html, as_text
from modelyard.training.run import TrainingRun
from modelyard.training.snapshot import ended, part, snapshot
from modelyard.widgets.base import Panel
from modelyard.widgets.train_form import TrainForm

_CLOCK = ("at", "elapsed", "remaining")
"""What changes with time alone: the browser counts on by itself."""
PUBLISH = "modelyard.widgets.publish"
"""The module of the panel that publishes."""


class TrainPanel(Panel, front_end="train"):
    """A form that trains, and the run: live, then its results.

    `data`: a DataFrame, or the name of one in the notebook; `target`: the column to predict; `estimator`: a key of the
    list, such as "random_forest", or an estimator; `leave_out`: columns not to learn from; `name`: of the run. `run`: a
    TrainingRun or its id instead. `start()` does what the button Train does. Where nobody looks nothing is drawn, and
    `start()` waits and prints lines, as `yard.train` does.

    Raises InvalidInput for a target or column that there is not, NotFound for an unknown estimator or run.
    """

    curves = traitlets.Bytes(help="float32: for each curve that `view` names, its steps and then its values.").tag(
        sync=True
    )
    form = traitlets.Dict(help="What was chosen, what is wrong with it, the code.").tag(sync=True)
    catalog = traitlets.Dict(help="What there is to choose from.").tag(sync=True)
    publishes = traitlets.Bool(help="Whether a model can be published from here.").tag(sync=True)

    def __init__(
        self,
        data: Any = None,
        target: str | None = None,
        estimator: Any = None,
        *,
        run: TrainingRun | str | None = None,
        name: str | None = None,
        leave_out: Sequence[str] = (),
    ) -> None:
        self._seen = threading.RLock()
        self._told: dict[str, Any] = {}
        self._run = TrainingRun.find(run) if isinstance(run, str) else run
        self._form = None if run is not None else _form(data, target, estimator, name, leave_out)
        begin: dict[str, Any] = {"publishes": find_spec(PUBLISH) is not None}
        if self._form is not None:
            begin |= {"form": self._form.state() | {"by": "", "version": 0}, "catalog": self._form.catalog()}
        if self._run is not None:
            begin |= self._look()
        super().__init__(**begin)
        if self._run is not None and not ended(self.view):
            self.watch()

    @property
    def run(self) -> TrainingRun | None:
        """The run that is shown; None before the first one."""
        return self._run

    def start(self) -> TrainingRun:
        """Train what the form says. Raises InvalidInput as `yard.train` does, and for what is wrong in the form."""
        if self._form is None:
            raise InvalidInput("this panel shows a run and has no form", remedy="TrainPanel(data, target) has one.")
        started = start(self._form.order())
        started.is_shown()
        self.show(started)
        if not display.is_live():
            started.follow()
        return started

    def stop(self) -> None:
        """End the run after the iteration that it is in, and keep the best state."""
        self._control("stop")

    def pause(self) -> None:
        """Halt the run."""
        self._control("pause")

    def resume(self) -> None:
        """Go on after a pause; or, when it has ended before its time, from its last checkpoint. Raises Conflict as
        `TrainingRun.resume` does."""
        if self._run is not None and self._run.progress.ended is not None:
            self._run.resume()
            self.tick()
            self.watch()
        else:
            self._control("resume")

    def kill(self) -> None:
        """End the run at once."""
        self._control("kill")

    def show(self, run: TrainingRun) -> None:
        """From now on this is the panel of `run`."""
        with self._seen:
            self._run, self._told = run, {}
        self.tick()
        self.watch()

    def tick(self) -> bool:
        """Tell the browser what is new; whether the run goes on."""
        with self._seen:
            if self._run is None:
                return False
            now = self._look()
            said = {name: value for name, value in now["view"].items() if name not in _CLOCK}
            if said != self._told:
                self._told = said
                self.tell(**now)
            return self.comm is not None and not ended(now["view"])

    def _look(self) -> dict[str, Any]:
        assert self._run is not None
        view, curves = snapshot(self._run)
        return {"view": view, "curves": curves}

    def _control(self, action: str) -> None:
        if self._run is None:
            raise InvalidInput("there is no run yet", remedy="Start one first.")
        with self._run.reading() as now:
            control.send(self._run.folder, now, action)
        self.tick()
        self.watch()

    # What the browser asks for.

    def on_start(self) -> None:
        """The button Train."""
        self.start()

    def on_edit(self, values: Mapping[str, Any], by: str = "") -> None:
        """The form was changed in the tab `by`."""
        self._edited(lambda form: form.change(**values), by)

    def on_refresh(self, by: str = "") -> None:
        """Look again for data frames."""
        self._edited(lambda form: form.refresh(), by)

    def _edited(self, change: Any, by: str) -> None:
        if self._form is None:
            raise InvalidInput("this panel has no form")
        change(self._form)
        # The version says that the fields are others, so that what was typed into them no longer counts.
        catalog = self._form.catalog()
        version = self.form["version"] + (catalog != self.catalog)
        self.tell(catalog=catalog, form=self._form.state() | {"by": by, "version": version})

    def on_stop(self) -> None:
        """The button Stop, where the notebook server does not take it."""
        self.stop()

    def on_pause(self) -> None:
        """As `on_stop`."""
        self.pause()

    def on_resume(self) -> None:
        """As `on_stop`."""
        self.resume()

    def on_kill(self) -> None:
        """As `on_stop`."""
        self.kill()

    def on_part(self, name: str) -> Any:
        """What somebody looks at now; see `training.snapshot.part`."""
        if self._run is None:
            raise InvalidInput("there is no run yet")
        return part(self._run, name)

    def on_publish(self) -> None:
        """The panel that publishes the run's model, below."""
        from importlib import import_module

        self.put_below(import_module(PUBLISH).PublishPanel(self._run))

    def text(self) -> str:
        """The run in words; without one, what would be trained."""
        if self._run is not None:
            return as_text(self._run, self._run.progress)
        assert self._form is not None
        said = "; ".join(self._form.problems.values())
        return f"TrainPanel: {said}" if said else f"TrainPanel, start() trains:\n{self._form.code()}"

    def html(self) -> str:
        """The run as it stands."""
        return "" if self._run is None else as_html(self._run, self._run.progress)


def _form(data: Any, target: str | None, estimator: Any, name: str | None, leave_out: Sequence[str]) -> TrainForm:
    model = None if isinstance(estimator, str) else estimator
    form = TrainForm(_namespace, data if not isinstance(data, str) else None, model)
    if isinstance(data, str):
        if data not in form.frames:
            known = ", ".join(form.frames) or "none"
            raise InvalidInput(f"the notebook has no data frame {data!r}", remedy=f"There are: {known}.")
        form.change(data=data)
    columns = [column.name for column in form.columns]
    for column in [*leave_out, *([target] if target else [])]:
        if column not in columns:
            raise InvalidInput(f"there is no column {column!r}", remedy=f"There are: {', '.join(columns) or 'none'}.")
    given = {"target": target, "estimator": estimator if isinstance(estimator, str) else None, "name": name}
    if isinstance(estimator, str):
        from modelyard.widgets import estimators

        estimators.estimator(estimator)
    form.change(left_out=tuple(leave_out), **{key: value for key, value in given.items() if value is not None})
    return form


def _namespace() -> Mapping[str, Any]:
    """The notebook's names; none outside one."""
    if not display.in_kernel():
        return {}
    from IPython import get_ipython

    found: Mapping[str, Any] = dict(get_ipython().user_ns)
    return found
