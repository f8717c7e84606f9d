"""Pipelines of Hugging Face's transformers as folders of safetensors and JSON."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from modelyard_api.errors import InvalidInput

FOLDER = "modelyard/pipeline"
_SETTINGS = ("_preprocess_params", "_forward_params", "_postprocess_params", "_generate_kwargs", "_generation_defaults")


class NotKept(Exception):
    """The pipeline cannot be written down whole; the text says why."""


def is_pipeline(model: Any) -> bool:
    """Whether `model` is one (without importing transformers)."""
    library: Any = sys.modules.get("transformers.pipelines.base")
    return library is not None and isinstance(model, library.Pipeline)


def adopt(pipe: Any) -> Any:
    """`pipe` as what answers rows, on the CPU: one on a GPU stays there, and a copy is taken. InvalidInput for a task
    that is not served."""
    from modelyard_server.flavors.transformers import CLASSES, Texts

    if pipe.task not in CLASSES:
        raise InvalidInput(
            f"a pipeline for {pipe.task} is not served",
            remedy=f"These are: {', '.join(CLASSES)}. Publish another one inside an object with predict(rows).",
        )
    labels = Texts(pipe).labels if pipe.task == "text-classification" else []
    if len(set(labels)) < len(labels):
        raise InvalidInput("two classes of the pipeline have one label", remedy="Name them apart in config.id2label.")
    if pipe.tokenizer is None:
        raise InvalidInput("the pipeline has no tokenizer", remedy="Make it with tokenizer=.")
    if pipe.model.device.type != "cpu":
        import torch

        pipe = copy.copy(pipe)
        pipe.model, pipe.device = copy.deepcopy(pipe.model).cpu(), torch.device("cpu")
    return Published(Texts(pipe))


class Published:
    """`Texts`, with what tells `observe` that it is a classifier."""

    def __init__(self, texts: Any) -> None:
        self.texts = texts
        self.pipe = texts.pipe
        self.task = "other"
        if self.pipe.task == "text-classification":
            self.task = "classification" if texts.exclusive else "regression" if len(texts.labels) == 1 else "other"
        self.classes_ = texts.labels if self.task == "classification" else None

    def predict(self, rows: Any) -> dict[str, Any]:
        """Outputs by name."""
        found: dict[str, Any] = self.texts.predict(rows)
        return found


def save(model: Published, directory: Path) -> dict[str, Any]:
    """Write the pipeline below `directory`; what the flavor has to know beside the files. Raises NotKept."""
    from modelyard_server.flavors.transformers import SETTINGS, check_folder

    pipe = model.pipe
    foreign = type(pipe.model).__module__.partition(".")[0]
    if foreign != "transformers" or getattr(pipe.model.config, "auto_map", None):
        raise NotKept(f"{type(pipe.model).__name__} is a class that transformers itself has not, so a server lacks it")
    settings: dict[str, Any] = {name: _written(name, getattr(pipe, name, None) or {}) for name in _SETTINGS}
    settings = {name: values for name, values in settings.items() if values}
    if pipe._batch_size:
        settings["batch_size"] = int(pipe._batch_size)
    folder = directory / FOLDER
    with _quiet():
        pipe.model.save_pretrained(folder, safe_serialization=True)
        pipe.tokenizer.save_pretrained(folder)
    try:
        check_folder(folder)
    except InvalidInput as error:
        raise NotKept(str(error.detail)) from error
    return {"task": pipe.task, SETTINGS: settings}


def _written(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    from modelyard_server.flavors.transformers import ENUMS

    written: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Enum) and key in ENUMS:
            written[key] = value.name
        elif _is_json(value):
            written[key] = value
        elif value is not None:
            raise NotKept(f"its setting {key!r} is a {type(value).__name__}, which JSON cannot hold")
    return written


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float, bool))


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as told

    log = logging.getLogger("transformers")
    level, bars = log.level, told.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    told.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if bars:
            told.enable_progress_bar()
