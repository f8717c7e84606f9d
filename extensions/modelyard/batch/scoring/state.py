"""What is at the output when a scoring begins: nothing, its own beginning to go on from, or something else."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError

from modelyard.batch.scoring.places import FolderPlace, Place, put_text
from modelyard.batch.scoring.plan import parse_part
from modelyard_api.errors import Conflict, ModelyardError
from modelyard_api.scoring import MANIFEST, PROGRESS, REJECTS, ScoreReport

INPUT = "_input"
"""The folder of a query's result, while it is scored."""
SHARDS = "_shards"
"""The folder of what the shards of a run tell each other, while they score."""
READY = f"{SHARDS}/ready.json"
_OURS = (MANIFEST, PROGRESS)
_TRIES = 5
_GLANCE = 0.3


class Stopped(ModelyardError):
    """It was told to stop; the parts that are done stay, and whoever starts it again goes on from them."""


@dataclass(frozen=True)
class Together:
    """A shard among those of one attempt of a run. `prepare`: what the first one does before the others begin."""

    index: int
    shards: int
    run: str
    attempt: int
    overwrite: bool
    stopped: Callable[[], bool]
    prepare: Callable[[], object]


def finished(place: Place) -> ScoreReport | None:
    """The report of the scoring that ended there; None where none did."""
    text = place.read(MANIFEST)
    with suppress(ValidationError):
        return None if text is None else ScoreReport.model_validate_json(text)
    return None


@dataclass(frozen=True)
class Claim:
    """Who an output belongs to: what stands in its `PROGRESS`, until somebody takes it over."""

    place: Place
    text: str

    def check(self) -> None:
        """Conflict where somebody has taken the output over: what is written from now on would be in their way."""
        found = self.place.read(PROGRESS)
        if found is None or found.decode(errors="replace") != self.text:
            raise Conflict("another scoring has taken the output over", remedy="Name an output for each of them.")


def begin(
    place: Place, plan: str, facts: Mapping[str, Any], *, run: str, overwrite: bool
) -> tuple[ScoreReport | None, Claim]:
    """Claim the output for a plan; the report where that very run has ended before. Conflict says what is there.

    What an unfinished scoring of the same plan left stays, to go on from, and the claim is the same: so it is for the
    shards of one scoring. Of two that begin different ones at once one has the output, the other is refused.
    """
    for _ in range(_TRIES):
        text = place.read(PROGRESS)
        before = None if text is None else text.decode(errors="replace")
        there = [file.path for file in place.files()]
        report = finished(place)
        if report is not None and report.plan == plan and run and report.run == run:
            return report, Claim(place, before or "")
        strangers = [path for path in there if not _is_ours(path)]
        if strangers:
            raise Conflict(
                f"the output holds files that no scoring made, such as {strangers[0]}",
                remedy="Name a folder of its own.",
            )
        if report is not None and not overwrite:
            refuse(report)
        known = _known(before)
        same = report is None and known is not None and known["plan"] == plan
        if known is not None and not same and not overwrite and any(parse_part(path) for path in there):
            raise Conflict(
                f"the output holds an unfinished scoring of something else: {_difference(known['facts'], facts)}",
                remedy="Name another output, or give overwrite=True to begin anew.",
            )
        if same and before is not None:
            return None, Claim(place, before)
        claim = json.dumps({"plan": plan, "facts": facts, "claim": uuid.uuid4().hex}, indent=1)
        if not place.swap(PROGRESS, claim, before):
            continue  # somebody has begun meanwhile: looked at anew
        # The manifest first: from then on nobody takes what is left for whole.
        for path in sorted((p for p in there if _is_ours(p) and p != PROGRESS), key=lambda p: p != MANIFEST):
            place.remove(path)
        return None, Claim(place, claim)
    raise Conflict("others begin scorings to the output all the time", remedy="Name an output for each of them.")


def begin_shard(place: Place, plan: str, facts: Mapping[str, Any], order: Together) -> tuple[ScoreReport | None, Claim]:
    """Claim the output together with the other shards of a run: the first one prepares it, and the others wait for
    that, so that none clears away what another one has made. As `begin`; also Conflict where they see other data."""
    mark = {"run": order.run, "attempt": order.attempt}
    while True:
        report, ready = finished(place), _document(place, READY) or {}
        if report is not None and report.plan == plan and report.run == order.run:
            return report, Claim(place, "")
        if mark.items() <= ready.items():
            if ready["plan"] != plan:
                raise Conflict(
                    "the data changed while the shards began", remedy="Score them once they stay as they are."
                )
            return None, Claim(place, ready["claim"])
        if order.index == 0:
            ended, claim = begin(place, plan, facts, run=order.run, overwrite=order.overwrite)
            if ended is None:
                sweep(place)
                order.prepare()
                put_text(place, json.dumps({**mark, "plan": plan, "claim": claim.text}), READY)
            return ended, claim
        if order.stopped():
            raise Stopped("it was stopped before it began", remedy="Started again, it goes on from where it is.")
        time.sleep(_GLANCE)


def tell_shard(place: Place, order: Together, times: Mapping[str, float]) -> list[dict[str, float]] | None:
    """Say that a shard is done; what all of them say, where none is missing."""
    mark = {"run": order.run, "attempt": order.attempt}
    put_text(place, json.dumps({**mark, **times}), f"{SHARDS}/{order.index}.json")
    told = [_document(place, f"{SHARDS}/{index}.json") for index in range(order.shards)]
    mine = [one for one in told if one is not None and mark.items() <= one.items()]
    return mine if len(mine) == order.shards else None


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


def _known(text: str | None) -> dict[str, Any] | None:
    told = _parsed(text)
    return told if told is not None and "plan" in told and "facts" in told else None


def _document(place: Place, path: str) -> dict[str, Any] | None:
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
    return folder in ("", REJECTS) and parse_part(name) is not None
