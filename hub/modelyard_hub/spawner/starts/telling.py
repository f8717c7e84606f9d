"""A diagnosis as people read it: in a line, on a page, and as the failure of a start."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

from jupyterhub.spawner import SpawnException

from modelyard_hub.spawner.starts.causes.base import Diagnosis
from modelyard_hub.spawner.starts.causes.words import duration
from modelyard_hub.spawner.starts.phases import PHASES

REPEAT = 10.0
"""Seconds after which a page is told again, if only the seconds have changed."""
SHOWN = 20
"""Lines of evidence."""
_OWN_SERVERS = ("quota", "full", "volume-in-use", "no-room")
"""Reasons for which stopping another server of one's own helps."""


class NotStarted(SpawnException):  # type: ignore[misc]  # JupyterHub is untyped
    """A start that failed for a reason that its user can read. Never counted as a failure of the hub."""

    def __init__(self, found: Diagnosis, again: str = "", home: str = "") -> None:
        """`again`: the path where the user can start it anew; `home`: where their servers are."""
        super().__init__(
            found.text,
            reason=found.reason,
            log_message=found.text,  # the evidence may be what the user's own server printed
            message_html=page(found, again=again, home=home),
            status_code=503 if found.capacity else 500,
        )
        self.diagnosis, self.at = found, datetime.now(UTC)
        # What the progress page and the page of a failed start show; JupyterHub 6.1 reads only these there.
        self.jupyterhub_message = "\n".join((found.text, *found.evidence[-SHOWN:]))
        self.jupyterhub_html_message = self.message_html


def page(found: Diagnosis, left: float | None = None, again: str = "", home: str = "") -> str:
    """HTML: cause, remedy, how long yet, what the cluster said, and the buttons that help."""
    parts = [f"<strong>{escape(found.cause)}</strong>"]
    if found.remedy:
        parts.append(f"<div>{escape(found.remedy)}</div>")
    if left is not None:
        parts.append(f'<div class="text-muted">{escape(_left(left))}</div>')
    if found.evidence:
        lines = escape("\n".join(found.evidence[-SHOWN:]))
        style = "text-align: left; white-space: pre-wrap; max-height: 20em; overflow: auto"
        parts.append(f'<pre class="mt-2 small" style="{style}">{lines}</pre>')
    buttons = []
    if again:
        buttons.append(f'<a class="btn btn-primary btn-sm" href="{escape(again)}">Start again</a>')
    if home and found.reason in _OWN_SERVERS:
        buttons.append(f'<a class="btn btn-secondary btn-sm" href="{escape(home)}">Your servers</a>')
    return "".join((*parts, f"<div>{' '.join(buttons)}</div>" if buttons else ""))


def event(found: Diagnosis, elapsed: float, left: float | None, home: str = "") -> dict[str, Any]:
    """What JupyterHub's progress page and API take: `progress` in percent, `message` and `html_message`.

    And for programs `phase`, `reason`, `cause`, `remedy`, `evidence`, `capacity`, `waits` (nothing is done for it just
    now), and `seconds_left` where that is known. The page's one button is called by `waits`.
    """
    if left is None or found.wrong:
        share = 90 * PHASES.index(found.phase) / len(PHASES)
        left = None if found.wrong else left
    else:
        share = 95 * elapsed / max(elapsed + left, 0.1)
    text = found.text if left is None else f"{found.text} {_left(left)}"
    return {
        "progress": int(share),
        "message": text,
        "html_message": page(found, left, home=home),
        "phase": found.phase,
        "reason": found.reason,
        "waits": found.wrong or found.reason == "turn",
        "cause": found.cause,
        "remedy": found.remedy,
        "evidence": list(found.evidence[-SHOWN:]),
        "capacity": found.capacity,
        **({} if left is None else {"seconds_left": round(left, 1)}),
    }


def _left(seconds: float) -> str:
    return f"Usually ready in {duration(max(1.0, seconds))}."
