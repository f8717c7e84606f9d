"""Batching with a real model: merged, split, one bad request among good ones, a full queue."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from harness.packages import write_onnx
from modelyard_api.errors import ModelFailed, Unavailable
from modelyard_server.batching import Batcher, Here
from modelyard_server.dataplane import DataPlane, load
from modelyard_server.flavors.base import Columns, Wanted
from modelyard_server.metrics import ROWS, SECONDS, Metrics, Times
from modelyard_server.workers.worker import NotBegun


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


class Steady(Temperamental):
    """A model that takes so many seconds for a call, and for each row."""

    def __init__(self, call: float, row: float) -> None:
        super().__init__()
        self._call, self._row = call, row

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        time.sleep(self._call + self._row * len(columns["input"]))
        return super().predict(columns)


@pytest.mark.parametrize(("call", "row", "least", "most"), [(0.0, 0.02, 2, 8), (0.004, 0.0, 60, 300)])
async def test_joins_no_more_than_a_twentieth_of_a_second(
    tmp_path: Path, call: float, row: float, least: int, most: int
) -> None:
    """All of a batch wait for it; a model that gains by joining has large ones all the same."""
    model = Steady(call, row)
    plane = DataPlane(write_onnx(tmp_path / "p"), model)
    batcher = Batcher(plane, [Here(plane)], max_batch=4096, max_queue=1000, metrics=Metrics("m", "1", "onnx"))
    count = 40 if row else 300
    answers = await asyncio.gather(*(batcher.predict({"input": np.ones((1, 3))}) for _ in range(count)))
    await batcher.close()
    assert len(answers) == sum(model.sizes) == count
    assert least <= max(model.sizes) <= most


async def test_who_leaves_frees_his_place(tmp_path: Path) -> None:
    model = Temperamental()
    plane = DataPlane(write_onnx(tmp_path / "p"), model)
    batcher = Batcher(plane, [Here(plane)], max_batch=1, max_queue=2, metrics=Metrics("m", "1", "onnx"))
    row = {"input": np.ones((1, 3))}
    asks = [asyncio.create_task(batcher.predict(row)) for _ in range(2)]
    await asyncio.sleep(0)
    assert batcher.full
    with pytest.raises(Unavailable):
        await batcher.predict(row)
    asks[1].cancel()
    await asyncio.wait(asks)
    assert batcher.waiting == 0
    await batcher.predict(row)
    await batcher.close()
    assert model.sizes == [1, 1]


def test_loads_what_the_manifest_names(tmp_path: Path) -> None:
    write_onnx(tmp_path / "p")
    plane = load(tmp_path / "p")
    assert plane.predict({"input": [[0, 1, 2]]})["label"].tolist() == ["no"]


class Selective(Temperamental):
    """A model that notes which outputs it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[frozenset[str] | None] = []

    def predict(self, columns: Columns) -> dict[str, np.ndarray]:
        self.asked.append(None)
        return super().predict(columns)

    def predict_only(self, columns: Columns, wanted: frozenset[str]) -> dict[str, np.ndarray]:
        self.asked.append(wanted)
        return super().predict(columns)


async def test_a_batch_is_asked_for_what_any_of_it_wants(tmp_path: Path) -> None:
    model = Selective()
    plane = DataPlane(write_onnx(tmp_path / "p"), model)
    batcher = Batcher(plane, (Here(plane),), max_batch=100, max_queue=100, metrics=Metrics("m", "1", "onnx"))
    row, one, two = {"input": np.ones((1, 3))}, frozenset({"label"}), frozenset({"probabilities"})
    await asyncio.gather(batcher.predict(row, one), batcher.predict(row, two))
    await asyncio.gather(batcher.predict(row, one), batcher.predict(row))
    await batcher.close()
    assert model.asked == [one | two, None]


class Fickle(Here):
    """A lane that is gone every third time that it is to run, as a process may be."""

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(plane)
        self.turns = 0
        self.ran: list[int] = []
        self.run = self.take

    def take(self, columns: Columns, wanted: Wanted = None) -> dict[str, np.ndarray]:
        self.turns += 1
        if self.turns % 3 == 0:
            raise NotBegun
        self.ran.append(len(columns["input"]))
        return {"label": columns["input"][:, 0]}


class Owned(Times):
    """A histogram that only the thread which made it may touch."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        super().__init__(bounds)
        self.owner = threading.get_ident()

    def observe(self, value: float) -> None:
        assert threading.get_ident() == self.owner
        super().observe(value)


async def test_metrics_of_several_lanes_count_each_request_and_each_run_once(plane: DataPlane) -> None:
    metrics = Metrics("m", "1", "onnx")
    metrics.queue, metrics.predict, metrics.batch = Owned(), Owned(), Owned(ROWS)
    lanes = [Fickle(plane) for _ in range(6)]
    batcher = Batcher(plane, lanes, max_batch=4, max_queue=4000, metrics=metrics)
    answers = await asyncio.gather(*(batcher.predict({"input": np.full((1, 3), float(n))}) for n in range(3000)))
    await batcher.close()
    assert [answer["label"].tolist() for answer in answers] == [[float(n)] for n in range(3000)]
    runs = [size for lane in lanes for size in lane.ran]
    assert sum(lane.turns for lane in lanes) > len(runs), "some found their lane gone"
    assert metrics.queue.count == sum(metrics.queue.counts) == len(answers)
    assert metrics.predict.count == metrics.batch.count == len(runs)
    assert metrics.batch.total == sum(runs) == len(answers)


async def test_who_is_refused_is_told_to_wait_as_long_as_the_queue_is(plane: DataPlane) -> None:
    model = Steady(0.0, 0.05)
    plane = DataPlane(plane.manifest, model)
    told: list[int] = []
    for longest in (10, 100, 1000):
        batcher = Batcher(plane, [Here(plane)], max_batch=1, max_queue=longest, metrics=Metrics("m", "1", "onnx"))
        row = {"input": np.ones((1, 3))}
        for _ in range(5):
            await batcher.predict(row)
        asks = [asyncio.create_task(batcher.predict(row)) for _ in range(longest)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as refused:
            await batcher.predict(row)
        told.append(refused.value.extra["retry_after"])
        await batcher.close()
        await asyncio.wait(asks)
    assert all(type(seconds) is int for seconds in told)
    assert 1 <= told[0] < told[1] < told[2] <= 60
