"""The estimators that the form offers: a short list that serves most tables, what is installed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from modelyard.errors import NotFound
from modelyard.widgets.forms import Field, fields_of

CLASSIFICATION, REGRESSION = "classification", "regression"
NETWORK = "table_network"
"""Key of the network for tables: it prepares the columns itself, and its training has options of its own."""


@dataclass(frozen=True)
class Estimator:
    """An entry of the list: its classes by task, its main parameters; `own` fields where the class does not say what
    its parameters may be; the package that it `needs`, where that is not its module's."""

    key: str
    label: str
    module: str
    classifier: str = ""
    regressor: str = ""
    main: tuple[str, ...] = ()
    own: tuple[Field, ...] = ()
    needs: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can be used here."""
        return find_spec(self.needs or self.module.partition(".")[0]) is not None

    def cls(self, task: str) -> type[Any]:
        """The class for a task. NotFound when there is none."""
        name = self.classifier if task == CLASSIFICATION else self.regressor
        if not name:
            raise NotFound(f"{self.label} does no {task}", remedy="Choose another estimator.")
        found: type[Any] = getattr(import_module(self.module), name)
        return found

    def fields(self, task: str) -> list[Field]:
        """Its parameters."""
        return list(self.own) if self.own else fields_of(self.cls(task), self.main)

    def does(self, task: str) -> bool:
        """Whether there is one for that task."""
        return bool(self.classifier if task == CLASSIFICATION else self.regressor)


def _booster(rounds: str, depth: int | None) -> tuple[Field, ...]:
    """What gradient boosting outside scikit-learn is asked for."""
    return (
        Field("n_estimators", "integer", 100, low=1, help=rounds),
        Field("learning_rate", "number", None, low=0, high=1, optional=True, help="How much each tree counts."),
        Field("max_depth", "integer", depth, low=-1, optional=True, help="Greatest depth of a tree."),
        Field("subsample", "number", None, low=0, high=1, optional=True, help="Share of the rows for each tree."),
        Field("colsample_bytree", "number", None, low=0, high=1, optional=True, help="Share of the columns per tree."),
        Field("reg_lambda", "number", None, low=0, optional=True, help="L2 penalty on the leaves' values.", main=False),
        Field("reg_alpha", "number", None, low=0, optional=True, help="L1 penalty on the leaves' values.", main=False),
    )


_NETWORK = (
    Field("hidden", "text", (64, 32), help="Widths of the layers before the output."),
    Field("dropout", "number", 0.0, low=0, high=0.99, help="Share of their values left out while training."),
    Field("epochs", "integer", 20, low=1, help="Passes over the rows at most."),
    Field("batch_size", "integer", 64, low=1, help="Rows of a step."),
    Field("lr", "number", 1e-3, low=0, help="Learning rate."),
    Field("patience", "integer", 0, low=0, help="Epochs without a lower validation loss after which it ends; 0: none."),
)
_TREES = ("n_estimators", "max_depth", "max_features", "min_samples_leaf", "criterion")
_ALL = (
    Estimator(
        "hist_gradient_boosting", "Gradient boosting (histograms)", "sklearn.ensemble",
        "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
        ("max_iter", "learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization", "early_stopping"),
    ),
    Estimator("random_forest", "Random forest", "sklearn.ensemble", "RandomForestClassifier", "RandomForestRegressor",
              _TREES),
    Estimator("extra_trees", "Extra trees", "sklearn.ensemble", "ExtraTreesClassifier", "ExtraTreesRegressor", _TREES),
    Estimator("logistic_regression", "Logistic regression", "sklearn.linear_model", "LogisticRegression",
              main=("C", "solver", "max_iter", "l1_ratio")),
    Estimator("ridge", "Ridge regression", "sklearn.linear_model", regressor="Ridge", main=("alpha", "solver")),
    Estimator("elastic_net", "Elastic net", "sklearn.linear_model", regressor="ElasticNet",
              main=("alpha", "l1_ratio", "max_iter")),
    Estimator("linear_regression", "Linear regression", "sklearn.linear_model", regressor="LinearRegression",
              main=("fit_intercept", "positive")),
    Estimator("k_neighbors", "Nearest neighbours", "sklearn.neighbors", "KNeighborsClassifier", "KNeighborsRegressor",
              ("n_neighbors", "weights", "p")),
    Estimator("svm", "Support vector machine", "sklearn.svm", "SVC", "SVR", ("C", "kernel", "gamma", "epsilon")),
    Estimator("mlp", "Neural network (scikit-learn)", "sklearn.neural_network", "MLPClassifier", "MLPRegressor",
              ("hidden_layer_sizes", "alpha", "learning_rate_init", "max_iter", "early_stopping")),
    Estimator("sgd", "Linear model by SGD", "sklearn.linear_model", "SGDClassifier", "SGDRegressor",
              ("loss", "penalty", "alpha", "max_iter", "early_stopping")),
    Estimator("decision_tree", "Decision tree", "sklearn.tree", "DecisionTreeClassifier", "DecisionTreeRegressor",
              _TREES[1:]),
    Estimator(NETWORK, "Neural network (PyTorch)", "modelyard.networks", "TableNetwork", "TableNetwork",
              own=_NETWORK, needs="torch"),
    Estimator("xgboost", "XGBoost", "xgboost", "XGBClassifier", "XGBRegressor",
              own=_booster("Boosting rounds.", None)),
    Estimator("lightgbm", "LightGBM", "lightgbm", "LGBMClassifier", "LGBMRegressor",
              own=(*_booster("Boosted trees.", -1),
                   Field("num_leaves", "integer", 31, low=2, help="Greatest number of leaves of a tree."))),
)  # fmt: skip


@cache
def installed() -> tuple[Estimator, ...]:
    """The list, less what is not installed."""
    return tuple(entry for entry in _ALL if entry.installed)


def estimator(key: str) -> Estimator:
    """The entry of that key; NotFound names those there are."""
    for entry in installed():
        if entry.key == key:
            return entry
    known = ", ".join(e.key for e in installed())
    raise NotFound(f"there is no estimator {key!r} to choose", remedy=f"There are: {known}; or give an instance.")


def default(fields: Sequence[Field]) -> dict[str, Any]:
    """What the fields show before anybody changes them."""
    return {field.name: field.plain().get("default", "") for field in fields}
