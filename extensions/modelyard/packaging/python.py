"""Plain Python functions and objects with `predict`, as MLflow python models."""

import inspect
from typing import Any

import numpy as np

from modelyard_api.errors import InvalidInput


def resolve(model: Any) -> Any:
    """What is published for `model`: itself, or an instance when it is a class. InvalidInput when it cannot predict."""
    if inspect.isclass(model):
        if not hasattr(model, "predict"):
            raise InvalidInput(f"class {model.__name__} has no method predict", remedy="Give it predict(self, rows).")
        try:
            return model()
        except TypeError as error:
            raise InvalidInput(
                f"class {model.__name__} cannot be made without arguments: {error}", remedy="Publish an instance of it."
            ) from error
    predict = getattr(model, "predict", model)
    if not callable(predict):
        raise InvalidInput(
            f"a {type(model).__name__} has no method predict and is not a function",
            remedy="Publish a fitted estimator, an object with predict(rows), or a function of rows.",
        )
    if inspect.iscoroutinefunction(predict):
        raise InvalidInput("predict is a coroutine function", remedy="Give a plain function.")
    return model


def python_model(model: Any) -> Any:
    """`model` as an MLflow PythonModel. Its class is made here, so that it is saved by value and loads without us."""
    from mlflow.pyfunc import PythonModel

    class Published(PythonModel):  # type: ignore[misc]
        def __init__(self, published: Any) -> None:
            self.published = published

        # The annotation tells MLflow to hand rows on as they are; without one it warns at every load.
        def predict(self, context, model_input: np.ndarray, params=None):  # type: ignore[no-untyped-def]
            return getattr(self.published, "predict", self.published)(model_input)

    Published.__module__ = "__main__"
    return Published(model)
