"""Whether a package on disk answers as the original does: through the data plane that will serve it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.packaging.answers import Answers, Comparison, Contract, ask, compare
from modelyard.packaging.probes import Probe
from modelyard.packaging.rows import columns_of
from modelyard.packaging.signature import is_table
from modelyard_api.models import Signature


@dataclass(frozen=True)
class Original:
    """The model as in the notebook, with what is asked of it."""

    model: Any
    signature: Signature
    contract: Contract


def check(directory: Path, original: Original, probes: list[Probe], tolerance: float) -> Comparison:
    """Compare the package in `directory` with the original on `probes`; the first disagreement is told."""
    from modelyard_server.dataplane import load

    try:
        plane = load(directory)
    except Exception as error:  # whatever a runtime says of a graph or a file is the reason for not using it
        return Comparison(0.0, f"it does not load: {type(error).__name__}: {_first_line(error)}")
    worst = 0.0
    for probe in probes:
        for rows in _batches(original, probe):
            result = _compare(plane, original, rows, tolerance)
            worst = max(worst, result.difference)
            if result.problem:
                return Comparison(worst, f"on {probe.name}, {result.problem}")
    return Comparison(worst)


def _batches(original: Original, probe: Probe) -> list[Any]:
    """The probe at once where the original accepts it all, else row by row."""
    if not probe.one_by_one or not isinstance(_ask(original, probe.rows), Exception):
        return [probe.rows]
    rows = probe.rows
    return [rows.iloc[i : i + 1] if is_table(rows) else rows[i : i + 1] for i in range(len(rows))]


def _ask(original: Original, rows: Any) -> Answers | Exception:
    try:
        return ask(original.model, rows, original.contract)
    except Exception as error:  # a refusal is an answer too: the package has to refuse the same rows
        return error


def _compare(plane: Any, original: Original, rows: Any, tolerance: float) -> Comparison:
    expected = _ask(original, rows)
    try:
        got = plane.predict(columns_of(rows, original.signature.inputs))
    except Exception as error:  # see _ask
        if isinstance(expected, Exception):
            return Comparison(0.0)
        return Comparison(0.0, f"it fails: {_first_line(error)}")
    if isinstance(expected, Exception):
        return Comparison(0.0, f"it answers what the original refuses ({_first_line(expected)})")
    return compare(expected, got, tolerance)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
