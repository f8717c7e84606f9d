"""The space of common estimators, where none is given: the parameters that matter most, over the ranges in which they
usually do.

After Probst, Boulesteix and Bischl, "Tunability: importance of hyperparameters of machine learning algorithms", JMLR
20 (2019), for linear models, SVMs, trees, forests and boosting; narrowed where a fit would take very long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidInput
from modelyard.training.search.space import Choice, Range, Space

_Parts = dict[str, Range | Choice]
_BALANCE = Choice((None, "balanced"))
_TREE: _Parts = {"max_depth": Range(2, 30, log=True), "min_samples_leaf": Range(1, 50, log=True)}
_FOREST: _Parts = {
    "n_estimators": Range(50, 500, log=True),
    "max_features": Range(0.1, 1.0),
    "min_samples_leaf": Range(1, 20, log=True),
    "max_depth": Choice((None, 5, 10, 20)),
}
_RATE = Range(0.01, 0.3, log=True)
_SHARE = Range(0.5, 1.0)
_PENALTY = Range(1e-3, 10.0, log=True)
_BOOSTING: _Parts = {
    "learning_rate": _RATE,
    "n_estimators": Range(50, 500, log=True),
    "max_depth": Range(2, 8),
    "subsample": _SHARE,
    "min_samples_leaf": Range(1, 50, log=True),
}
_HISTOGRAM: _Parts = {
    "learning_rate": _RATE,
    "max_iter": Range(50, 500, log=True),
    "max_leaf_nodes": Range(7, 127, log=True),
    "min_samples_leaf": Range(5, 100, log=True),
    "l2_regularization": _PENALTY,
}
_NEIGHBOURS: _Parts = {
    "n_neighbors": Range(1, 50, log=True),
    "weights": Choice(("uniform", "distance")),
    "p": Choice((1, 2)),
}
_NETWORK: _Parts = {
    "hidden_layer_sizes": Choice(((50,), (100,), (200,), (50, 50), (100, 50))),
    "alpha": Range(1e-6, 1e-1, log=True),
    "learning_rate_init": Range(1e-4, 1e-2, log=True),
}
_SVM: _Parts = {"C": Range(1e-2, 1e3, log=True), "gamma": Range(1e-4, 10.0, log=True)}
_SGD: _Parts = {
    "alpha": Range(1e-6, 1e-1, log=True),
    "penalty": Choice(("l2", "l1", "elasticnet")),
    "l1_ratio": Range(0.0, 1.0),
}
_XGBOOST: _Parts = {
    "learning_rate": _RATE,
    "n_estimators": Range(50, 500, log=True),
    "max_depth": Range(2, 10),
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "min_child_weight": Range(1.0, 20.0, log=True),
    "reg_lambda": _PENALTY,
}
_LIGHTGBM: _Parts = {
    "learning_rate": _RATE,
    "n_estimators": Range(50, 500, log=True),
    "num_leaves": Range(7, 127, log=True),
    "min_child_samples": Range(5, 100, log=True),
    "colsample_bytree": _SHARE,
    "reg_lambda": _PENALTY,
}
_ALPHA: _Parts = {"alpha": Range(1e-4, 100.0, log=True)}

SPACES: dict[str, Space] = {
    "LogisticRegression": {"C": Range(1e-3, 1e3, log=True), "class_weight": _BALANCE},
    "Ridge": {"alpha": Range(1e-3, 1e3, log=True)},
    "RidgeClassifier": {"alpha": Range(1e-3, 1e3, log=True), "class_weight": _BALANCE},
    "Lasso": _ALPHA,
    "ElasticNet": _ALPHA | {"l1_ratio": Range(0.05, 1.0)},
    "SVC": _SVM,
    "SVR": _SVM | {"epsilon": Range(1e-3, 1.0, log=True)},
    "LinearSVC": {"C": Range(1e-3, 1e2, log=True), "class_weight": _BALANCE},
    "LinearSVR": {"C": Range(1e-3, 1e2, log=True)},
    "DecisionTreeClassifier": _TREE,
    "DecisionTreeRegressor": _TREE,
    "RandomForestClassifier": _FOREST,
    "RandomForestRegressor": _FOREST,
    "ExtraTreesClassifier": _FOREST,
    "ExtraTreesRegressor": _FOREST,
    "GradientBoostingClassifier": _BOOSTING,
    "GradientBoostingRegressor": _BOOSTING,
    "HistGradientBoostingClassifier": _HISTOGRAM,
    "HistGradientBoostingRegressor": _HISTOGRAM,
    "KNeighborsClassifier": _NEIGHBOURS,
    "KNeighborsRegressor": _NEIGHBOURS,
    "MLPClassifier": _NETWORK,
    "MLPRegressor": _NETWORK,
    "SGDClassifier": _SGD,
    "SGDRegressor": _SGD,
    "XGBClassifier": _XGBOOST,
    "XGBRegressor": _XGBOOST,
    "LGBMClassifier": _LIGHTGBM,
    "LGBMRegressor": _LIGHTGBM,
}
"""By the estimator's class, or one that it is made from."""

TRANSFORMERS: dict[str, Space] = {
    "SimpleImputer": {"strategy": Choice(("mean", "median", "most_frequent"))},
    "KNNImputer": {"n_neighbors": Range(2, 20)},
    "PolynomialFeatures": {"degree": Choice((1, 2))},
    "KBinsDiscretizer": {"n_bins": Range(3, 15)},
    "PCA": {"n_components": Range(0.5, 0.99)},
    "TfidfVectorizer": {"min_df": Range(1, 5), "sublinear_tf": Choice((False, True))},
}
"""Steps before the last one; searched when asked."""

_INNER = ("estimator", "regressor")
"""Where an estimator that wraps another one keeps it."""


def space_for(estimator: Any, *, preprocessing: bool = False) -> _Parts:
    """The space of `estimator`, or of the last step of a pipeline, with the names that `set_params` takes.
    `preprocessing`: of the steps before it too. InvalidInput where none is known."""
    prefix, final = last_step(estimator)
    found = _known(final, SPACES)
    if not found:
        raise InvalidInput(
            f"no space is known for {type(final).__name__}",
            remedy='Give one: space={"name": (low, high), "other": [choices]}.',
        )
    space = {prefix + name: part for name, part in found.items() if name in final.get_params(deep=False)}
    if preprocessing:
        for path, part in estimator.get_params(deep=True).items():
            of_step = {} if _numbers_not(part) else _known(part, TRANSFORMERS)
            space |= {f"{path}__{name}": choice for name, choice in of_step.items()}
    return space


def last_step(estimator: Any, prefix: str = "") -> tuple[str, Any]:
    """The estimator that does the work, and the prefix of its parameters: in a pipeline the last step, in a wrapper
    what is wrapped."""
    steps = getattr(estimator, "steps", None)
    if steps:
        name, inner = steps[-1]
        return last_step(inner, f"{prefix}{name}__")
    if not _known(estimator, SPACES):
        for name in _INNER:
            inner = getattr(estimator, name, None)
            if hasattr(inner, "get_params"):
                return last_step(inner, f"{prefix}{name}__")
    return prefix, estimator


def _known(part: Any, table: Mapping[str, Space]) -> Space:
    return next((table[c.__name__] for c in type(part).__mro__ if c.__name__ in table), {})


def _numbers_not(part: Any) -> bool:
    """Whether it fills in what need not be numbers, of which there is no mean."""
    return getattr(part, "strategy", "mean") in ("most_frequent", "constant")
