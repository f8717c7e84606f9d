"""Plain Python functions, objects with `predict`, classes with `load` and `predict`; as MLflow's python models too."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.packaging.rows import columns_of
from modelyard_api.errors import InvalidInput
from modelyard_api.models import Signature


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


class Plain:
    """A class of the owner's with `load(folder)` and `predict(columns)`, asked with rows as other models are.

    What is loaded here is a copy, as the server will have it, so that what was loaded before tells nothing."""

    def __init__(self, model: Any, files: Path | None, signature: Signature) -> None:
        import cloudpickle

        self.model = model
        self.files = files
        self.content: bytes = cloudpickle.dumps(model)
        self._signature = signature
        self._loaded = pickle.loads(self.content)
        try:
            self._loaded.load(files if files is not None else Path("there", "are", "no", "files"))
        except Exception as error:
            raise InvalidInput(
                f"{type(model).__name__}.load failed: {type(error).__name__}: {error}",
                remedy="It is given the folder of files=..., as a path; let it need nothing else of this notebook.",
            ) from error

    def predict(self, rows: Any) -> Any:
        """What the class answers to the columns that a server would give it."""
        from modelyard_server.columns import check

        return self._loaded.predict(check(self._signature, columns_of(rows, self._signature.inputs)))


def is_plain(model: Any) -> bool:
    """Whether `model` is an object with `load(folder)` and `predict(columns)`, no estimator and nothing of MLflow's."""
    parts = (getattr(model, "load", None), getattr(model, "predict", None))
    return all(callable(part) for part in parts) and not hasattr(model, "__sklearn_tags__") and not _of_mlflow(model)


def _of_mlflow(model: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "mlflow" for base in type(model).__mro__)


def plain_model(model: Any) -> Any:
    """A plain class's object as an MLflow PythonModel; as in `python_model`, it is saved by value."""
    from mlflow.pyfunc import PythonModel

    class Published(PythonModel):  # type: ignore[misc]
        def __init__(self, published: Any) -> None:
            self.published = published

        def load_context(self, context):  # type: ignore[no-untyped-def]
            from pathlib import Path

            self.published.load(Path(context.artifacts.get("files", "there/are/no/files")))

        def predict(self, context, model_input: np.ndarray, params=None):  # type: ignore[no-untyped-def]
            if hasattr(model_input, "columns"):
                return self.published.predict({name: model_input[name].to_numpy() for name in model_input.columns})
            return self.published.predict({"input": model_input})

    Published.__module__ = "__main__"
    return Published(model)
