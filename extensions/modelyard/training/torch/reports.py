"""`python -m modelyard.training.torch.reports FOLDER`: the charts of a trained module, from what it answered.

A process of its own, without PyTorch: scikit-learn, which computes them, would add to the training's memory.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.training import evaluate
from modelyard.training.journal import Journal

FILE = "answers.npz"
_ROWS = 50_000


def tell(journal: Journal, truth: NDArray[Any], answers: NDArray[Any], labels: list[str] | None, seed: int) -> None:
    """Compute the charts and tell the log. `truth`: numbers of classes, or targets; `answers`: probabilities
    (n, classes), or predictions (n,); `labels` of the classes, None for numbers. What fails is a warning."""
    if len(truth) > _ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(truth), _ROWS, replace=False))
        truth, answers, sampled = truth[chosen], answers[chosen], _ROWS
    else:
        sampled = 0
    journal.flush()
    file = journal.folder / FILE
    try:
        np.savez(file, truth=truth, answers=answers, labels=np.asarray(labels or [], dtype=str), more=[sampled, seed])
        done = subprocess.run([sys.executable, "-m", __name__, str(journal.folder)], capture_output=True, text=True)
    except OSError as error:  # a chart must not cost the user the model
        journal.say("warning", text=f"no reports: {error}")
        return
    finally:
        file.unlink(missing_ok=True)
    if done.returncode:
        journal.say("warning", text=f"reports: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")


def main(folder: Path) -> None:
    """Write the reports."""
    journal = Journal(folder)
    with np.load(folder / FILE) as found:
        truth, answers, labels = found["truth"], found["answers"], found["labels"].tolist()
        sampled, seed = int(found["more"][0]) or None, int(found["more"][1])
    made: dict[str, Callable[[], Any]]
    if labels:
        names = np.asarray(labels)
        given = evaluate.Answers(labels, names[truth], names[answers.argmax(axis=1)], answers, True, sampled)
        made = {
            "roc": lambda: evaluate.roc(given),
            "pr": lambda: evaluate.precision_recall(given),
            "confusion": lambda: evaluate.confusion(given),
            "calibration": lambda: evaluate.calibration(given),
        }
    else:
        made = {"residuals": lambda: evaluate.residuals(answers, truth, sampled, seed)}
    for name, make in made.items():
        content = make()
        if content is not None:
            journal.report(name, content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
