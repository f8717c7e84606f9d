"""XGBoost's and LightGBM's models as their own files, which hold no code. What comes out is a proposal: `build` accepts
it by its answers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelyard.packaging.answers import Contract
from modelyard_api.models import ColumnKind, Flavor, Signature


class NotNative(Exception):
    """No file of the library's own keeps this model whole; the text says why."""


@dataclass(frozen=True)
class Native:
    """A booster as it is saved, and what the flavor has to know beside its file."""

    flavor: Flavor
    booster: Any
    parameters: dict[str, Any] = field(default_factory=dict)


class Boosted:
    """A booster that was trained without the scikit-learn interface, answering rows as the data plane will: with what
    its own `predict` gives, one value or one row of probabilities each. It knows no labels, and none are made up."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        flavor = _of_booster(booster)
        assert flavor is not None
        self.flavor: Flavor = flavor

    def predict(self, rows: Any) -> dict[str, Any]:
        """The booster's own answer, by name."""
        data = rows
        if self.flavor is Flavor.xgboost:
            import xgboost

            data = xgboost.DMatrix(rows, enable_categorical=True)
        values = np.asarray(self.booster.predict(data))
        return {"prediction" if values.ndim == 1 else self._many(): values}

    def _many(self) -> str:
        objective = _objective(self)
        return "probabilities" if objective in ("multi:softprob", "multiclass", "multiclassova") else "prediction"


def adopt(model: Any) -> Any:
    """`model`, or a bare booster as what answers rows."""
    return model if _of_booster(model) is None else Boosted(model)


def flavor_of(model: Any) -> Flavor | None:
    """Whose model it is, also at the end of a pipeline; without importing either library."""
    if isinstance(model, Boosted):
        return model.flavor
    last = model.steps[-1][1] if _is_pipeline(model) else model
    return next((f for f, kind in _kinds("sklearn", "XGBModel", "LGBMModel") if isinstance(last, kind)), None)


def native(model: Any, signature: Signature, contract: Contract) -> Native:
    """The booster inside `model`. Raises NotNative."""
    if _is_pipeline(model):
        raise NotNative("its file would leave out the steps of the pipeline before it")
    if contract.task == "classification" and contract.classes is None:
        raise NotNative("its file keeps no labels of several outputs")
    _check_columns(signature)
    return _xgboost(model, signature) if flavor_of(model) is Flavor.xgboost else _lightgbm(model, signature)


def _xgboost(model: Any, signature: Signature) -> Native:
    booster = model.booster if isinstance(model, Boosted) else model.get_booster()
    objective = _objective(model)
    if objective == "multi:softmax" and not isinstance(model, Boosted):
        raise NotNative("with multi:softmax XGBoost's file answers labels alone; multi:softprob answers probabilities")
    _check_levels(signature, _levels_of_xgboost(booster))
    kind = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"]
    parameters: dict[str, Any] = {"booster": kind}
    if isinstance(model, Boosted):
        return Native(Flavor.xgboost, booster.copy(), parameters)
    if model.missing is not None and not np.isnan(model.missing):
        parameters["missing"] = float(model.missing)
    best = getattr(booster, "best_iteration", None) if _stopped_early(booster) else None
    if best is not None and kind != "gblinear":
        booster = booster[: best + 1]  # what its own predict uses
    return Native(Flavor.xgboost, booster.copy(), parameters)


def _stopped_early(booster: Any) -> bool:
    return "best_iteration" in booster.attributes()


def _levels_of_xgboost(booster: Any) -> list[list[Any] | None] | None:
    """The levels of each column as it was trained; None where it keeps none, so that they cannot be compared."""
    try:
        columns = booster.get_categories(export_to_arrow=True).to_arrow()
    except (AttributeError, ValueError, ImportError):  # before XGBoost 3.1; without pyarrow
        return None
    return [None if levels is None else levels.to_pylist() for _, levels in columns]


def _lightgbm(model: Any, signature: Signature) -> Native:
    booster = model.booster if isinstance(model, Boosted) else model.booster_
    if callable(getattr(model, "_objective", None)):
        raise NotNative("its file keeps no objective of your own")
    kept = list(booster.pandas_categorical or ())
    levels = [kept.pop(0) if spec.categories is not None and kept else None for spec in signature.inputs]
    if kept:
        raise NotNative("it was trained with more columns of categories than the example has")
    _check_levels(signature, levels)
    return Native(Flavor.lightgbm, booster)


def _check_columns(signature: Signature) -> None:
    for spec in signature.inputs:
        if spec.kind is ColumnKind.datetime:
            raise NotNative(f"its file takes no dates (column {spec.name!r})")
        if spec.kind is ColumnKind.string and spec.categories is None:
            raise NotNative(f"its file takes no text (column {spec.name!r})")


def _check_levels(signature: Signature, trained: list[list[Any] | None] | None) -> None:
    """A level is kept as its number: the example's have to be those of the training, in order."""
    for spec, levels in zip(signature.inputs, trained or (), strict=False):
        mine = None if spec.categories is None else list(spec.categories)
        if mine != levels:
            raise NotNative(
                f"column {spec.name!r} was trained with the levels {_few(levels)}, and the example has {_few(mine)}"
            )
    if trained is None and any(spec.categories is not None for spec in signature.inputs):
        raise NotNative("this version of XGBoost does not tell which levels it was trained with")


def _few(levels: list[Any] | None) -> str:
    if levels is None:
        return "of no category"
    return ", ".join(map(repr, levels[:5])) + (" …" if len(levels) > 5 else "")


def _objective(model: Any) -> str:
    if isinstance(model, Boosted) and model.flavor is Flavor.lightgbm:
        return str(model.booster.params.get("objective", ""))
    booster = model.booster if isinstance(model, Boosted) else model.get_booster()
    return str(json.loads(booster.save_config())["learner"]["objective"]["name"])


def _of_booster(model: Any) -> Flavor | None:
    return next((flavor for flavor, kind in _kinds("", "Booster", "Booster") if isinstance(model, kind)), None)


def _kinds(module: str, xgboosts: str, lightgbms: str) -> list[tuple[Flavor, type]]:
    """The classes of that name in what is imported already: whoever has a model of theirs has imported it."""
    found = []
    for flavor, name in ((Flavor.xgboost, xgboosts), (Flavor.lightgbm, lightgbms)):
        library = sys.modules.get(f"{flavor}.{module}" if module else str(flavor))
        kind = getattr(library, name, None)
        found += [(flavor, kind)] if isinstance(kind, type) else []
    return found


def _is_pipeline(model: Any) -> bool:
    return hasattr(model, "__sklearn_tags__") and bool(getattr(model, "steps", None))
