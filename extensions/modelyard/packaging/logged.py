"""A model that somebody logged with MLflow, loaded so that it can be packaged."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from modelyard_api.errors import InvalidInput

_PICKLES = (".pkl", ".pickle", ".joblib", ".pth", ".pt", ".bin", ".cloudpickle")
_KNOWN = ("xgboost", "lightgbm", "transformers", "pytorch", "sklearn")
"""MLflow's flavors whose models are packaged, the most telling first."""


def load_logged(folder: Path, *, pickles: bool) -> tuple[Any, Any]:
    """The model in MLflow's folder, and the example that it was logged with (None where there is none).

    `pickles`: whether one may be loaded, which runs the code of whoever logged it. XGBoost's files, LightGBM's Boosters
    and transformers' folders hold none. InvalidInput for what cannot be loaded.
    """
    flavors = _flavors(folder)
    known = next((name for name in _KNOWN if name in flavors), None)
    if known is None:
        raise InvalidInput(
            f"the model was logged as {', '.join(sorted(flavors)) or 'nothing'}, which is not packaged from there",
            remedy="Publish it where it is made: yard.publish(model, name, example=…).",
        )
    found = sorted(p for p in folder.rglob("*") if p.suffix in _PICKLES or (p.suffix == ".py" and "code" in p.parts))
    if found and not pickles:
        raise InvalidInput(
            f"the model's {found[0].name} runs code of whoever logged it, and that is neither you nor a group of yours",
            remedy="Ask them to publish it.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        return _loader(known)(str(folder)), _example(folder)


def _flavors(folder: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load((folder / "MLmodel").read_text())
        flavors = document["flavors"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InvalidInput("the version holds no model of MLflow's (no MLmodel that can be read)") from error
    return flavors if isinstance(flavors, dict) else {}


def _loader(flavor: str) -> Callable[[str], Any]:
    from importlib import import_module

    load: Callable[[str], Any] = import_module(f"mlflow.{flavor}").load_model
    return load


def _example(folder: Path) -> Any:
    from mlflow.models import Model

    return Model.load(str(folder)).load_input_example(str(folder))
