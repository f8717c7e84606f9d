"""Searches: most in this process, through the trainer; those that are about processes with real ones."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, ShuffleSplit, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import InvalidInput, NotFound, TrainingFailed
from modelyard.training.control import Control, Stop
from modelyard.training.job import CHECKPOINT, Job, Result
from modelyard.training.journal import Journal
from modelyard.training.options import SearchOptions
from modelyard.training.order import Order, start
from modelyard.training.progress import Progress, ProgressKind, Reader, RunState
from modelyard.training.run import TrainingRun
from modelyard.training.search import reports, trainer
from modelyard.training.search.inferred import space_for
from modelyard.training.search.space import Choice, Range
from modelyard.training.search.trials import Objective
from modelyard.training.spec import TrainSpec


class Moody(ClassifierMixin, BaseEstimator):
    """Fits as its mood is: well, badly, not at all, not until the file `gate` is there, or its process dies."""

    def __init__(self, mood: str = "well", gate: str = "", n_jobs: int | None = -1) -> None:
        self.mood = mood
        self.gate = gate
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any) -> Any:
        import os
        import signal
        import threading
        from pathlib import Path

        if self.mood == "raises":
            raise ValueError("this combination makes no sense")
        if self.mood == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mood == "waits":
            Path(self.gate + ".began").touch()
            while not Path(self.gate).exists():
                threading.Event().wait(0.05)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[-1 if self.mood == "badly" else 0])


def most_first(model: Any, X: Any, y: Any) -> float:
    """The share of the first class among the predictions."""
    return float(np.mean(model.predict(X) == model.classes_[0]))


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_RUNS", str(tmp_path / "runs"))
    for variable in ("MODELYARD_URL", "MODELYARD_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as a class of a notebook's __main__ goes


def rows() -> tuple[pd.DataFrame, Any]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    return X, np.where(X["a"] + 0.5 * rng.normal(size=200) > 0, "yes", "no")


def job(folder: Path, estimator: Any, space: Any = None, data: Any = None, **options: Any) -> Job:
    folder.mkdir(exist_ok=True)
    spec = TrainSpec(name="search", model=type(estimator).__name__, kind="search")
    chosen = SearchOptions(space_for(estimator) if space is None else space, **options)
    return Job(folder, spec, estimator, data or rows(), None, chosen, {}, Journal(folder), Control())


def searched(folder: Path, estimator: Any, space: Any = None, data: Any = None, **options: Any) -> tuple[Result, Any]:
    """Searched in this process: the result, and what the log tells."""
    done = job(folder, estimator, space, data, **({"parallel": 1} | options))
    result = trainer.run(done)
    done.journal.flush()
    return result, Reader(folder).read()


def test_a_search_tells_its_trials_and_fits_the_best_on_all_training_rows(tmp_path: Path) -> None:
    X, y = rows()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    result, told = searched(tmp_path / "run", pipeline, trials=12)
    assert (told.kind, told.of, told.unit, told.done) == (ProgressKind.trials, 12, "trial", 12)
    assert [t["number"] for t in told.trials] == list(range(1, 13))
    assert {t["state"] for t in told.trials} <= {"complete", "pruned"}
    assert set(told.trials[0]["params"]) == {"logisticregression__C", "logisticregression__class_weight"}
    complete = [t for t in told.trials if t["state"] == "complete"]
    best = max(complete, key=lambda t: t["value"])
    assert told.best == {"step": best["number"], "name": "accuracy", "value": best["value"]}
    assert result.model.get_params() | best["params"] == result.model.get_params()
    train_X, test_X, train_y, test_y = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
    alone = clone(pipeline).set_params(**best["params"]).fit(train_X, train_y)
    assert result.metrics["accuracy"] == alone.score(test_X, test_y)
    assert result.params["best.logisticregression__C"] == repr(best["params"]["logisticregression__C"])
    assert result.params["search.space.logisticregression__C"] == '(0.001, 1000.0, "log")'
    assert told.curves["best accuracy"].last == (complete[-1]["number"], best["value"])


def test_the_same_seed_makes_the_same_trials(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier()
    first, second = (searched(tmp_path / str(i), tree, trials=12)[1].trials for i in range(2))
    for trials in (first, second):
        for trial in trials:
            del trial["seconds"]
    assert first == second
    assert len({trial["params"]["max_depth"] for trial in first}) > 1


def test_a_loss_is_made_small_and_shown_as_it_is(tmp_path: Path) -> None:
    X, _ = rows()
    result, told = searched(tmp_path / "run", Ridge(), data=(X, X["a"] + X["b"]), trials=6, metric="mse", pruning=False)
    assert told.best is not None
    assert 0 < told.best["value"] == min(t["value"] for t in told.trials)
    assert result.metrics["mse"] == pytest.approx(result.metrics["rmse"] ** 2)


def test_an_own_metric_with_its_direction_and_an_own_splitter(tmp_path: Path) -> None:
    space = {"mood": Choice(("well", "badly"))}
    for direction, best in (("maximize", "well"), ("minimize", "badly")):
        own = {"metric": most_first, "direction": direction, "cv": KFold(4)}
        result, told = searched(tmp_path / direction, Moody(), space, **own)
        assert told.best is not None
        assert told.best["name"] == "most_first"
        assert result.model.mood == best
        assert "4 folds" in told.source


def test_an_unknown_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no metric 'acuracy'"):
        searched(tmp_path / "run", LogisticRegression(), metric="acuracy")
    with pytest.raises(InvalidInput, match="cv=100 does not fit 8 training rows"):
        searched(tmp_path / "few", Ridge(), data=(np.ones((10, 1)), np.arange(10.0)), cv=100)


def test_a_space_with_fewer_combinations_than_trials_is_tried_whole(tmp_path: Path) -> None:
    space = {"max_depth": Range(1, 3), "criterion": Choice(("gini", "entropy"))}
    _, told = searched(tmp_path / "run", DecisionTreeClassifier(), space, trials=30, pruning=False)
    assert told.of == 6
    assert len({tuple(t["params"].values()) for t in told.trials}) == 6


def test_a_trial_that_raises_has_failed_and_the_search_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    space = {"mood": Choice(("raises", "well", "badly"))}
    result, told = searched(tmp_path / "run", Moody(), space)
    states = {t["params"]["mood"]: (t["state"], t["reason"]) for t in told.trials}
    assert states["raises"] == ("failed", "ValueError: this combination makes no sense")
    assert states["badly"][0] == states["well"][0] == "complete"
    assert result.model.mood in ("well", "badly")
    assert "in fit" in capfd.readouterr().err  # the traceback, for run.logs()


def test_a_search_of_which_all_trials_fail_ends_with_the_first_reason(tmp_path: Path) -> None:
    space = {"mood": Choice(("raises",)), "n_jobs": Choice((1, 2))}
    with pytest.raises(TrainingFailed, match="all 2 trials failed; the first: ValueError: this combination"):
        searched(tmp_path / "run", Moody(), space)


def test_the_last_fit_is_whole_also_after_a_stop(tmp_path: Path) -> None:
    stopped: list[Job] = []

    def stops(model: Any, X: Any, y: Any) -> float:
        stopped[0].control.stopping = True
        return 1.0

    forest, space = RandomForestClassifier(n_estimators=7), {"max_depth": Range(2, 9)}
    stopped.append(job(tmp_path / "early", forest, space, metric=stops, cv=2, parallel=1))
    with pytest.raises(Stop):  # in the middle of the first trial: there is nothing to keep
        trainer.run(stopped[0])
    one_fold = ShuffleSplit(1, random_state=0)
    stopped[0] = job(tmp_path / "run", forest, space, metric=stops, cv=one_fold, parallel=1)
    result = trainer.run(stopped[0])
    stopped[0].journal.flush()
    assert len(Reader(tmp_path / "run").read().trials) == 1
    assert len(result.model.estimators_) == 7


def test_no_trial_begins_after_the_timeout(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    threading.Timer(0.3, gate.touch).start()
    space = {"mood": Choice(("waits",)), "n_jobs": Choice((1, 2, 3))}
    result, told = searched(tmp_path / "run", Moody(gate=str(gate)), space, timeout=0.1)
    assert len(told.trials) == 1
    assert result.model.mood == "waits"


def test_bad_trials_are_pruned_after_two_folds(tmp_path: Path) -> None:
    X, y = rows()
    space = {"C": Range(1e-6, 1e3, log=True)}
    _, told = searched(tmp_path / "run", SVC(), space, data=(X, y), trials=20, cv=5, metric="accuracy")
    pruned = [t for t in told.trials if t["state"] == "pruned"]
    assert pruned
    assert all(t["value"] is not None for t in pruned)
    _, told = searched(tmp_path / "whole", SVC(), space, data=(X, y), trials=20, cv=5, pruning=False)
    assert {t["state"] for t in told.trials} == {"complete"}


def test_reports_are_small_and_say_what_was_found(tmp_path: Path) -> None:
    _, told = searched(tmp_path / "run", DecisionTreeClassifier(), trials=12, pruning=False)
    assert {"history", "parallel", "search_importance"} <= set(told.reports)
    found = {
        p.stem.removeprefix("report-"): json.loads(p.read_text()) for p in (tmp_path / "run").glob("report-*.json")
    }
    best = [v for v in found["history"]["best"] if v is not None]
    assert best == sorted(best)
    assert sum(found["search_importance"]["values"]) == pytest.approx(1, abs=0.01)
    assert len(found["parallel"]["lines"]) == 12
    assert found["trials"]["params.max_depth"] == [t["params"]["max_depth"] for t in told.trials]


@pytest.mark.parametrize("count", [1, 100, 5_000])
def test_reports_of_many_trials_keep_the_best_and_the_shape(count: int) -> None:
    space = {f"parameter_{i}": Range(0.0, 1.0) for i in range(8)} | {"kind": Choice(("a", "b"))}
    rng = np.random.default_rng(0)
    trials = [
        {
            "number": i + 1,
            "state": ("complete", "pruned", "failed")[i % 3],
            "value": None if i % 3 == 2 else float(rng.random()),
            "params": {name: float(rng.random()) for name in list(space)[:-1]} | {"kind": "b"},
            "seconds": 0.1,
            "reason": "",
        }
        for i in range(count)
    ]
    goal = Objective("accuracy", True, lambda model, X, y: 0.0)
    history, lines = reports.history(trials, goal), reports.parallel(trials, space, goal)
    for report in (history, lines):
        assert len(json.dumps(report)) <= 4_096
    assert (history["number"][0], history["number"][-1], history["of"]) == (1, count, count)
    best = max((t for t in trials if t["value"] is not None), key=lambda t: t["value"])
    assert best["number"] in lines["number"]
    assert lines["lines"][0][-1] == 1  # the position of "b"


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    """Begins a search over moods in a process of its own; whatever still runs in the end is killed."""
    begun = []

    def begin(*moods: str, parallel: int) -> TrainingRun:
        spec = TrainSpec(name="moods", model="Moody", kind="search")
        options = SearchOptions({"mood": Choice(moods)}, metric=threads_left, parallel=parallel)
        begun.append(start(Order(spec, Moody(gate=str(tmp_path / "gate")), rows(), None, options)))
        return begun[-1]

    yield begin
    for run in begun:
        run.kill()


def threads_left(model: Any, X: Any, y: Any) -> float:
    """How many threads a fit may use: of its own, and in the libraries below."""
    import os

    from threadpoolctl import threadpool_info

    assert model.n_jobs == 1 or os.environ.get("OMP_NUM_THREADS") is None
    return float(max(pool["num_threads"] for pool in threadpool_info()))


def test_workers_share_the_cores_one_may_die_and_a_stop_keeps_the_best(begin: Any, tmp_path: Path) -> None:
    run = begin("well", "dies", "waits", parallel=2)
    eventually(lambda: len(run.trials) == 2 and (tmp_path / "gate.began").exists(), timeout=60)
    assert run.state is RunState.running
    told = {t["params"]["mood"]: t for t in run.trials}
    assert (told["dies"]["state"], told["well"]["state"]) == ("failed", "complete")
    assert "SIGKILL" in told["dies"]["reason"]
    cores = len(os.sched_getaffinity(0))
    assert told["well"]["value"] <= max(1, cores // 2)
    run.stop(60)
    assert run.state is RunState.stopped
    assert run.best_params == {"mood": "well"}
    assert run.model.mood == "well"
    assert run.model.n_jobs == -1  # the model is as it was given


def test_a_killed_search_goes_on_where_it_was(begin: Any, tmp_path: Path) -> None:
    run = begin("well", "waits", "badly", parallel=1)
    eventually((tmp_path / "gate.began").exists, timeout=60)
    os.killpg(run.progress.pid, signal.SIGKILL)
    eventually(lambda: run.state is RunState.failed)
    before = run.trials
    (tmp_path / "gate").touch()
    (run.folder / f"{CHECKPOINT}.lock").symlink_to("held")
    with (run.folder / CHECKPOINT).open("a") as study:
        study.write('{"op_code": 5, "cut')
    run.resume().wait(60)
    table = json.loads((run.folder / reports.TABLE).read_text())
    assert sorted(table["params.mood"]) == ["badly", "waits", "well"]
    assert table["number"][: len(before)] == [t["number"] for t in before]
    assert table["state"] == ["complete"] * 3
    assert run.state is RunState.succeeded
    assert run.model.mood in table["params.mood"]


def test_a_script_waits_prints_the_best_so_far_and_has_a_run_to_publish(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = rows()
    space = {"C": (1e-3, 10.0, "log"), "class_weight": [None, {"no": 1, "yes": 2}]}
    run = yard.search(LogisticRegression(), X, y, space=space, trials=10, parallel=1, metrics=["f1_macro"])
    assert run.state is RunState.succeeded
    assert set(run.metrics) == {"f1_macro", "accuracy"}
    assert len(run.trials) == 10
    assert set(run.model.predict(X)) == {"yes", "no"}
    assert run.example.columns.tolist() == ["a", "b", "c"]
    assert run.best_params["class_weight"] in (None, {"no": 1, "yes": 2})
    assert run.model.get_params()["C"] == run.best_params["C"]
    assert run.report("history")["number"] == list(range(1, 11))
    with pytest.raises(NotFound, match="no report 'rocks'") as raised:
        run.report("rocks")
    assert "history, parallel" in str(raised.value.remedy)
    assert "yard.search(" in str(run.code)
    assert """space={'C': (0.001, 10.0, "log"), 'class_weight': [None, {'no': 1, 'yes': 2}]},""" in str(run.code)
    printed = capsys.readouterr().out
    assert "10 trials of LogisticRegression at most, 3 folds each" in printed
    assert "best accuracy 0." in printed
    assert "best accuracy" in repr(run)


def test_what_cannot_be_searched_is_refused_at_once() -> None:
    X, y = rows()
    with pytest.raises(InvalidInput, match="no parameter 'c'"):
        yard.search(SVC(), X, y, space={"c": (1, 2)})
    with pytest.raises(InvalidInput, match="no space is known for Moody"):
        yard.search(Moody(), X, y)
    with pytest.raises(InvalidInput, match="trials=0"):
        yard.search(SVC(), X, y, trials=0)

    class Foreign:
        def fit(self, X: Any, y: Any) -> Any:
            return self

    with pytest.raises(InvalidInput, match="parameters of Foreign"):
        yard.search(Foreign(), X, y)
    assert not list(Path(os.environ["MODELYARD_RUNS"]).glob("*"))


def test_progress_of_a_search_that_was_told_without_reasons() -> None:
    told = Progress()
    told.take({"at": 1.0, "event": "trial", "number": 1, "state": "complete", "value": 0.5, "params": {}, "seconds": 1})
    assert told.trials[0]["reason"] is None
