"""Random forests, told tree by tree within their own fit.

Growing them in steps by warm_start gives the same model, but each step waits for its last tree and copies the rows
anew: measured with two jobs, 9 % more time and 38 MB more memory. So the template that a forest clones its trees from
is one that tells when it is fitted, and the trees are plain ones again afterwards.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

from modelyard.training.control import Stop
from modelyard.training.watch import Watch

NAMES = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")


def fits(estimator: Any) -> bool:
    """Whether `estimator`, one of scikit-learn's, is a forest that is built of such templates."""
    return type(estimator).__name__ in NAMES and hasattr(estimator.estimator, "_fit")


def fit(forest: Any, X: Any, y: Any, extra: Mapping[str, Any], watch: Watch) -> Any:
    """Fit; after a stop no tree is begun any more. A `ways.Fit`."""
    template, asked = forest.estimator, forest.oob_score
    done: list[Any] = []
    lock = threading.Lock()  # trees are built in threads

    class Told(type(template)):  # type: ignore[misc]
        def _fit(self, *args: Any, **kwargs: Any) -> Any:
            if watch.control.stopping:
                forest.oob_score = False  # there are trees without an answer
                return self
            super()._fit(*args, **kwargs)
            with lock:
                done.append(self)
                watch.iteration(len(done), partial=lambda: _part(forest, done))
            return self

    watch.begin("tree", forest.n_estimators)
    forest.estimator = Told()
    try:
        forest.fit(X, y, **extra)
    finally:
        forest.estimator, forest.oob_score = template, asked
    forest.estimators_ = [tree for tree in forest.estimators_ if hasattr(tree, "tree_")]
    if not forest.estimators_:
        raise Stop
    forest.estimator_ = type(template)()
    for tree in forest.estimators_:
        tree.__class__ = type(template)
    forest.set_params(n_estimators=len(forest.estimators_))
    return forest


def _part(forest: Any, trees: list[Any]) -> Any:
    """The trees so far, as a model."""
    part = copy.copy(forest)
    part.estimators_, part.n_jobs = list(trees), 1
    return part
