"""`yard.record`: kept in a run, said elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from modelyard import recorded
from modelyard.errors import InvalidInput


def test_in_a_run_the_last_of_a_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "records.jsonl"
    monkeypatch.setenv(recorded.RECORDS, str(path))
    assert recorded.read(path) == {}
    for name, value in (("auc", 0.9), ("auc", np.float32(0.5)), ("rows", np.arange(3)), ("best", {"depth": 3})):
        recorded.record(name, value)
    recorded.record("loss", math.nan)
    assert recorded.read(path) == {"auc": 0.5, "rows": [0, 1, 2], "best": {"depth": 3}, "loss": "nan"}
    with path.open("a") as file:
        file.write('["half", 1')
    assert "half" not in recorded.read(path)


def test_elsewhere_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(recorded.RECORDS, raising=False)
    recorded.record("auc", 0.9)
    assert "this is no run" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("", 1), ("model", object()), ("part", {"a": math.inf})])
def test_what_is_no_result_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidInput):
        recorded.record(name, value)
