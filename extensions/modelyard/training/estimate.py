"""How long a fit without progress will take: by the latest fit of the same estimator on this machine."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from modelyard.training import record
from modelyard.training.job import Job
from modelyard.training.spec import FILE as SPEC

_LOOKED_AT = 50
_FARTHEST = 20.0
"""Times as many rows, or as few, beyond which an earlier fit says nothing about this one."""


def tell(job: Job, rows: int) -> None:
    """Say how long it took before, taken to grow with the rows; nothing when there was no such fit."""
    earlier = _latest(job.folder, job.spec.model)
    if earlier is None:
        return
    run, seconds, before = earlier
    if not 1 / _FARTHEST <= rows / before <= _FARTHEST:
        return
    expected = seconds * rows / before
    text = f"about {expected:.3g} s, as {run} took {seconds:.3g} s for {before} rows, if time grows with the rows"
    job.journal.say("estimate", seconds=expected, text=text)


def _latest(folder: Path, model: str) -> tuple[str, float, int] | None:
    """Run, seconds and rows of the latest finished fit with the same parameters' estimator among the latest runs."""
    params = record.load(folder)["params"]
    kept = [entry for entry in folder.parent.iterdir() if entry != folder and (entry / record.RECORD).exists()]
    kept.sort(key=lambda entry: (entry / record.RECORD).stat().st_mtime, reverse=True)
    for entry in kept[:_LOOKED_AT]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = record.load(entry)
            same = json.loads((entry / SPEC).read_text())["model"] == model and known["params"] == params
            if same and known.get("fit"):
                return entry.name, float(known["fit"]["seconds"]), int(known["fit"]["rows"])
    return None
