"""A run as HTML in the colours of JupyterLab's theme. Pure but for the clock."""

from __future__ import annotations

import time
from html import escape

from modelyard.training.runlog import Observed

_COLOURS = {
    "running": "var(--jp-brand-color1,#1976d2)",
    "finished": "var(--jp-success-color1,#2e7d32)",
    "failed": "var(--jp-error-color1,#c62828)",
    "stopped": "var(--jp-warn-color1,#b26a00)",
}
_BOX = (
    "border:1px solid var(--jp-border-color1,#ccc);padding:8px 12px;display:inline-block;min-width:24em;"
    "color:var(--jp-content-font-color1,inherit);background:var(--jp-layout-color1,transparent)"
)


def elapsed(observed: Observed) -> float:
    """Seconds since it started, up to its end."""
    if observed.started_at is None:
        return 0.0
    return max(0.0, (observed.ended_at or time.time()) - observed.started_at)


def line(state: str, observed: Observed, reason: str = "") -> str:
    """One line of text: state, time, progress, metrics."""
    parts = [f"{state}, {elapsed(observed):.1f} s"]
    if observed.total and state == "running":  # a fit that converges ends before its last task
        parts.append(f"{observed.done} of at most {observed.total}")
    if observed.text and state == "running":
        parts.append(observed.text)
    parts += [f"{name} {value:.4g}" for name, value in observed.metrics.items()]
    return " · ".join([*parts, reason] if reason else parts)


def html(run_id: str, state: str, observed: Observed, reason: str) -> str:
    """State with time, a bar where the number of tasks is known, metrics, warnings, the link to MLflow."""
    colour = _COLOURS.get(state, "inherit")
    head = f'<strong>Training</strong> <span style="color:{colour}">● {escape(state)}</span> {elapsed(observed):.1f} s'
    parts = [head]
    if observed.total and state == "running":
        parts.append(f'<progress value="{observed.done}" max="{observed.total}" style="width:100%"></progress>')
    if observed.text and state == "running":
        parts.append(escape(observed.text))
    if observed.metrics:
        parts.append(" · ".join(f"{escape(k)} <strong>{v:.4g}</strong>" for k, v in observed.metrics.items()))
    if reason:
        parts.append(f'<span style="color:{_COLOURS["failed"]}">{escape(reason)}</span>')
    parts += [f'<span style="color:{_COLOURS["stopped"]}">{escape(text)}</span>' for text in observed.warnings]
    if url := observed.mlflow.get("url"):
        parts.append(f'<a href="{escape(url, quote=True)}" target="_blank">Open in MLflow</a>')
    parts.append(f'<small><code>yard.attach("{escape(run_id)}")</code></small>')
    return f'<div style="{_BOX}">{"<br>".join(parts)}</div>'
