"""What a run tells: usage, progress with pauses, lines of text, code that does the same again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import modelyard as yard
from modelyard.training import code, runlog
from modelyard.training.journal import Journal
from modelyard.training.portrait import Lines
from modelyard.training.progress import Progress, Reader
from modelyard.training.spec import TrainSpec
from modelyard.training.usage import Sampler


def test_usage_counts_cores_memory_and_rows(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    sampler = Sampler(journal)
    sampler.sample()
    held = np.ones(4_000_000)  # 32 MB
    journal.rows = 1000
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    worker = subprocess.Popen([sys.executable, "-c", "b = bytearray(50_000_000); input()"], stdin=subprocess.PIPE)
    found = sampler.sample()
    assert 0 < found["cpu"] <= 8
    assert found["memory"] > held.nbytes
    assert found["rows"] > 0
    assert found["shm_size"] >= found["shm"] >= 0
    assert "rows" not in sampler.sample()
    worker.communicate(b"\n")


def told(*events: tuple[float, str, dict[str, Any]]) -> Progress:
    now = Progress()
    for at, event, fields in events:
        now.take({"at": at, "event": event, **fields})
    return now


def test_the_estimate_leaves_pauses_out() -> None:
    now = told(
        (100, "launched", {"pid": 1, "created": 0}),
        (104, "total", {"of": 10, "unit": "tree"}),
        (106, "points", {"series": {}, "done": 2}),
        (106, "paused", {}),
        (206, "resumed", {}),
    )
    assert now.elapsed(206) == 6
    assert now.fraction == 0.2
    assert now.remaining(206) == pytest.approx(8)


def test_another_unit_begins_to_count_anew() -> None:
    now = told(
        (100, "launched", {"pid": 1, "created": 0}),
        (101, "total", {"of": 5, "unit": "fold"}),
        (109, "fold", {"number": 5, "of": 5, "metrics": {}}),
        (110, "total", {"of": 100, "unit": "tree"}),
        (112, "points", {"series": {}, "done": 10}),
    )
    assert now.fraction == 0.1
    assert now.remaining(112) == pytest.approx(18)


def test_an_earlier_fit_tells_how_long_it_takes() -> None:
    now = told((100, "launched", {"pid": 1, "created": 0}), (102, "estimate", {"seconds": 30, "text": "as before"}))
    assert now.fraction is None
    assert now.remaining(112) == pytest.approx(20)


def test_lines_are_few_and_say_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TrainSpec("churn", "Forest").save(tmp_path)
    runlog.append(tmp_path, "launched", pid=os.getpid(), created=psutil.Process().create_time())
    journal = Journal(tmp_path)
    journal.step("Fitting Forest")
    journal.total(1000, "tree")
    lines, reader = Lines(yard.TrainingRun(tmp_path)), Reader(tmp_path)
    for tree in range(1, 1001):
        journal.point(tree, {"val_log_loss": 1 / tree})
        if tree % 10 == 0:
            journal.flush()
            lines.tell(reader.read())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + 11
    assert "Fitting Forest, tree 500 of 1000, about" in printed[6]
    assert "val_log_loss 0.002" in printed[6]


def test_code_trains_the_same_again() -> None:
    def share(model: Any, X: Any, y: Any) -> float:
        return 1.0

    model = make_pipeline(StandardScaler(), RandomForestClassifier(50))
    spec = TrainSpec.of(model, name="churn", seed=7)
    text = code.of(spec, model, {"share": share})
    assert "from sklearn.ensemble import RandomForestClassifier\n" in text
    assert 'metrics={"share": share}' in text or "metrics={'share': share}" in text
    compile(text, "code.py", "exec")
    called: dict[str, Any] = {}
    yarded = text.replace("import modelyard as yard", "").replace("yard.train(", "train(")
    lines = [line for line in yarded.splitlines() if "test_telling" not in line]
    space = {"train": lambda *args, **kwargs: called.update(kwargs, model=args[0]), "X": 0, "y": 0, "share": share}
    exec("\n".join(lines), space)  # noqa: S102
    assert repr(called["model"]) == repr(model)
    assert (called["name"], called["seed"], called["test_size"]) == ("churn", 7, 0.2)


def test_code_of_nested_parts_stays_narrow_and_says_the_same() -> None:
    columns = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
                ["first", "second", "third"],
            ),
            ("texts", make_pipeline(SimpleImputer(fill_value="a 'b'"), OneHotEncoder()), ["fourth"]),
        ]
    )
    model = make_pipeline(columns, RandomForestClassifier(50, min_impurity_decrease=1e-5))
    text = code.of(TrainSpec.of(model, name="churn", seed=7), model)
    assert max(map(len, text.splitlines())) <= 88
    called: list[Any] = []
    text = text.replace("yard.train(", "train(")
    exec(text, {"train": lambda estimator, *_, **__: called.append(estimator), "X": 0, "y": 0})  # noqa: S102
    assert repr(called[0]) == repr(model)


def test_a_thousand_runs_are_listed_at_once(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for i in range(1000):
        folder = root / f"churn-20260101-{i:06d}-abcdef"
        folder.mkdir(parents=True)
        (folder / runlog.FILE).touch()
    found = yard.trainings()
    assert len(found) == 1000
    assert [run.id for run in found[:2]] == ["churn-20260101-000999-abcdef", "churn-20260101-000998-abcdef"]
    assert found[0].name == "churn"
