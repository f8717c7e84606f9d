"""The end of a scoring: what its parts say, added up, and the manifest that makes it whole."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.batch.scoring import state
from modelyard.batch.scoring.drift import Counts, Reference, add
from modelyard.batch.scoring.parts import Record
from modelyard.batch.scoring.place import Place
from modelyard.batch.scoring.state import Claim
from modelyard_api.errors import Conflict
from modelyard_api.models import PackageManifest
from modelyard_api.scoring import MANIFEST, REJECTS, UNSURE, ScoreReport

_NO_REFERENCE = "no drift is told: the package has no statistics of its training rows (publish it with training=)"
_TRIES = 5


def collect(manifest: PackageManifest, records: Sequence[Record], reference: Reference | None) -> ScoreReport:
    """The report of these parts; model, version and times are the caller's to add."""
    counts: Counts = {}
    reasons: dict[str, int] = {}
    for record in records:
        add(counts, record.counts)
        for reason, rows in record.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    drift = reference.drifted(counts) if reference is not None else {}
    few = [name for name, found in drift.items() if found.verdict == UNSURE]
    note = f"too few rows to tell the drift of {', '.join(few)}" if few else ""
    return ScoreReport(
        model="",
        version="",
        plan="",
        flavor=manifest.flavor,
        files=tuple(record.name for record in records),
        rejects=tuple(f"{REJECTS}/{record.name}" for record in records if record.rejected),
        rows=sum(record.rows for record in records),
        scored=sum(record.scored for record in records),
        rejected=sum(record.rejected for record in records),
        reasons=dict(sorted(reasons.items(), key=lambda item: -item[1])),
        classes=manifest.classes,
        drift=drift,
        drift_note=note if reference is not None else _NO_REFERENCE,
        drift_rows=max((sum(rows) for rows in counts.values()), default=0),
    )


def commit(claim: Claim, report: ScoreReport) -> None:
    """Write the manifest, and away with what only served to get there, and with parts of whom the output was taken over
    from. Conflict where it was taken over meanwhile; then it stays as it is."""
    place, whole = claim.place, {*report.files, *report.rejects}
    for _ in range(_TRIES):
        there = place.read(MANIFEST)  # none, or one that was on its way when the output was taken over
        before = None if there is None else there.decode(errors="replace")
        found = [file.path for file in place.files()]
        if _ended(place, report):  # by another shard, or by who was given up and is not dead; of the very same rows
            break
        claim.check()  # so that nothing that was found is of somebody who took it over since
        for path in found:
            if state.is_part(path) and path not in whole:
                place.remove(path)
        if place.swap(MANIFEST, report.model_dump_json(indent=1), before) or _ended(place, report):
            break
    else:
        claim.check()
        raise Conflict("others write the manifest all the time", remedy="Name an output for each of them.")
    for path in found:
        if path.startswith((f"{state.INPUT}/", f"{state.SHARDS}/")):
            place.remove(path)


def _ended(place: Place, report: ScoreReport) -> bool:
    """Whether somebody else has ended that very scoring."""
    found = state.finished(place)
    return found is not None and (found.plan, found.run) == (report.plan, report.run)
