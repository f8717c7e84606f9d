"""Progress, shown: in a notebook with a front end as HTML that changes in place, elsewhere as lines of text."""

from __future__ import annotations

import os
import sys
import time
import uuid
from html import escape
from types import TracebackType
from typing import Any, Self

from modelyard.portrait import STYLE
from modelyard_api.tables import duration as duration

PLAIN = "MODELYARD_PLAIN"
_SESSION = "JPY_SESSION_NAME"
_STEPS = {"package": 0.1, "upload": 0.5, "register": 0.65, "endpoint": 0.7, "ready": 0.8}


def is_live() -> bool:
    """Whether somebody looks at this process through a notebook's front end.

    MODELYARD_PLAIN decides where it is set (1: text, 0: live). Else: in a kernel that Jupyter Server started for a
    notebook, to which it gave JPY_SESSION_NAME. papermill, nbclient and scripts start kernels without one; where they
    run inside a notebook server they hand an inherited one on, which is told by their having it themselves.
    """
    said = os.environ.get(PLAIN, "").strip().lower()
    if said:
        return said in ("0", "false", "no")
    if not in_kernel():
        return False
    session = os.environ.get(_SESSION)
    return bool(session) and _parent_session() != session


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _parent_session() -> str | None:
    """The JPY_SESSION_NAME of the process that started this one; None when it has none or cannot be asked."""
    import psutil

    try:
        return psutil.Process(os.getppid()).environ().get(_SESSION)
    except (psutil.Error, OSError):
        return None


def write(line: str) -> None:
    """A line of text for the person."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def bar(fraction: float | None, kind: str = "busy") -> str:
    """A progress bar as HTML; None: how far it is, is not known."""
    if fraction is None:
        return (
            '<progress class="my-progress" aria-label="progress, how far is not known"></progress>'
            if kind == "busy"
            else ""
        )
    percent = round(100 * max(0.0, min(1.0, fraction)))
    return f'<progress class="my-progress" max="100" value="{percent}" aria-label="progress">{percent} %</progress>'


def box(title: str, state: str, kind: str, body: str, testid: str) -> str:
    """A panel as HTML: a title, a state (good, busy or bad) and what is below."""
    style = (
        STYLE
        + ".yard-card .my-progress{width:100%;height:10px;margin:6px 0;accent-color:var(--jp-brand-color1,#1976d2)}"
    )
    return (
        f'<style>{style}</style><div class="yard-card" data-testid="{testid}"><div class="my-head">'
        f'<span class="my-title">{escape(title)}</span>'
        f'<span class="my-state my-{kind}" role="status">{escape(state)}</span></div>{body}</div>'
    )


class Output:
    """An output of a cell that changes in place."""

    def __init__(self) -> None:
        self._id = f"modelyard-{uuid.uuid4().hex}"
        self._shown = False

    def show(self, html: str, text: str) -> None:
        """Show this instead of what was there."""
        from IPython.display import display

        data = {"text/html": html, "text/plain": text}
        display(data, raw=True, display_id=self._id, update=self._shown)
        self._shown = True


class Steps:
    """The steps of a publish, while they happen. Used as a context manager, in the thread that waits."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live: Output | None = Output() if is_live() else None
        self._start = time.monotonic()
        self._lines: list[tuple[float, str, str]] = []
        self._step = "package"

    def __enter__(self) -> Self:
        self._draw("Starting", "busy")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._draw("Done", "good", 1.0)
        elif isinstance(error, KeyboardInterrupt):
            self._draw("Interrupted", "bad")
        else:
            self._draw("Failed", "bad")
        if self._live is None:
            said = "done" if error is None else "failed"
            write(f"{self._title}: {said} after {duration(time.monotonic() - self._start)}")

    def say(self, step: str, detail: str) -> None:
        """A step begins, or has something to tell."""
        self._step = step
        self._lines.append((time.monotonic() - self._start, step, detail))
        if self._live is None:
            write(f"{self._title}: {step}: {detail}")
        self._draw(step.capitalize(), "busy")

    def _draw(self, state: str, kind: str, fraction: float | None = None) -> None:
        if self._live is None:
            return
        elapsed = duration(time.monotonic() - self._start)
        rows = "".join(
            f'<tr><td class="my-dim">{at:.1f} s</td><td>{escape(step)}</td><td>{escape(_short(detail))}</td></tr>'
            for at, step, detail in self._lines[-12:]
        )
        shown = fraction if fraction is not None else _STEPS.get(self._step, 0.0)
        body = f'{bar(shown)}<div class="my-dim">{elapsed}</div>'
        body += f'<table class="my-table my-steps"><tbody>{rows}</tbody></table>' if rows else ""
        html = box(self._title, state, kind, body, "modelyard-publish")
        self._live.show(html, f"{self._title}: {state} ({elapsed})")


def _short(text: Any) -> str:
    line = str(text).strip().splitlines()[0] if str(text).strip() else ""
    return line if len(line) <= 160 else line[:159] + "…"
