"""What is at the output when a scoring begins: nothing, its own beginning to go on from, or something else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from modelyard.batch.scoring.folder_place import FolderPlace
from modelyard.batch.scoring.place import Place
from modelyard.batch.scoring.plan import parse_part
from modelyard_api.errors import Conflict, ModelyardError
from modelyard_api.scoring import MANIFEST, PROGRESS, REJECTS, ScoreReport

INPUT = "_input"
"""The folder of a query's result, while it is scored."""
SHARDS = "_shards"
"""The folder of what the shards of a run tell each other, while they score."""
_OURS = (MANIFEST, PROGRESS)
_TRIES = 5
_REMEMBERED = 100
_TAG = 8


class Stopped(ModelyardError):
    """It was told to stop; the parts that are done stay, and whoever starts it again goes on from them."""


def finished(place: Place) -> ScoreReport | None:
    """The report of the scoring that ended there; None where none did."""
    text = place.read(MANIFEST)
    with suppress(ValidationError):
        report = None if text is None else ScoreReport.model_validate_json(text)
        # One that was on its way when another took the output over is not what is there.
        return None if report is None or _tag(document(place, PROGRESS), report.tag) != report.tag else report
    return None


@dataclass(frozen=True)
class Claim:
    """Who an output belongs to: what stands in its `PROGRESS`, until somebody takes it over."""

    place: Place
    text: str

    def check(self) -> None:
        """Conflict where somebody has taken the output over: what is written from now on would be in their way."""
        self.keep(())

    def keep(self, written: Iterable[str]) -> None:
        """As `check`, after files were written: they may have been on their way when somebody took the output over,
        and go again where the other one's have other names. (Else it goes on from them.)"""
        found = self.place.read(PROGRESS)
        text = None if found is None else found.decode(errors="replace")
        if text == self.text:
            return
        if _tag(_parsed(text)) != self.tag:
            for path in written:
                self.place.remove(path)
        _raise_overtaken()

    @property
    def tag(self) -> str:
        """In the names of all that the scoring writes, so that it overwrites nothing of another one's; who goes on from
        its parts has the same."""
        return _tag(_parsed(self.text))


def begin(
    place: Place, plan: str, facts: Mapping[str, Any], *, run: str, overwrite: bool
) -> tuple[ScoreReport | None, Claim]:
    """Claim the output for a plan; the report where that very run has ended before. Conflict says what is there.

    What an unfinished scoring of the same plan left stays, to go on from, and the claim is the same: so it is for the
    shards of one scoring. Another run of the same plan goes on from its parts too, with a claim of its own: nobody can
    tell here whether the one before is dead, and if it is not it ends. Of two that begin different ones at once one has
    the output, the other is refused.
    """
    for _ in range(_TRIES):
        text = place.read(PROGRESS)
        before = None if text is None else text.decode(errors="replace")
        known = _known(before)
        if run and known is not None and run in known.get("over", ()):
            _raise_overtaken()
        there = [file.path for file in place.files()]
        report = finished(place)
        if (ended := ended_by(place, run, plan)) is not None:
            return ended, Claim(place, before or "")
        strangers = [path for path in there if not _is_ours(path)]
        if strangers:
            raise Conflict(
                f"the output holds files that no scoring made, such as {strangers[0]}",
                remedy="Name a folder of its own.",
            )
        if report is not None and not overwrite:
            refuse(report)
        same = report is None and known is not None and known["plan"] == plan
        parts = any(found[2] == _tag(known) for path in there if (found := parse_part(path)) is not None)
        if known is not None and not same and not overwrite and parts:
            raise Conflict(
                f"the output holds an unfinished scoring of something else: {_difference(known['facts'], facts)}",
                remedy="Name another output, or give overwrite=True to begin anew.",
            )
        over = _over(known, run)
        if same and before is not None and over is None:
            claim = Claim(place, before)
            if MANIFEST in there:  # of what was there before: a kill came before it was removed
                claim.check()
                place.remove(MANIFEST)
            return None, claim
        goes_on = same and parts
        tag = _tag(known) if goes_on else uuid.uuid4().hex[:_TAG]
        about = {"plan": plan, "facts": facts, "claim": uuid.uuid4().hex, "tag": tag, "run": run, "over": over or []}
        claim = Claim(place, json.dumps(about, indent=1))
        if not place.swap(PROGRESS, claim.text, before):
            continue  # somebody has begun meanwhile: looked at anew
        if goes_on:
            return None, claim
        claim.check()  # else the manifest may be that of who has ended it since
        # The manifest first: from then on nobody takes what is left for whole.
        for path in sorted((p for p in there if _is_ours(p) and p != PROGRESS), key=lambda p: p != MANIFEST):
            place.remove(path)
        return None, claim
    raise Conflict("others begin scorings to the output all the time", remedy="Name an output for each of them.")


def ended_by(place: Place, run: str, plan: str) -> ScoreReport | None:
    """The report where an attempt of that run has made the output whole; None of a scoring that is no run's."""
    report = finished(place)
    return report if report is not None and run and (report.run, report.plan) == (run, plan) else None


def begun_with(place: Place, run: str) -> str | None:
    """The version that a run scores with, as one of its attempts said; None where none has begun."""
    known = _known((place.read(PROGRESS) or b"").decode(errors="replace"))
    if known is None or known.get("run", "") != run:
        return None
    model = str(known["facts"].get("model", "")).split(" ")  # name, version, digest
    return model[-2] if len(model) > 2 else None


def overtaken(place: Place, run: str) -> None:
    """Conflict where another run has taken the output over from this one."""
    if run in (document(place, PROGRESS) or {}).get("over", ()):
        _raise_overtaken()


def _raise_overtaken() -> NoReturn:
    raise Conflict("another scoring has taken the output over", remedy="Name an output for each of them.")


def _over(known: Mapping[str, Any] | None, run: str) -> list[str] | None:
    """The runs that a run takes the output over from, the last of them; None where it is its own, or nobody's."""
    before = (known or {}).get("run", "")
    if not before or before == run:
        return None
    return [*(known or {}).get("over", ()), before][-_REMEMBERED:]


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


def is_part(path: str) -> bool:
    """Whether a file is a part, or holds rejects of one, of any scoring."""
    folder, _, name = path.rpartition("/")
    return folder in ("", REJECTS) and parse_part(name) is not None


def _tag(told: Mapping[str, Any] | None, default: str = "") -> str:
    return default if told is None else str(told.get("tag", ""))


def _known(text: str | None) -> dict[str, Any] | None:
    told = _parsed(text)
    return told if told is not None and "plan" in told and "facts" in told else None


def document(place: Place, path: str) -> dict[str, Any] | None:
    """A small file that holds an object; None where there is no such one."""
    return _parsed((place.read(path) or b"").decode(errors="replace"))


def _parsed(text: str | None) -> dict[str, Any] | None:
    with suppress(ValueError):
        told = json.loads(text or "null")
        return told if isinstance(told, dict) else None
    return None


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed, in words."""
    changed = [name for name in new if old.get(name) != new[name]]
    return f"its {', '.join(changed)} {'was' if len(changed) == 1 else 'were'} another" if changed else "another plan"


def _is_ours(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if folder in (INPUT, SHARDS) or name.startswith((".scoring-", ".lock-")) or path in _OURS:
        return True
    return is_part(path)
