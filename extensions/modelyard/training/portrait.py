"""A training run drawn as HTML, as text, and as lines while it happens."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

from modelyard import display
from modelyard.training.progress import Progress, RunState

if TYPE_CHECKING:
    from modelyard.training.run import TrainingRun

_KINDS = {
    RunState.running: "busy",
    RunState.paused: "busy",
    RunState.succeeded: "good",
    RunState.failed: "bad",
    RunState.stopped: "bad",
}
_SILENCE = 10.0
_CURVES = 3


def as_text(run: TrainingRun, now: Progress) -> str:
    """One line, and one per metric and warning."""
    lines = [f"TrainingRun {run.id}: {_state(now)} ({display.duration(run.elapsed)})"]
    lines += [f"  {name}: {value:.4f}" for name, value in now.metrics.items()]
    lines += [f"  {_best(now)}"] if now.best else []
    lines += [f"  warning: {text}" for text in now.warnings]
    return "\n".join(lines + ([f"  {now.error}"] if now.error else []))


def as_html(run: TrainingRun, now: Progress) -> str:
    """A box with the bar, the step, the time, and the metrics when they are there."""
    kind = _KINDS[now.state]
    parts = [display.bar(now.fraction, kind)]
    step = escape(now.step) if now.ended is None else escape(now.error.splitlines()[0] if now.error else "")
    parts.append(f"<div>{step}</div>" if step else "")
    parts.append(f'<div class="my-dim">{display.duration(run.elapsed)} · {escape(now.source)}</div>')
    parts.append(f'<div class="my-dim">{escape(_best(now))}</div>' if now.best else "")
    if now.metrics:
        rows = "".join(f"<tr><td>{escape(n)}</td><td>{v:.4f}</td></tr>" for n, v in now.metrics.items())
        head = "<thead><tr><th>on the held-out rows</th><th></th></tr></thead>"
        parts.append(f'<table class="my-table">{head}<tbody>{rows}</tbody></table>')
    parts += [f'<div class="my-busy">Warning: {escape(text)}</div>' for text in now.warnings]
    if now.traceback:
        parts.append(f"<details><summary>Traceback</summary><pre>{escape(now.traceback)}</pre></details>")
    if now.mlflow_url and now.mlflow_url.startswith(("http://", "https://")):
        parts.append(
            f'<a href="{escape(now.mlflow_url, quote=True)}" target="_blank" rel="noopener">See it in MLflow</a>'
        )
    parts.append(f'<div class="my-dim"><code>yard.attach("{escape(run.id)}")</code></div>')
    return display.box(f"Training {run.name}", _state(now), kind, "".join(parts), "modelyard-train")


def _best(now: Progress) -> str:
    best = now.best or {}
    return f"best {best['name']} {best['value']:.4f} ({now.unit or 'step'} {best['step']:g})"


def _state(now: Progress) -> str:
    if now.ended is None and now.stopping:
        return "stopping"
    if now.ended is None and now.fraction is not None:
        return f"running, {now.fraction:.0%}"
    return now.state.value


def _far(now: Progress) -> list[str]:
    """How far it is, in words: iterations or share, time left, the last values of the curves."""
    said = []
    if now.unit and now.done:
        said.append(f"{now.unit} {now.done:g}" + (f" of {now.of}" if now.of else ""))
    elif now.fraction is not None:
        said.append(f"{now.fraction:.0%}")
    left = now.remaining(time.time())
    if left is not None:
        said.append(f"about {display.duration(left)} left")
    shown = [(name, curve.last) for name, curve in now.curves.items() if curve.last is not None]
    return said + [f"{name} {last[1]:.4g}" for name, last in shown[:_CURVES]]


class Lines:
    """Tells a run in lines of text: each step, each tenth of the fit, what every ten seconds brought."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._said = ""
        self._told = 0.0
        self._tenth = 0
        self._source = False
        self._warnings = 0

    def tell(self, now: Progress) -> bool:
        """Print what is new; whether the run has ended."""
        if not self._told:
            self._line(f"run {self._run.id}")
        if now.source and not self._source:
            self._source = True
            self._line(now.source)
        tenth = int(10 * (now.fraction or 0.0) + 1e-9)
        if now.ended is None and (now.step != self._said or tenth > self._tenth):
            best = [_best(now)] if now.best and tenth > self._tenth else []
            self._said, self._tenth = now.step, max(tenth, self._tenth)
            self._line(", ".join([now.step, *_far(now), *best]))
        elif now.ended is None and time.monotonic() - self._told > _SILENCE:
            self._line(", ".join([f"still running: {now.step}", *_far(now)]))
        for text in now.warnings[self._warnings :]:
            self._line(f"warning: {text}")
        self._warnings = len(now.warnings)
        if now.ended is not None:
            self._last(now)
        return now.ended is not None

    def _last(self, now: Progress) -> None:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in now.metrics.items())
        kept = ", the best state so far is kept" if now.state is RunState.stopped and now.has_model else ""
        self._line(f"{now.state.value}{kept}{f' ({scores})' if scores else ''}")
        if now.mlflow_url:
            self._line(f"see it in MLflow: {now.mlflow_url}")

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        display.write(f"Training {self._run.name} [{display.duration(self._run.elapsed)}] {text}")
