"""Pipelines of Hugging Face's transformers from a local folder: weights as safetensors, no code there, no network.

A row is a text. `Texts` is what the notebook's pipeline is asked with too, so that both answer alike: one text at a
time unless the pipeline has a `batch_size`, as padding changes the last digits.
"""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Before the library is imported, which reads them then.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import torch
import transformers
from transformers.utils import logging as told

from modelyard_api.errors import InvalidInput
from modelyard_api.models import PackageManifest
from modelyard_server.device import Device, torch_device
from modelyard_server.flavors.base import Columns

SETTINGS = "settings"
"""Among the manifest's parameters: what the pipeline was made with beside its model and tokenizer."""
CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "feature-extraction": "AutoModel",
    "text-generation": "AutoModelForCausalLM",
}
"""The tasks that are served, and what loads their models."""
ENUMS = ("aggregation_strategy", "function_to_apply", "return_type")
_CODE = (".py", ".bin", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".msgpack", ".h5")


class Texts:
    """A pipeline asked for rows: `predict` gives the outputs by name, one value each row."""

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._ask = {
            "text-classification": self._classified,
            "token-classification": self._entities,
            "feature-extraction": self._embedded,
            "text-generation": self._generated,
        }[pipe.task]

    @property
    def labels(self) -> list[str]:
        """A classifier's, in the order of its probabilities."""
        known = self.pipe.model.config.id2label
        return [str(known[i]) for i in range(len(known))]

    @property
    def exclusive(self) -> bool:
        """Whether a text has one label of several, so that there are probabilities."""
        config = self.pipe.model.config
        return config.num_labels > 1 and config.problem_type in (None, "single_label_classification")

    def predict(self, rows: Any) -> dict[str, NDArray[Any]]:
        """`rows`: texts, an array of them, or a table with one column."""
        texts = (
            rows.iloc[:, 0].tolist() if hasattr(rows, "iloc") else np.asarray(rows, dtype=object).reshape(-1).tolist()
        )
        with torch.no_grad():
            return self._ask([str(text) for text in texts])

    def _classified(self, texts: list[str]) -> dict[str, NDArray[Any]]:
        answers = self.pipe(texts, top_k=None)
        labels = self.labels
        by_name = [{str(one["label"]): one["score"] for one in answer} for answer in answers]
        scores = np.array([[found[label] for label in labels] for found in by_name], dtype=np.float32)
        if not self.exclusive:
            return {"prediction": scores[:, 0]} if len(labels) == 1 else {"scores": scores}
        return {"label": np.array(labels)[scores.argmax(axis=1)], "probabilities": scores}

    def _entities(self, texts: list[str]) -> dict[str, NDArray[Any]]:
        said = [json.dumps(answer, default=_plain, ensure_ascii=False) for answer in self.pipe(texts)]
        return {"entities": np.array(said, dtype=object)}

    def _embedded(self, texts: list[str]) -> dict[str, NDArray[Any]]:
        vectors = [np.asarray(answer[0], dtype=np.float32).mean(axis=0) for answer in self.pipe(texts)]
        return {"embedding": np.stack(vectors)}

    def _generated(self, texts: list[str]) -> dict[str, NDArray[Any]]:
        said = [answer[0]["generated_text"] for answer in self.pipe(texts)]
        return {"text": np.array(said, dtype=object)}


def _plain(value: Any) -> Any:
    """numpy's numbers, all digits of them, as Python's."""
    return value.item()


class TransformersModel:
    """A pipeline made of the folder's files."""

    def __init__(self, manifest: PackageManifest, directory: Path, threads: int, device: Device) -> None:
        self.device = torch_device(torch, device)
        torch.set_num_threads(threads)
        self._texts = Texts(pipeline(directory / manifest.path, manifest.parameters, self.device))
        self._signature = manifest.signature

    def predict(self, columns: Columns) -> dict[str, NDArray[Any]]:
        return self._texts.predict(columns[self._signature.inputs[0].name])


def pipeline(folder: Path, parameters: dict[str, Any], device: str) -> Any:
    """The pipeline that was saved in `folder`. InvalidInput where there is more than weights and settings."""
    check_folder(folder)
    told.disable_progress_bar()
    task = parameters["task"]
    alone: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model = getattr(transformers, CLASSES[task]).from_pretrained(folder, use_safetensors=True, dtype="auto", **alone)
    for weights in (*model.parameters(), *model.buffers()):
        # Out of the file's map, whose offsets are odd: where weights lie changes the kernels, and so the last digits.
        weights.data = weights.data.clone()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **alone)
    kept = parameters.get(SETTINGS, {})
    pipe = transformers.pipeline(
        task, model=model.eval(), tokenizer=tokenizer, device=torch.device(device), batch_size=kept.get("batch_size")
    )
    for name, values in kept.items():
        if name != "batch_size":
            setattr(pipe, name, {key: _enum(key, value) for key, value in values.items()})
    return pipe


def _enum(key: str, value: Any) -> Any:
    if key not in ENUMS or not isinstance(value, str):
        return value
    from transformers.pipelines import text_classification, text_generation, token_classification

    kinds: dict[str, type[Enum]] = {
        "aggregation_strategy": token_classification.AggregationStrategy,
        "function_to_apply": text_classification.ClassificationFunction,
        "return_type": text_generation.ReturnType,
    }
    return kinds[key][value]


def check_folder(folder: Path) -> None:
    """InvalidInput where a folder holds code, a pickle, or asks for code from elsewhere."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in _CODE:
            raise InvalidInput(
                f"{path.name} may hold code, which is not loaded", remedy="Save the weights as safetensors."
            )
    for path in folder.glob("*.json"):
        try:
            document = json.loads(path.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"{path.name} is no JSON: {error}") from error
        if isinstance(document, dict) and "auto_map" in document:
            raise InvalidInput(
                f"{path.name} names code of the model's own (auto_map), which is not loaded",
                remedy="Publish a model of a class that transformers itself has.",
            )


def load(manifest: PackageManifest, directory: Path, threads: int, device: Device = "cpu") -> TransformersModel:
    return TransformersModel(manifest, directory, threads, device)
