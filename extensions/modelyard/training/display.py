"""A run shown: a panel that updates itself from a light thread, or lines of text while it is waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from modelyard.display import Output, write
from modelyard.training import html

if TYPE_CHECKING:
    from modelyard.training.run import TrainingRun

_INTERVAL = 0.5


def panel(run: TrainingRun) -> None:
    """Show it now, and again whenever what is shown changed, until it ends."""
    output = Output()
    output.show(run._repr_html_(), repr(run))
    threading.Thread(target=_update, args=(run, output), name=f"panel-{run.id}", daemon=True).start()


def _update(run: TrainingRun, output: Output) -> None:
    pause = threading.Event()
    shown = ""
    while True:
        running = run.state == "running"
        text = run._repr_html_()
        if text != shown:
            output.show(text, repr(run))
            shown = text
        if not running:
            return
        pause.wait(_INTERVAL)


def lines(run: TrainingRun) -> None:
    """Lines until the run ends, however it ends."""
    said = ""

    def each() -> None:
        nonlocal said
        observed = run.observed
        if observed.text and observed.text != said:
            said = observed.text
            write(f"  {html.elapsed(observed):6.1f} s  {said}")

    write(f"Training {run.id}")
    run.until_ended(each=each)
    for warning in run.observed.warnings:
        write(f"Warning: {warning}")
    write(f"Training {html.line(run.state, run.observed, run.reason)}")
