"""What goes wrong in a training process is said as what it was, and costs no more than it must. Real processes, few of
them: each imports scikit-learn."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

import modelyard as yard
from harness.wait import eventually
from modelyard.errors import NotFound, TrainingFailed, TrainingStopped
from modelyard.training import faults, runlog, usage
from modelyard.training.options import SklearnOptions
from modelyard.training.order import Order, start
from modelyard.training.progress import RunState
from modelyard.training.run import TrainingRun
from modelyard.training.spec import TrainSpec

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


class Doing(ClassifierMixin, BaseEstimator):
    """Does what `what` names while it is fitted."""

    def __init__(self, what: str, place: str) -> None:
        self.what = what
        self.place = place

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        getattr(self, f"_{self.what}")()
        return self

    def _workers(self) -> None:
        from joblib import Parallel, delayed

        Parallel(2, max_nbytes=1000)(delayed(_hang)(np.zeros(10_000), self.place, i) for i in range(2))

    def _disk(self) -> None:
        """Leaves a forked process behind, and the disk full."""
        import multiprocessing
        import resource

        multiprocessing.get_context("fork").Process(target=_hang, args=(None, self.place, 0)).start()
        while not (Path(self.place) / "0").exists():
            pass
        self.ballast = np.zeros(1 << 20, np.uint8)  # more than a file may hold from now on
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))


def _hang(_rows: Any, place: str, number: int) -> None:
    import threading

    (Path(place) / str(number)).write_text(str(os.getpid()))
    threading.Event().wait()


def begin(estimator: Any, **functions: Any) -> Any:
    return start(Order(TrainSpec.of(estimator), estimator, (X, Y), None, SklearnOptions(importance=False), functions))


def alive(place: Path, count: int) -> list[psutil.Process]:
    def told() -> list[int]:
        return [int(f.read_text() or 0) for f in place.iterdir() if f.name.isdigit()]

    eventually(lambda: len(told()) == count and all(told()))
    return [psutil.Process(pid) for pid in told()]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_stop_and_pause_reach_a_run_with_workers_but_the_interrupt_does_not(tmp_path: Path) -> None:
    run = begin(Doing("workers", str(tmp_path)))
    workers = alive(tmp_path, 2)
    pid = run.progress.pid
    assert list(Path("/dev/shm").glob(f"joblib_memmapping_folder_{pid}_*"))
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, signal.SIGINT)
    attached = yard.attach(run.id)  # as another kernel does
    attached.pause()
    assert run.state is RunState.paused
    eventually(lambda: all(p.status() == psutil.STATUS_STOPPED for p in [psutil.Process(pid), *workers]))
    paused = run.elapsed
    attached.resume()
    assert run.state is RunState.running
    assert run.elapsed >= paused
    attached.pause()
    run.stop(wait=60)
    assert (run.state, attached.state) == (RunState.stopped, RunState.stopped)
    eventually(lambda: gone(workers))
    eventually(lambda: not list(Path("/dev/shm").glob(f"*{pid}*")))
    with pytest.raises(TrainingStopped, match="before it had a model"):
        _ = attached.model


def test_a_kill_ends_workers_and_leaves_no_shared_memory(tmp_path: Path) -> None:
    run = begin(Doing("workers", str(tmp_path)))
    workers = alive(tmp_path, 2)
    run.pause()
    assert run.kill().state is RunState.stopped
    eventually(lambda: gone(workers))
    assert not list(Path("/dev/shm").glob(f"*{run.progress.pid}*"))


def test_a_stop_keeps_the_trees_so_far() -> None:
    run = begin(HistGradientBoostingClassifier(max_iter=10**6, max_leaf_nodes=3))
    eventually(lambda: run.progress.done > 3, timeout=60)
    assert run.progress.of == 10**6
    assert run.progress.remaining(run.progress.told) > 0
    run.stop(wait=60)
    assert run.state is RunState.stopped
    assert 3 < run.model.n_iter_ < 10**6
    assert run.model.score(X, Y) > 0.9
    assert run.metrics["accuracy"] > 0.9
    assert run.curves["val_log_loss"][0][0] == 1
    assert run.best["step"] >= 1
    assert "HistGradientBoostingClassifier(max_iter=1000000, max_leaf_nodes=3)" in run.code.replace(
        "\n" + " " * 35, " "
    )
    assert yard.trainings()[0].id == run.id
    with pytest.raises(NotFound, match="no report 'roc'"):
        run.report("roc")  # what was still to be computed was left out


def test_a_full_disk_fails_the_run_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    run = begin(Doing("disk", str(tmp_path)))
    left = alive(tmp_path, 1)
    with pytest.raises(TrainingFailed, match=r"disk is full.*Free disk space"):
        run.wait(60)
    assert not [f for f in run.folder.iterdir() if f.suffix == ".part" or f.name == "model.pkl"]
    eventually(lambda: gone(left))  # a forked process does not outlive the run
    with pytest.raises(TrainingFailed):
        _ = run.model


def test_a_run_that_dies_after_its_model_was_saved_keeps_it(tmp_path: Path) -> None:
    place = str(tmp_path / "metric")
    os.mkdir(place)
    run = begin(LogisticRegression(), slow=lambda model, X, y: _hang(None, place, 0))
    alive(Path(place), 1)
    os.kill(run.progress.pid, signal.SIGKILL)
    with pytest.raises(TrainingFailed, match="SIGKILL"):
        run.wait(60)
    assert run.progress.has_model
    assert run.model.predict(X[:3]).shape == (3,)
    assert run.example.shape == (5, 3)


def test_a_process_that_leaves_without_a_word(tmp_path: Path) -> None:
    TrainSpec("mine", "Mine").save(tmp_path)
    process = subprocess.Popen(["sh", "-c", "exit 3"])
    runlog.append(tmp_path, "launched", pid=process.pid, created=0.0)
    with pytest.raises(TrainingFailed, match="ended with status 3"):
        TrainingRun(tmp_path, process).wait(30)


def test_a_log_that_cannot_be_written_does_not_hide_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_fields: Any) -> None:
        raise OSError(28, "No space left on device")

    TrainSpec("mine", "Mine").save(tmp_path)
    process = subprocess.Popen(["true"])
    runlog.append(tmp_path, "launched", pid=process.pid, created=0.0)
    process.wait()
    monkeypatch.setattr(runlog, "append", full)
    assert TrainingRun(tmp_path, process).state is RunState.failed


class Strange(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_what_is_said_of_an_error() -> None:
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 60, np.uint8)
    told = faults.told(raised.value)
    assert told["error"].startswith("the memory ran out: ")
    assert "n_jobs" in told["remedy"]
    assert "np.empty" in told["traceback"]
    assert faults.told(Strange())["error"] == "Strange"
    assert faults.told(OSError(28, "No space left", "/home/x"))["error"] == "the disk is full at /home/x: No space left"
    assert faults.told(SystemExit(2)) == {"error": "SystemExit: 2", "traceback": ""}


def test_a_gpu_that_failed_is_told_by_what_it_printed() -> None:
    said = "instance of 'c10::AcceleratorError'\n  what():  CUDA error: device-side assert triggered"
    assert "out of range" in faults.aborted(said)["error"]
    assert faults.aborted("something else") == {}


def test_whether_the_system_killed_for_want_of_memory(tmp_path: Path) -> None:
    group, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "pod").mkdir(parents=True)
    group.write_text("0::/pod\n")
    assert faults.oom_kills(group, root) is None
    (root / "pod" / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert faults.oom_kills(group, root) == 2
    (root / "memory" / "old").mkdir(parents=True)
    (root / "memory" / "old" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    group.write_text("5:cpu:/old\n4:memory:/old\n")
    assert faults.oom_kills(group, root) == 5
    assert faults.killed(1, 2, by_kill=False)["error"] == "the memory ran out: the system killed the training process"
    assert faults.killed(2, 2, by_kill=True)["error"] == "the training process was killed by SIGKILL"
    assert "probably the memory ran out" in faults.killed(None, None, by_kill=True)["error"]
    assert faults.killed(2, 2, by_kill=False)["error"] == "the training process is gone"


def test_what_is_printed_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    output = tmp_path / "output.log"
    with output.open("ab", buffering=0) as log:
        for i in range(2_000):
            log.write(b"%07d\n" % i * 600)
        usage.bound(output)
        log.write(b"the end\n")
    kept = output.read_bytes()
    assert len(kept) < usage.KEPT + 100
    assert kept.startswith(b"[what was printed before is cut off]\n000")
    assert kept.endswith(b"0001999\nthe end\n")
    usage.bound(output)
    assert output.read_bytes() == kept
