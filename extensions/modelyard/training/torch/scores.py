"""The default metrics, as scikit-learn computes them and under the same names; in numpy, since importing scikit-learn
would add more to a training's memory than the rows of most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def classification(truth: NDArray[np.int64], probabilities: Numbers) -> dict[str, float]:
    """accuracy, roc_auc (of several classes: the mean of each against the rest), log_loss. `truth` (n,) are numbers of
    classes, `probabilities` (n, classes). What needs a class that is not there is left out."""
    found = {"accuracy": float(np.mean(probabilities.argmax(axis=1) == truth))}
    classes = probabilities.shape[1]
    there = np.bincount(truth, minlength=classes)
    if classes > 1 and (there > 0).all():
        sides = [1] if classes == 2 else range(classes)
        found["roc_auc"] = float(np.mean([_auc(truth == c, probabilities[:, c]) for c in sides]))
    least = np.finfo(probabilities.dtype).eps
    chosen = np.clip(probabilities[np.arange(len(truth)), truth], least, 1 - least)
    found["log_loss"] = float(-np.log(chosen).mean())
    return found


def regression(truth: Numbers, predicted: Numbers) -> dict[str, float]:
    """r2, mae, rmse of numbers (n,)."""
    error = truth - predicted
    spread = float(np.square(truth - truth.mean()).sum())
    found = {"r2": 1 - float(np.square(error).sum()) / spread} if spread else {}
    return found | {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt(np.square(error).mean()))}


def _auc(positive: NDArray[np.bool_], score: Numbers) -> float:
    """The area under the ROC curve: the share of pairs in the right order, ties counting half (Mann-Whitney U)."""
    order = np.sort(score[~positive])
    wins = np.searchsorted(order, score[positive], "left") + np.searchsorted(order, score[positive], "right")
    return float(wins.sum()) / (2 * len(order) * int(positive.sum()))


def split(
    rows: int, share: float, seed: int, classes: NDArray[Any] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers to train on and to hold out: `share` of all, of each of `classes` (n,) in its proportion, where it
    has rows for both."""
    rng = np.random.default_rng(seed)
    groups = [np.arange(rows)] if classes is None else _groups(classes)
    kept, held = [], []
    for group in groups:
        mixed = rng.permutation(group)
        count = min(len(group) - 1, max(1, round(len(group) * share)))
        held.append(mixed[:count])
        kept.append(mixed[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def _groups(classes: NDArray[Any]) -> list[NDArray[np.int64]]:
    order = np.argsort(classes, kind="stable")
    edges = np.flatnonzero(np.diff(classes[order])) + 1
    return np.split(order, edges)
