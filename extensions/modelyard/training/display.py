"""Where a run is shown: a panel that updates itself in a notebook with a front end, lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from modelyard.console import say
from modelyard.training import html
from modelyard.training.run import State, TrainingRun

_INTERVAL = 0.5


def show(run: TrainingRun) -> None:
    """A live panel, at once; else lines until the run ends, and its exception."""
    if plain():
        _lines(run)
        return
    from IPython.display import HTML, display

    handle = display(HTML(run._repr_html_()), display_id=True)
    updates = threading.Thread(target=_update, args=(TrainingRun(run.folder, run._process), handle), daemon=True)
    updates.start()


def plain() -> bool:
    """Whether nobody watches live: a script, a papermill run, or MODELYARD_PLAIN=1."""
    if os.environ.get("MODELYARD_PLAIN") == "1":
        return True
    if "IPython" not in sys.modules:
        return True
    from IPython import get_ipython

    shell = get_ipython()
    return getattr(shell, "kernel", None) is None or _papermill()


def notebook() -> str | None:
    """The notebook's file name, as JupyterLab or papermill says it."""
    path = os.environ.get("JPY_SESSION_NAME") or os.environ.get("MODELYARD_NOTEBOOK")
    return Path(path).name if path else None


def _papermill() -> bool:
    """papermill runs the kernel as a child of its own process."""
    import psutil

    try:
        return any("papermill" in part for parent in psutil.Process().parents() for part in parent.cmdline()[:4])
    except psutil.Error:
        return False


def _lines(run: TrainingRun) -> None:
    said: list[str] = []

    def each() -> None:
        observed = run.observed
        text = observed.text
        if text and text not in said[-1:]:
            said.append(text)
            say(f"  {html.elapsed(observed):6.1f} s  {text}")

    say(f"training  {run.id}")
    run.until_ended(each=each)
    for warning in run.observed.warnings:
        say(f"warning   {warning}")
    say(f"{run.state:<9} {html.line(run.state, run.observed, run.reason)}")
    run.wait()


def _update(run: TrainingRun, handle: Any) -> None:
    """Redraw when what is shown changed; ends with the run."""
    from IPython.display import HTML

    pause = threading.Event()
    shown = ""
    while True:
        running = run.state is State.running
        text = run._repr_html_()
        if text != shown:
            handle.update(HTML(text))
            shown = text
        if not running:
            return
        pause.wait(_INTERVAL)
