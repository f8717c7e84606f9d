"""What is at the output when a scoring begins: nothing, its own beginning to go on from, or something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from pydantic import ValidationError

from modelyard.batch.scoring.places import FolderPlace, Place, put_text
from modelyard.batch.scoring.plan import parse_part
from modelyard_api.errors import Conflict
from modelyard_api.scoring import MANIFEST, PROGRESS, REJECTS, ScoreReport

INPUT = "_input"
"""The folder of a query's result, while it is scored."""
_OURS = (MANIFEST, PROGRESS)


def finished(place: Place) -> ScoreReport | None:
    """The report of the scoring that ended there; None where none did."""
    text = place.read(MANIFEST)
    with suppress(ValidationError):
        return None if text is None else ScoreReport.model_validate_json(text)
    return None


def begin(place: Place, plan: str, facts: Mapping[str, Any], *, run: str, overwrite: bool) -> ScoreReport | None:
    """Claim the output for a plan; the report where that very run has ended before. Conflict says what is there.

    What an unfinished scoring of the same plan left stays, to go on from.
    """
    there = [file.path for file in place.files()]
    report = finished(place)
    if report is not None and report.plan == plan and run and report.run == run:
        return report
    strangers = [path for path in there if not _is_ours(path)]
    if strangers:
        raise Conflict(
            f"the output holds files that no scoring made, such as {strangers[0]}", remedy="Name a folder of its own."
        )
    if report is not None and not overwrite:
        refuse(report)
    known = _known(place)
    same = report is None and known is not None and known["plan"] == plan
    if known is not None and not same and not overwrite and any(parse_part(path) for path in there):
        raise Conflict(
            f"the output holds an unfinished scoring of something else: {_difference(known['facts'], facts)}",
            remedy="Name another output, or give overwrite=True to begin anew.",
        )
    if not same:
        # The manifest first: from then on nobody takes what is left for whole.
        for path in sorted((p for p in there if _is_ours(p)), key=lambda p: p != MANIFEST):
            place.remove(path)
        put_text(place, json.dumps({"plan": plan, "facts": facts}, indent=1), PROGRESS)
    return None


def refuse(report: ScoreReport) -> NoReturn:
    """Conflict: there is a finished scoring."""
    raise Conflict(
        f"the output holds a finished scoring, by version {report.version} of {report.model}",
        remedy="Name another output, or give overwrite=True.",
    )


def sweep(place: Place) -> None:
    """Away with what a killed process was making."""
    if isinstance(place, FolderPlace):
        for file in place.root.glob(".scoring-*"):
            file.unlink(missing_ok=True)


def _known(place: Place) -> dict[str, Any] | None:
    with suppress(ValueError):
        told = json.loads(place.read(PROGRESS) or b"null")
        return told if isinstance(told, dict) and "plan" in told and "facts" in told else None
    return None


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed, in words."""
    changed = [name for name in new if old.get(name) != new[name]]
    return f"its {', '.join(changed)} {'was' if len(changed) == 1 else 'were'} another" if changed else "another plan"


def _is_ours(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if folder == INPUT or name.startswith((".scoring-", ".lock-")) or path in _OURS:
        return True
    return folder in ("", REJECTS) and parse_part(name) is not None
