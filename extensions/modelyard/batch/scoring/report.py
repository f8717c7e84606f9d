"""The end of a scoring: what its parts say, added up, and the manifest that makes it whole."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.batch.scoring import state
from modelyard.batch.scoring.drift import Counts, Reference, add
from modelyard.batch.scoring.parts import Record
from modelyard.batch.scoring.places import Place, put_text
from modelyard_api.models import PackageManifest
from modelyard_api.scoring import MANIFEST, REJECTS, ScoreReport

_NO_REFERENCE = "no drift is told: the package has no statistics of its training rows (publish it with training=)"


def collect(manifest: PackageManifest, records: Sequence[Record], reference: Reference | None) -> ScoreReport:
    """The report of these parts; model, version and times are the caller's to add."""
    counts: Counts = {}
    reasons: dict[str, int] = {}
    for record in records:
        add(counts, record.counts)
        for reason, rows in record.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + rows
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
        drift=reference.drifted(counts) if reference is not None else {},
        drift_note="" if reference is not None else _NO_REFERENCE,
        drift_rows=max((sum(rows) for rows in counts.values()), default=0),
    )


def commit(output: Place, report: ScoreReport) -> None:
    """Write the manifest, and away with what only served to get there."""
    put_text(output, report.model_dump_json(indent=1), MANIFEST)
    for file in (*output.files(state.INPUT), *output.files(state.SHARDS)):
        output.remove(file.path)
