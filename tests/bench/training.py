"""What training in a process of its own costs over a plain script that does the same: the same rows, split, fit,
metrics and a model on disk. Peak memory is what no file backs (RssAnon), polled, until the model is there.

    python tests/bench/training.py sklearn [--rows 200000] [--repeats 5]

Fits take about ten seconds. Both take turns, and what others do on the machine only ever adds, so the least of each is
what is compared; the median beside it tells how noisy it was. The script maps its rows from a file too, so
that mapping them counts for nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MB = 1e6
PLAIN = """
import json, sys, time
import numpy as np, cloudpickle
from sklearn.model_selection import train_test_split
from sklearn.metrics import check_scoring
model = cloudpickle.load(open(sys.argv[1] + "/model.in", "rb"))
X, y = np.load(sys.argv[1] + "/X.npy", mmap_mode="r"), np.load(sys.argv[1] + "/y.npy")
X, X_held, y, y_held = train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)
began = time.monotonic()
model.fit(X, y)
took = time.monotonic() - began
cloudpickle.dump(model, open(sys.argv[1] + "/model.pkl", "wb"))
told = check_scoring(model, ["accuracy", "roc_auc", "neg_log_loss"])(model, X_held, y_held)
print(json.dumps({"fit": took, "accuracy": told["accuracy"]}))
"""


@dataclass(frozen=True)
class Cost:
    """`fit`: seconds of the fit alone; `model`: seconds from the call to the model on disk; `cpu`: seconds until then;
    `peak`: bytes that no file backs; `accuracy` on the held-out rows."""

    fit: float
    model: float
    cpu: float
    peak: float
    accuracy: float


def watch(process: psutil.Process, model: Path) -> tuple[float, float]:
    """Processor seconds and peak bytes of a process until its model is on disk."""
    cpu = peak = 0.0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, float(status.partition("RssAnon:")[2].split()[0]) * 1024)
            times = process.cpu_times()
            cpu = times.user + times.system
        except (OSError, IndexError, psutil.Error):
            break
        if model.exists():
            break
        time.sleep(0.005)
    return cpu, peak


def plain(folder: Path) -> Cost:
    """The script."""
    target = folder / "model.pkl"
    target.unlink(missing_ok=True)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", PLAIN, str(folder)], stdout=subprocess.PIPE, text=True)
    cpu, peak = watch(psutil.Process(process.pid), target)
    seconds = time.monotonic() - began
    told = json.loads(process.communicate()[0])
    return Cost(told["fit"], seconds, cpu, peak, told["accuracy"])


def ours(folder: Path, model: Any) -> Cost:
    """`yard.train`, as a notebook calls it."""
    from modelyard.training import record
    from modelyard.training.options import SklearnOptions
    from modelyard.training.order import Order, start
    from modelyard.training.spec import TrainSpec

    X, y = np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy")
    began = time.monotonic()
    run = start(Order(TrainSpec.of(model), model, (X, y), None, SklearnOptions()))
    cpu, peak = watch(psutil.Process(run.progress.pid), run.folder / record.MODEL)
    seconds = time.monotonic() - began
    run.wait()
    return Cost(record.load(run.folder)["fit"]["seconds"], seconds, cpu, peak, run.metrics["accuracy"])


def compare(name: str, model: Any, folder: Path, repeats: int) -> None:
    """Print both and what ours costs more."""
    import cloudpickle

    (folder / "model.in").write_bytes(cloudpickle.dumps(model))
    pairs = [(plain(folder), ours(folder, model)) for _ in range(repeats)]
    assert all(a.accuracy == b.accuracy for a, b in pairs), "the models differ"

    def figures(what: str) -> tuple[float, float, float]:
        """The least of the script's and of ours, and the ratio of their medians."""
        sides = [[getattr(pair[side], what) for pair in pairs] for side in (0, 1)]
        return min(sides[0]), min(sides[1]), statistics.median(sides[1]) / statistics.median(sides[0])

    print(f"{name}, least of {repeats}, script and yard.train:")
    for what, label in (("fit", "fit"), ("model", "call to model on disk"), ("cpu", "processor until then")):
        a, b, medians = figures(what)
        print(f"  {label}: {a:.2f} s, {b:.2f} s, ratio {b / a:.3f} (of medians {medians:.3f})")
    a, b, _ = figures("peak")
    print(f"  peak memory: {a / MB:.0f} MB, {b / MB:.0f} MB, {(b - a) / MB:+.1f} MB")


def sklearn(rows: int, repeats: int) -> None:
    """Estimators whose iterations are told in different ways."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.naive_bayes import GaussianNB

    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 20))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + random.normal(size=rows) > 0).astype(int)
    models = {
        "HistGradientBoosting (printed)": HistGradientBoostingClassifier(
            max_iter=480, max_leaf_nodes=63, early_stopping=False, random_state=0
        ),
        "RandomForest (each tree)": RandomForestClassifier(70, max_samples=0.2, n_jobs=2, random_state=0),
        "GaussianNB (elapsed)": GaussianNB(),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["MODELYARD_RUNS"] = str(folder / "runs")
        os.environ["OMP_NUM_THREADS"] = "1"  # several wait for each other by spinning, which a shared machine punishes
        np.save(folder / "X.npy", X)
        np.save(folder / "y.npy", y)
        del X, y
        for name, model in models.items():
            compare(name, model, folder, repeats)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["sklearn"])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    sklearn(given.rows, given.repeats)


if __name__ == "__main__":
    main()
