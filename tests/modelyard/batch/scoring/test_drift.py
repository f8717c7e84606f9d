"""Drift as people read it: told where there is some, not where few rows differ by chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.scoring import scored
from modelyard import recorded
from modelyard.batch.scoring import entry
from modelyard.batch.scoring.drift import Reference
from modelyard.packaging.build import build
from modelyard.packaging.reference import reference_of
from modelyard.packaging.rows import columns_of
from modelyard.packaging.signature import inputs_of
from modelyard_api.models import Signature
from modelyard_api.scoring import Drifted


class ByAge:
    """A model in Python."""

    def predict(self, rows: Any) -> Any:
        return np.nan_to_num(np.asarray(rows["age"], dtype=float))


def table(rows: int, seed: int, shift: float = 0.0, gaps: float = 0.1, new: float = 0.0) -> pd.DataFrame:
    """Numbers and text, both with gaps."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40 + shift, 10, rows)
    plan = rng.choice(["basic", "pro", "new"], rows, p=[0.8 * (1 - new), 0.2 * (1 - new), new]).astype(object)
    age[rng.random(rows) < gaps] = np.nan
    plan[rng.random(rows) < gaps] = np.nan
    return pd.DataFrame({"age": age, "visits": rng.poisson(1, rows), "plan": plan, "paid": rng.random(rows) < 0.5})


TRAINING = table(5000, 0)
INPUTS = inputs_of(TRAINING)


@pytest.fixture(scope="module")
def reference() -> Reference:
    told = reference_of(TRAINING, Signature(layout="table", inputs=INPUTS, outputs=()))
    assert told is not None
    return Reference(told)


def found(reference: Reference, rows: pd.DataFrame) -> dict[str, Drifted]:
    return reference.drifted(reference.count(columns_of(rows, INPUTS)))


@pytest.mark.parametrize("rows", [2, 10, 30, 100, 1000])
def test_rows_like_those_of_the_training_have_not_drifted_however_few_they_are(reference: Reference, rows: int) -> None:
    verdicts = [one.verdict for seed in range(1, 101) for one in found(reference, table(rows, seed)).values()]
    assert sum(verdict in ("moved", "drifted") for verdict in verdicts) <= 4, "once in a thousand times"
    assert ("unsure" in verdicts) == (rows <= 100)


@pytest.mark.parametrize(
    ("changed", "columns", "bin_"),
    [
        ({"shift": 20}, {"age"}, "from 5"),
        ({"gaps": 0.6}, {"age", "plan"}, "missing"),
        ({"new": 0.5}, {"plan"}, "others"),
    ],
)
@pytest.mark.parametrize("rows", [40, 3000])
def test_what_has_drifted_is_said_with_its_index_and_what_changed(
    reference: Reference, rows: int, changed: dict[str, float], columns: set[str], bin_: str
) -> None:
    drift = found(reference, table(rows, 7, **changed))
    assert {name for name, one in drift.items() if one.verdict == "drifted"} == columns
    for name in columns:
        assert drift[name].psi > 0.25
        said = drift[name].in_words()
        assert said.startswith(f"{drift[name].psi:.2f}, drifted: '{bin_}"), said
        assert said.endswith("in training")


def test_an_infinity_is_a_gap_as_in_training() -> None:
    rows = pd.DataFrame({"age": [np.inf, -np.inf, *range(98)]}, dtype=float)
    told = reference_of(rows, Signature(layout="table", inputs=INPUTS[:1], outputs=()))
    assert told is not None
    assert Reference(told).drifted(Reference(told).count(columns_of(rows, INPUTS[:1])))["age"].psi == 0.0


def test_what_is_unsure_is_said_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_drift=` goes by the results."""
    build(ByAge(), TRAINING[:5], directory=tmp_path / "package", training=TRAINING, trial=False)
    for name, rows, shift in (("few", 10, 0.0), ("many", 3000, 20.0)):
        table(rows, 1, shift).to_parquet(tmp_path / f"{name}.parquet")
        report = scored(tmp_path / f"{name}.parquet", tmp_path / name, tmp_path / "package")
        monkeypatch.setenv(recorded.RECORDS, str(tmp_path / f"{name}.json"))
        entry._record(report)
        told = recorded.read(tmp_path / f"{name}.json")
        if name == "few":
            assert report.drift["age"].verdict == "unsure"
            assert "too few rows to tell the drift of age" in report.in_words()
            assert "age" not in told["drift"]
            assert max(told["drift"].values()) == told["drift_max"] < 0.1
        else:
            assert told["drift"]["age"] == told["drift_max"] == report.drift["age"].psi > 0.25
