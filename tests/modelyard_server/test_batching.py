"""Batching with a real model: merged, split, one bad request among good ones, a full queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from harness.packages import write_onnx
from modelyard_api.errors import ModelFailed, Unavailable
from modelyard_server.batching import Batcher, Here
from modelyard_server.dataplane import DataPlane, load
from modelyard_server.flavors.base import Columns
from modelyard_server.metrics import Metrics


class Temperamental:
    """A model that counts its calls and refuses batches with a negative number."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        values = columns["input"]
        self.sizes.append(len(values))
        if (values < 0).any():
            raise ValueError("negative")
        return {"label": values[:, 0]}


@pytest.fixture
def plane(tmp_path: Path) -> DataPlane:
    return DataPlane(write_onnx(tmp_path / "p"), Temperamental())


async def test_merges_what_queued_and_isolates_failures(plane: DataPlane) -> None:
    batcher = Batcher(plane, (Here(plane),), max_batch=100, max_queue=100, metrics=Metrics("m", "1", "onnx"))
    asks = [batcher.predict({"input": np.full((n, 3), float(n) if n != 3 else -1.0)}) for n in range(1, 6)]
    answers = await asyncio.gather(*asks, return_exceptions=True)
    await batcher.close()
    assert isinstance(answers[2], ModelFailed)
    assert "negative" in str(answers[2])
    for n in (1, 2, 4, 5):
        answer = answers[n - 1]
        assert isinstance(answer, dict)
        assert answer["label"].tolist() == [float(n)] * n


class Scalar(Temperamental):
    """A model whose output of several rows has no rows."""

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        found = super().predict(columns)
        return found if len(columns["input"]) == 1 else {"label": np.array(1.0)}


async def test_an_output_without_rows_fails_no_batch(tmp_path: Path) -> None:
    plane = DataPlane(write_onnx(tmp_path / "p"), Scalar())
    batcher = Batcher(plane, (Here(plane),), max_batch=100, max_queue=100, metrics=Metrics("m", "1", "onnx"))
    answers = await asyncio.gather(*(batcher.predict({"input": np.full((1, 3), float(n))}) for n in range(3)))
    await batcher.close()
    assert [answer["label"].tolist() for answer in answers] == [[0.0], [1.0], [2.0]]


class Kinds(Temperamental):
    """A model that answers with the type that it got."""

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        found = super().predict({"input": np.zeros(columns["input"].shape)})
        return {"label": np.full(len(found["label"]), columns["input"].dtype.kind)}


async def test_joins_no_columns_of_two_types(tmp_path: Path) -> None:
    model = Kinds()
    plane = DataPlane(write_onnx(tmp_path / "p"), model)
    batcher = Batcher(plane, (Here(plane),), max_batch=100, max_queue=100, metrics=Metrics("m", "1", "onnx"))
    arrays = [np.ones((1, 3), kind) for kind in ("int64", "float64", "bool", "U3", "object", "U5")]
    answers = await asyncio.gather(*(batcher.predict({"input": array}) for array in arrays))
    await batcher.close()
    assert [answer["label"].tolist()[0] for answer in answers][:3] == ["i", "f", "b"]
    assert model.sizes == [1, 1, 1, 3]


async def test_refuses_when_the_queue_is_full(plane: DataPlane) -> None:
    batcher = Batcher(plane, (Here(plane),), max_batch=1, max_queue=2, metrics=Metrics("m", "1", "onnx"))
    row = {"input": np.ones((1, 3))}
    answers = await asyncio.gather(*(batcher.predict(row) for _ in range(5)), return_exceptions=True)
    await batcher.close()
    assert sum(isinstance(a, Unavailable) for a in answers) == 3
    assert sum(isinstance(a, dict) for a in answers) == 2


def test_loads_what_the_manifest_names(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    plane = load(tmp_path / "p")
    assert plane.predict({"input": [[0, 1, 2]]})["label"].tolist() == ["no"]
