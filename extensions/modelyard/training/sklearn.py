"""The trainer of scikit-learn's estimators: fit one, keep it, and look at it on rows that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from modelyard.training import data, estimate, evaluate, folds, record, scores, ways, weights
from modelyard.training.control import Stop
from modelyard.training.job import Job, Result
from modelyard.training.progress import ProgressKind
from modelyard.training.scores import task
from modelyard.training.watch import ROWS, Watch


def run(job: Job) -> Result:
    """Cross-validate where asked to, fit, keep the model, then score it on the held-out rows."""
    spec, journal, options = job.spec, job.journal, job.options
    X, y = job.take()
    y = data.column(y)
    estimator = prepare(job.model, spec.seed)
    classes = task(estimator) == "classification"
    held = job.held
    if held is None and spec.test_size:
        X, y, *rest = data.split(X, y, spec.test_size, spec.seed, classes)
        held = (rest[0], rest[1])
    extra = weights.apply(estimator, options.class_weight, y)
    params = record.parameters(estimator) | {"seed": str(spec.seed), "test_size": str(spec.test_size)}
    record.params(job.folder, params)
    metrics = folds.cross_validate(job, estimator, (X, y), extra) if options.cv else {}
    model = fit(job, estimator, (X, y), held, extra)
    job.control.gentle = True  # there is a model: a stop leaves out what is still to be computed
    example = data.example(X)
    job.keep(model, example)
    try:
        metrics |= _look(job, model, (X, y), held)
    except Stop:
        journal.say("warning", text="stopped before all metrics were computed")
    return Result(model, example, metrics, params)


def fit(job: Job, estimator: Any, rows: tuple[Any, Any], held: tuple[Any, Any] | None, extra: Mapping[str, Any]) -> Any:
    """`estimator` fitted on `rows`, watched the best way there is."""
    way, journal = ways.of(estimator), job.journal
    journal.source(way.kind, way.text)
    count = data.count(rows[0])
    if way.kind is ProgressKind.elapsed:
        estimate.tell(job, count)
    journal.step(f"Fitting {job.spec.model}")
    sample = None if held is None else data.sample(*held, ROWS, job.spec.seed)
    watch = Watch(journal, job.control, count, lambda: sample)
    began = time.monotonic()
    model = way.fit(estimator, *rows, extra, watch)
    watch.end()
    if not job.control.stopping:
        record.took(job.folder, time.monotonic() - began, count)
    return model


def _look(job: Job, model: Any, rows: tuple[Any, Any], held: tuple[Any, Any] | None) -> dict[str, float]:
    """Metrics and charts on the held-out rows."""
    if held is None:
        return {}
    job.journal.step("Scoring the held-out rows")
    found = scores.score(model, held, job.spec.scorers, job.functions, job.journal.say)
    job.journal.say("metrics", values=found)
    evaluate.report(job, model, rows, held)
    return found


def prepare(estimator: Any, seed: int) -> Any:
    """A clone with `seed` as random_state wherever that parameter is None; the user's own stays untouched."""
    from sklearn.base import clone

    fresh = clone(estimator) if hasattr(estimator, "get_params") else estimator
    if hasattr(fresh, "get_params"):
        open_ones = [
            k for k, v in fresh.get_params(deep=True).items() if v is None and k.split("__")[-1] == "random_state"
        ]
        fresh.set_params(**dict.fromkeys(open_ones, seed))
    return fresh
