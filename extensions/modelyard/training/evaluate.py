"""What charts of a model are drawn from, computed on held-out rows, as small JSON documents (`Journal.report`).

| report | of | content |
| --- | --- | --- |
| roc | classifiers | classes: [{label, auc, fpr: [], tpr: []}]; of two classes the second, of up to 10 each against
the rest |
| pr | classifiers | classes: [{label, average_precision, recall: [], precision: []}], as roc |
| confusion | classifiers | labels: [], counts: [[true by predicted]]; beyond 20 classes the rare ones are "other" |
| calibration | two classes | label, brier, predicted: [], observed: [], rows: [] of ten bins of the predicted
probability |
| residuals | regressors | true: [], predicted: [] of at most 100 rows; edges: [], counts: [] of predicted less true |
| importance | all | score, rows, repeats, columns: [], mean: [], std: []: what the score loses when a column is
shuffled, greatest first, at most 30 columns |
| learning_curve | all, when asked for | score, rows: [], train: [], validation: [] |

Numbers have four significant digits; a document has at most 4 KB. `sampled`, where it is there, is the number of rows
that a report is computed on, when that is not all.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.training import data
from modelyard.training.job import Job
from modelyard.training.scores import task

LIMIT = 4096
"""Bytes of a report."""
_ROWS, _POINTS, _CLASSES, _LABELS, _COLUMNS = 50_000, 100, 10, 20, 30
_IMPORTANCE_ROWS, _REPEATS, _SECONDS = 1_000, 3, 3.0
_SHARES = (0.1, 0.325, 0.55, 0.775, 1.0)


def report(job: Job, model: Any, rows: tuple[Any, Any], held: tuple[Any, Any]) -> None:
    """All reports that apply to the model. One that fails is a warning; a stop leaves out those that are still to
    come."""
    made: dict[str, Callable[[], Any]] = {}
    kind = task(model)
    if kind != "other":
        made |= _of_answers(kind, model, held, job.spec.seed)
    if job.options.importance and kind != "other":
        made["importance"] = lambda: importance(model, *held, job.spec.seed)
    if job.options.learning_curve and kind != "other":
        made["learning_curve"] = lambda: learning_curve(model, rows, held, job.spec.seed)
    for name, make in made.items():
        if job.control.stopping:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = make()
        except Exception as error:  # a chart must not cost the user the model
            job.journal.say("warning", text=f"report {name}: {type(error).__name__}: {error}")
            continue
        if content is not None:
            job.journal.report(name, content)


@dataclass(frozen=True)
class Answers:
    """A classifier's answers: true and predicted labels, `scores` (rows, classes) that rise with each class, or None,
    and whether these are probabilities."""

    classes: list[Any]
    true: Any
    predicted: Any
    scores: Any
    probabilities: bool
    sampled: int | None


def _of_answers(kind: str, model: Any, held: tuple[Any, Any], seed: int) -> dict[str, Callable[[], Any]]:
    found: list[Any] = []

    def once(make: Callable[[Any], Any]) -> Callable[[], Any]:
        def made() -> Any:
            if not found:
                rows = data.sample(*held, _ROWS, seed)
                sampled = _ROWS if data.count(held[0]) > _ROWS else None
                found.append(answers(model, *rows, sampled) if kind == "classification" else (model, *rows, sampled))
            return make(found[0])

        return made

    if kind == "regression":
        return {"residuals": once(lambda given: residuals(given[0].predict(given[1]), given[2], given[3], seed))}
    charts: dict[str, Callable[[Answers], Any]] = {
        "roc": roc,
        "pr": precision_recall,
        "confusion": confusion,
        "calibration": calibration,
    }
    return {name: once(make) for name, make in charts.items()}


def answers(model: Any, X: Any, y: Any, sampled: int | None) -> Answers:
    """What a classifier says of these rows."""
    import numpy as np

    classes = list(model.classes_)
    probabilities = hasattr(model, "predict_proba")
    scores = None
    if probabilities:
        scores = model.predict_proba(X)
        predicted = np.asarray(model.classes_)[scores.argmax(axis=1)]
    else:
        predicted = model.predict(X)
        if hasattr(model, "decision_function"):
            scores = model.decision_function(X)
            scores = np.column_stack([-scores, scores]) if scores.ndim == 1 else scores
    return Answers(classes, np.asarray(y), predicted, scores, probabilities, sampled)


def _judged(given: Answers) -> list[int]:
    """Columns of the scores that a curve is drawn of."""
    if given.scores is None or not 2 <= len(given.classes) <= _CLASSES:
        return []
    seen = [i for i, label in enumerate(given.classes) if 0 < (given.true == label).sum() < len(given.true)]
    return [i for i in seen if len(given.classes) > 2 or i == 1]


def roc(given: Answers) -> Any:
    """Receiver operating characteristic."""
    from sklearn.metrics import auc, roc_curve

    curves = []
    for i in _judged(given):
        fpr, tpr, _ = roc_curve(given.true == given.classes[i], given.scores[:, i])
        curves.append(({"label": _label(given.classes[i]), "auc": round4(auc(fpr, tpr))}, {"fpr": fpr, "tpr": tpr}))
    return _curves(curves, given.sampled)


def precision_recall(given: Answers) -> Any:
    """Precision over recall."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    for i in _judged(given):
        is_class = given.true == given.classes[i]
        precision, recall, _ = precision_recall_curve(is_class, given.scores[:, i])
        average = round4(average_precision_score(is_class, given.scores[:, i]))
        head = {"label": _label(given.classes[i]), "average_precision": average}
        curves.append((head, {"recall": recall[::-1], "precision": precision[::-1]}))
    return _curves(curves, given.sampled)


def _curves(curves: list[tuple[dict[str, Any], dict[str, Any]]], sampled: int | None) -> Any:
    """As many points of each curve as fit into a report."""
    if not curves:
        return None

    def document(points: int) -> dict[str, Any]:
        parts = [head | {name: thin(values, points) for name, values in series.items()} for head, series in curves]
        return {"classes": parts} | _note(sampled)

    return _within(document, _POINTS)


def confusion(given: Answers) -> Any:
    """How often each class was taken for each."""
    import numpy as np
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(given.true, given.predicted, labels=given.classes)
    labels = [_label(label) for label in given.classes]
    if len(labels) > _LABELS:
        order = np.argsort(-counts.sum(axis=1), kind="stable")
        kept, rest = np.sort(order[: _LABELS - 1]), order[_LABELS - 1 :]
        groups = [[i] for i in kept] + [list(rest)]
        counts = np.array([[counts[np.ix_(a, b)].sum() for b in groups] for a in groups])
        labels = [labels[i] for i in kept] + ["other"]
    return {"labels": labels, "counts": counts.tolist()} | _note(given.sampled)


def calibration(given: Answers) -> Any:
    """How often what was predicted with some probability came true, in ten bins of equal width."""
    import numpy as np
    from sklearn.metrics import brier_score_loss

    if not given.probabilities or len(given.classes) != 2:
        return None
    probability, is_class = given.scores[:, 1], given.true == given.classes[1]
    bins = np.minimum((10 * probability).astype(int), 9)
    rows = np.bincount(bins, minlength=10)
    some = rows > 0
    predicted = np.bincount(bins, probability, 10)[some] / rows[some]
    observed = np.bincount(bins, is_class, 10)[some] / rows[some]
    return {
        "label": _label(given.classes[1]),
        "brier": round4(brier_score_loss(is_class, probability)),
        "predicted": [round4(v) for v in predicted],
        "observed": [round4(v) for v in observed],
        "rows": rows[some].tolist(),
    } | _note(given.sampled)


def residuals(predicted: Any, true: Any, sampled: int | None, seed: int) -> Any:
    """Predicted and true values, and how they differ; None for several targets."""
    import numpy as np

    true, predicted = np.asarray(true, float), np.asarray(predicted, float)
    if true.ndim != 1 or predicted.shape != true.shape:
        return None
    counts, edges = np.histogram(predicted - true, bins=20)
    a, b = data.sample(true, predicted, _POINTS, seed)
    return {
        "true": [round4(v) for v in a],
        "predicted": [round4(v) for v in b],
        "edges": [round4(v) for v in edges],
        "counts": counts.tolist(),
    } | _note(sampled)


def importance(model: Any, X: Any, y: Any, seed: int) -> Any:
    """Permutation importance (Breiman, Random Forests, 2001) of the input columns on at most 1000 held-out rows. Fewer
    rows and repeats where it would take more than three seconds; None where even that is not enough."""
    import numpy as np

    name, judge = _judge(model)
    X, y = data.sample(X, y, _IMPORTANCE_ROWS, seed)
    if hasattr(X, "tocsc"):
        X = X.tocsc()
    columns = data.columns(X)
    began = time.monotonic()
    base = judge(model, X, y)
    one = time.monotonic() - began
    repeats = min(_REPEATS, int(_SECONDS / max(one * len(columns), 1e-9)))
    if repeats == 0:
        return None
    random = np.random.default_rng(seed)
    drops = np.empty((len(columns), repeats))
    for i in range(len(columns)):
        for repeat in range(repeats):
            drops[i, repeat] = base - judge(model, _shuffled(X, i, random), y)
    mean, std = drops.mean(axis=1), drops.std(axis=1)
    order = np.argsort(-mean, kind="stable")

    def document(most: int) -> dict[str, Any]:
        chosen = order[:most]
        return {
            "score": name,
            "rows": data.count(X),
            "repeats": repeats,
            "columns": [_label(columns[i]) for i in chosen],
            "mean": [round4(v) for v in mean[chosen]],
            "std": [round4(v) for v in std[chosen]],
        }

    return _within(document, _COLUMNS)


def _shuffled(X: Any, i: int, random: Any) -> Any:
    """X with its column `i` shuffled."""
    order = random.permutation(data.count(X))
    changed = X.copy()
    if hasattr(X, "iloc"):
        changed.isetitem(i, X.iloc[order, i].set_axis(X.index))
    else:
        changed[:, [i]] = X[order][:, [i]]
    return changed


def learning_curve(model: Any, rows: tuple[Any, Any], held: tuple[Any, Any], seed: int) -> Any:
    """The score on training and held-out rows of the same estimator fitted on growing shares of the rows."""
    from sklearn.base import clone

    name, judge = _judge(model)
    total, held = data.count(rows[0]), data.sample(*held, _ROWS, seed)
    counts, train, validation = [], [], []
    for share in _SHARES:
        X, y = data.sample(*rows, max(2, round(share * total)), seed)
        part = clone(model).fit(X, y)
        counts.append(data.count(X))
        train.append(round4(judge(part, *data.sample(X, y, _ROWS, seed))))
        validation.append(round4(judge(part, *held)))
    return {"score": name, "rows": counts, "train": train, "validation": validation}


def _judge(model: Any) -> tuple[str, Callable[[Any, Any, Any], float]]:
    """A score that is greater for better answers: probabilities are worth more than labels."""
    from sklearn.metrics import get_scorer

    if task(model) == "regression":
        name = "r2"
    elif hasattr(model, "predict_proba"):
        name = "roc_auc" if len(model.classes_) == 2 else "roc_auc_ovr"
    else:
        name = "balanced_accuracy"
    scorer = get_scorer(name)
    return name, lambda model, X, y: float(scorer(model, X, y))


def round4(value: float) -> float | None:
    """Four significant digits; None for what is no finite number, which JSON does not know."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def thin(values: Any, most: int) -> list[float | None]:
    """At most `most` of these, evenly spread, the first and the last among them."""
    import numpy as np

    chosen = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    return [round4(v) for v in np.asarray(values)[chosen]]


def _label(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _note(sampled: int | None) -> dict[str, Any]:
    return {} if sampled is None else {"sampled": sampled}


def _within(document: Callable[[int], dict[str, Any]], most: int) -> dict[str, Any]:
    """The document with as many items as fit into LIMIT bytes."""
    made = document(most)
    while most > 5 and len(json.dumps(made, separators=(",", ":"))) > LIMIT:
        most = int(0.8 * most)
        made = document(most)
    return made
