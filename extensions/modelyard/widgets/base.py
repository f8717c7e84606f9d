"""What all panels share: the tie to the browser, actions, and staying silent where nobody looks.

State that a browser must find again after a reload is in traits; they change at most five times a second, in one
message. What a person clicks comes as an action, is carried out in a thread, and is answered with a value or a problem.
"""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from modelyard import display
from modelyard.errors import ModelyardError, in_words
from modelyard.widgets.ticker import ticker

_STATIC = Path(__file__).parent / "static"
_WAITING = 8


class Panel(anywidget.AnyWidget):  # type: ignore[misc]  # mypy does not follow ipywidgets
    """Base of the panels: a real widget, which sits in an `HBox` like any other.

    A panel's class names its front end with `front_end="train"` and has a method `on_<action>(**given)` for each
    action, which is carried out in a thread and answered (those of `reads` each in one of their own, so that a slow
    one holds up nothing else), and `hear_<what>(**given)` for what it is merely told: that
    is done at once, may not wait, and has no answer. Where nobody looks (a papermill run, a script) it has no comm:
    nothing is sent and nothing is kept in the notebook; it prints as text.
    """

    view = traitlets.Dict(help="What is shown; JSON, up to 4 KB once the panel is drawn.").tag(sync=True)
    below = traitlets.Unicode(help="Another panel, shown inside this one: a reference to it.").tag(sync=True)

    reads: frozenset[str] = frozenset()

    def __init_subclass__(cls, front_end: str | None = None, **given: Any) -> None:
        if front_end is not None:
            cls._esm = _content(f"{front_end}.js")
            cls._css = _content("panel.css")
        super().__init_subclass__(**given)

    def __init__(self, **traits: Any) -> None:
        self._jobs: dict[str, queue.Queue[tuple[str, str, dict[str, Any]]]] = {}
        self._workers: dict[str, threading.Thread] = {}
        self._sending = threading.RLock()
        super().__init__(**traits)
        self.on_msg(self._heard)

    def open(self) -> None:
        """Tie it to the browser, where there is one."""
        if display.is_live():
            super().open()

    def watch(self) -> None:
        """Let `tick` be called, until it says that there is nothing more to tell."""
        if self.comm is not None:
            ticker.add(self)

    def tick(self) -> bool:
        """Say what is new; whether there will be more. Called in a thread."""
        return False

    def tell(self, **traits: Any) -> None:
        """Set traits in one message; what is as before is not sent."""
        with self._sending, self.hold_sync():
            for name, value in traits.items():
                setattr(self, name, value)

    def put_below(self, panel: Panel) -> None:
        """Show another panel inside this one; there it is also found after a reload."""
        self.tell(below=f"anywidget:{panel.model_id}")

    def text(self) -> str:
        """The panel in words, for where it cannot be drawn."""
        return type(self).__name__

    def html(self) -> str:
        """The panel as it stands, for where nothing draws widgets: a notebook on a web page."""
        return ""

    def _heard(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        if isinstance(content.get("told"), str):
            hear = getattr(self, f"hear_{content['told']}", None)
            if hear is not None:
                hear(**(content.get("given") or {}))
            return
        if not isinstance(content.get("action"), str):
            return
        job = (str(content.get("id", "")), content["action"], content.get("given") or {})
        lane = job[1] if job[1] in self.reads else ""
        jobs = self._jobs.setdefault(lane, queue.Queue(_WAITING))
        try:
            jobs.put_nowait(job)
        except queue.Full:
            self._answer(
                job[0], problem=_problem("Busy", "too much is asked at once", "Wait for what was asked before.")
            )
            return
        worker = self._workers.get(lane)
        if worker is None or not worker.is_alive():
            name = f"modelyard-{type(self).__name__.lower()}-{lane}".rstrip("-")
            self._workers[lane] = threading.Thread(target=self._work, args=(jobs,), name=name, daemon=True)
            self._workers[lane].start()

    def _work(self, jobs: queue.Queue[tuple[str, str, dict[str, Any]]]) -> None:
        while True:
            try:
                job = jobs.get(timeout=30)
            except queue.Empty:
                return
            self._do(*job)

    def _do(self, job: str, action: str, given: dict[str, Any]) -> None:
        method = getattr(self, f"on_{action}", None)
        try:
            if method is None:
                raise ModelyardError(f"the panel has no action {action!r}", remedy="Reload the page.")
            value = method(**given)
        except ModelyardError as error:
            self._answer(job, problem=in_words(error))
        except Exception as error:  # whatever the user's own objects raise is shown in the panel
            self._answer(job, problem=_problem("Failed", f"{type(error).__name__}: {error}", ""))
        else:
            self._answer(job, value=value)

    def _answer(self, job: str, **content: Any) -> None:
        with self._sending:
            self.send({"reply": job, "ok": "problem" not in content, **content})

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **given: Any) -> Any:
        if self.comm is None:
            return {"text/plain": self.text()}
        bundle = super()._repr_mimebundle_(**given)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        page = self.html()
        return ({**data, "text/html": page} if page else data), metadata


def _content(name: str) -> Any:
    """A front end's text. As a path, which anywidget watches for changes, each panel would be held by it for ever; that
    is for those who work on a front end."""
    path = _STATIC / name
    return path if os.environ.get("ANYWIDGET_HMR") else path.read_text()


def _problem(title: str, detail: str, remedy: str) -> dict[str, str]:
    return {"title": title, "detail": detail, "remedy": remedy}
