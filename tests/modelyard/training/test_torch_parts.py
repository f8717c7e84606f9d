"""The parts of a PyTorch training: options, rows, tasks, batches, shared memory, metrics."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from torch import nn
from torch.utils.data import Dataset

import modelyard as yard
from modelyard.errors import Conflict, InvalidInput
from modelyard.training import data, handover
from modelyard.training.launch import locked
from modelyard.training.options import TorchOptions, options_of
from modelyard.training.spec import kind_of
from modelyard.training.torch import scores, shm
from modelyard.training.torch.architectures import Fitting, build
from modelyard.training.torch.batches import (
    ArraySource,
    DatasetSource,
    DeviceSource,
    Part,
    Share,
    shuffled,
    workers_for,
)
from modelyard.training.torch.rows import ArrayReader, TableReader
from modelyard.training.torch.task import Seen, decide, targets
from modelyard.training.torch.task import kind_of as task_of


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 0}, "epochs=0 is not a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"lr": 0}, "lr=0 is not a number above 0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"loss": "hinge"}, "loss='hinge' is not known"),
        ({"loss": nn.MSELoss}, "loss=the class MSELoss"),
        ({"optimizer": "adamx"}, "optimizer='adamx'"),
        ({"scheduler": "linear"}, "scheduler='linear'"),
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"workers": -1}, "workers=-1"),
        ({"checkpoint_every": "soon"}, "checkpoint_every='soon' is no time"),
        ({"class_weight": "heavy"}, "class_weight='heavy'"),
        ({"class_weight": "balanced", "loss": nn.CrossEntropyLoss()}, "class_weight goes with a loss by name"),
        ({"device": "GPU 1"}, "device='GPU 1'"),
        ({"learning_rate": 1}, "unknown option of a torch training: learning_rate"),
    ],
)
def test_options_are_checked_when_they_are_given(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match="^" + said.replace(".", r"\.")):
        options_of("torch", given)


def test_checkpoints_by_epochs_or_time() -> None:
    assert TorchOptions(checkpoint_every=2).checkpoint_interval() == (2, None)
    assert TorchOptions(checkpoint_every="5min").checkpoint_interval() == (0, 300.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: yard.networks.table(hidden=(0,)),
        lambda: yard.networks.table(hidden=8),  # type: ignore[arg-type]
        lambda: yard.networks.table(dropout=1.0),
        lambda: yard.networks.image(channels=("a",)),  # type: ignore[arg-type]
        lambda: yard.networks.image(kernel=2),
    ],
)
def test_networks_are_checked_when_they_are_declared(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInput):
        make()


def test_which_trainer_takes_it() -> None:
    assert kind_of(nn.Linear(1, 1)) == "torch"
    assert kind_of(yard.networks.table()) == "torch"
    with pytest.raises(InvalidInput, match="Linear is a class"):
        kind_of(nn.Linear)


def test_tensors_are_handed_over_as_maps_of_files(tmp_path: Path) -> None:
    large = torch.arange(40_000, dtype=torch.float32).reshape(-1, 4)
    module = nn.Linear(4, 8192)
    given = (large, large[:2], torch.ones(3, dtype=torch.bfloat16), module)
    handover.give(tmp_path, "data", given, "the data")
    assert (tmp_path / "data.pkl").stat().st_size < 40_000
    taken, head, half, copy = handover.take(tmp_path, "data")
    assert torch.equal(taken, large)
    assert torch.equal(head, large[:2])
    assert half.dtype is torch.bfloat16
    assert torch.equal(copy.weight, module.weight)
    assert isinstance(copy.weight, nn.Parameter)
    maps = [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if f"{tmp_path}/" in line]
    ranges = [[int(end, 16) for end in addresses.split("-")] for addresses in maps]
    assert any(start <= taken.data_ptr() < end for start, end in ranges)
    copy.weight.data.add_(1)  # the map is the process's own
    assert handover.digest(tmp_path, "data") == handover.digest(tmp_path, "data")


class Unsized(torch.utils.data.IterableDataset[Any]):
    """Has no length."""

    def __iter__(self) -> Any:
        return iter(())


def test_datasets_bring_their_targets() -> None:
    pairs = torch.utils.data.TensorDataset(torch.ones(3, 2), torch.ones(3))
    assert data.check(pairs, None) == 3
    with pytest.raises(InvalidInput, match="brings its targets"):
        data.check(pairs, [1, 2, 3])
    with pytest.raises(InvalidInput, match="Unsized has no length"):
        data.check(Unsized(), None)
    with pytest.raises(InvalidInput, match="y is a NoneType"):
        data.check(np.ones((3, 2)), None)


FRAME = pd.DataFrame(
    {
        "weight": [1.0, np.nan, 3.0, 4.0],
        "age": pd.array([1, None, 3, 4], dtype="Int64"),
        "island": ["north", "south", None, "east"],
        "tame": [True, False, True, True],
        "size": pd.Categorical([10, 20, 10, 30], categories=[10, 20, 30]),
    }
)


def test_rows_are_put_on_the_device_as_they_are_read_where_there_is_room() -> None:
    frame = pd.DataFrame({"a": [1.5, np.nan] * 3000, "where": ["north", "south", "north"] * 2000})
    source = ArraySource(TableReader.learn(frame, np.arange(len(frame))).bind(frame), targets(frame.index.values, None))
    device = torch.device("cpu")
    assert DeviceSource.of(source, len(frame), device, room=len(frame) * 24 - 1) is None
    there = DeviceSource.of(source, len(frame), device, room=len(frame) * 24)
    assert there is not None
    index = np.array([5999, 0, 4096, 4095])
    for got, expected in zip((*there[index][0], there[index][1]), (*source[index][0], source[index][1]), strict=True):
        assert got.dtype is expected.dtype
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def test_a_table_becomes_numbers_and_levels() -> None:
    reader = TableReader.learn(FRAME, np.array([0, 1]))
    assert reader.numbers == ("weight", "age")
    assert [(c.name, c.levels) for c in reader.categories] == [
        ("island", ("north", "south")),
        ("tame", ("False", "True")),
        ("size", (10.0, 20.0, 30.0)),
    ]
    numbers, codes = reader.bind(FRAME)(np.array([3, 1]))
    np.testing.assert_array_equal(numbers, [[4.0, 4.0], [np.nan, np.nan]])
    assert codes.tolist() == [[0, 2, 3], [2, 1, 2]]  # training did not see the east
    with pytest.raises(InvalidInput, match="missing column: weight"):
        reader.bind(FRAME.drop(columns="weight"))
    with pytest.raises(InvalidInput, match="column 'when' holds datetime64"):
        TableReader.learn(pd.DataFrame({"when": pd.to_datetime(["2026-01-01"])}), np.array([0]))


def test_arrays_take_the_type_of_the_module() -> None:
    wide, whole = np.ones((3, 2)), np.ones((3, 2), dtype=np.uint8)
    linear, lookup = ArrayReader.of(nn.Linear(2, 1)), ArrayReader.of(nn.Embedding(4, 2))
    assert linear.bind(wide)(slice(2))[0].dtype is torch.float32
    assert linear.bind(whole)(slice(2))[0].dtype is torch.float32
    assert lookup.bind(whole)(slice(2))[0].dtype is torch.int64
    assert ArrayReader.of(nn.Linear(2, 1).double()).bind(wide)(slice(2))[0].dtype is torch.float64
    narrow = wide.astype("float32")
    assert np.shares_memory(linear.bind(narrow)(slice(2))[0].numpy(), narrow)
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]})
    assert ArrayReader.of(nn.Linear(2, 1), frame).bind(frame[["b", "a"]])(slice(1))[0].tolist() == [[1.0, 3.0]]
    with pytest.raises(InvalidInput, match="column 'island' has dtype"):
        ArrayReader.of(nn.Linear(2, 1)).bind(FRAME[["island"]])(slice(1))


def test_a_table_network_standardises_and_takes_what_is_missing() -> None:
    rows, network = np.arange(4), yard.networks.table(hidden=(4,))
    reader = TableReader.learn(FRAME, rows)
    module: Any = build(network, Fitting(reader.bind(FRAME), rows, 3), reader)
    assert module.mean.tolist() == pytest.approx([8 / 3, 8 / 3])
    assert module.flags.tolist() == [0, 1]
    assert module(*reader.bind(FRAME)(rows)).shape == (4, 3)
    assert bool(module(*reader.bind(FRAME)(rows)).isfinite().all())


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 3, 9, 9), (6, 9, 9, 3), (6, 8, 2)])
def test_an_image_network_fits_the_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 255, size=shape).astype("uint8")
    reader, rows = ArrayReader(), np.arange(6)
    module = build(yard.networks.image(hidden=(8,)), Fitting(reader.bind(images), rows, 2, (5.0, 2.0)), reader)
    assert module(*reader.bind(images)(rows)).shape == (6, 2)
    with pytest.raises(InvalidInput, match="an image network takes"):
        build(yard.networks.image(), Fitting(reader.bind(np.ones((6, 4))), rows, 2), reader)


WORDS, WHOLE, REAL = np.array(["no", "yes", "no"], dtype=object), np.array([0, 1, 2]), np.array([0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    ("y", "loss", "width", "kind", "said"),
    [
        (WORDS, None, 2, "classification", "cross_entropy"),
        (WORDS, None, 1, "classification", "bce_with_logits"),
        (WHOLE, None, 3, "classification", "cross_entropy"),
        (WHOLE, None, 5, "classification", "cross_entropy"),
        (WHOLE, None, 1, "regression", "mse"),
        (WHOLE, "huber", 1, "regression", "huber"),
        (REAL, None, 1, "regression", "mse"),
        (REAL, nn.L1Loss(), 1, "regression", "L1Loss"),
        (np.ones((3, 2)), None, 2, "other", "mse"),
        (np.ones((3, 2)), "bce_with_logits", 2, "other", "bce_with_logits"),
    ],
)
def test_the_task_follows_from_targets_loss_and_outputs(y: Any, loss: Any, width: int, kind: str, said: str) -> None:
    found = task_of(y, loss, width)
    labels = np.unique(y.astype(str) if y.dtype.kind == "O" else y) if found == "classification" else None
    target = targets(y, labels)(slice(None))[0]
    output = torch.zeros(3, width)
    task = decide(Seen(output, target, found, labels), TorchOptions(loss=loss))
    assert (task.kind, task.said) == (kind, said)
    assert task.loss_of(output, target).ndim == 0
    if task.classes is not None:
        assert len(task.classes) == (2 if task.binary else width)


@pytest.mark.parametrize(
    ("y", "loss", "width", "said"),
    [
        (WORDS, None, 3, "3 values for each row, y has 2 classes"),
        (WHOLE, "cross_entropy", 1, "does not go with cross_entropy"),
        (WHOLE, nn.BCEWithLogitsLoss(), 3, "does not go with BCEWithLogitsLoss"),
        (REAL, None, 2, r"the module answers shape \(n, 2\), y has shape \(n,\)"),
    ],
)
def test_what_does_not_fit_together_is_said(y: Any, loss: Any, width: int, said: str) -> None:
    found = task_of(y, loss, width)
    labels = np.unique(y.astype(str) if y.dtype.kind == "O" else y) if found == "classification" else None
    target = targets(y, labels)(slice(None))[0]
    with pytest.raises(InvalidInput, match=said):
        decide(Seen(torch.zeros(3, width), target, found, labels), TorchOptions(loss=loss))


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels, target = np.array([0, 1]), torch.tensor([0, 0, 0, 1])
    seen = Seen(torch.zeros(4, 2), target, "classification", labels, np.array([3, 1]))
    output = torch.tensor([[2.0, 0.0]] * 4)
    weighted = decide(seen, TorchOptions(class_weight="balanced")).loss_of(output, target)
    expected = nn.functional.cross_entropy(output, target, weight=torch.tensor([4 / 6, 2.0]))
    assert float(weighted) == pytest.approx(float(expected))
    with pytest.raises(InvalidInput, match="names 'x'"):
        decide(seen, TorchOptions(class_weight={"x": 1.0}))


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(classes, size=300), rng.dirichlet(np.ones(classes), size=300).round(2) + 0.01
    found /= found.sum(axis=1, keepdims=True)
    mine = scores.classification(truth, found)
    assert mine["accuracy"] == pytest.approx(metrics.accuracy_score(truth, found.argmax(axis=1)))
    curve = found[:, 1] if classes == 2 else found
    assert mine["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, curve, multi_class="ovr"))
    assert mine["log_loss"] == pytest.approx(metrics.log_loss(truth, found))
    assert set(scores.classification(np.zeros(5, dtype=int), found[:5])) == {"accuracy", "log_loss"}


def test_metrics_of_numbers_are_those_of_scikit_learn() -> None:
    truth, found = np.random.default_rng(0).normal(size=(2, 50))
    assert scores.regression(truth, found) == {
        "r2": pytest.approx(metrics.r2_score(truth, found)),
        "mae": pytest.approx(metrics.mean_absolute_error(truth, found)),
        "rmse": pytest.approx(metrics.root_mean_squared_error(truth, found)),
    }


def test_rows_are_held_out_in_the_proportions_of_the_classes() -> None:
    classes = np.array([0] * 80 + [1] * 20 + [2])
    kept, held = scores.split(101, 0.2, 3, classes)
    assert sorted([*kept, *held]) == list(range(101))
    assert np.bincount(classes[held]).tolist() == [16, 4]
    assert 100 in kept
    again, _ = scores.split(101, 0.2, 3, classes)
    np.testing.assert_array_equal(kept, again)
    assert len(scores.split(50, 0.2, 0, None)[1]) == 10


def test_shares_of_a_batch_are_its_rows_and_weigh_as_many() -> None:
    index = np.arange(11)
    shares = [Share(number, 3) for number in range(3)]
    rows = [share.rows(index, 5) for share in shares]
    for batch, size in enumerate((5, 5, 1)):
        weights = [share.weight(size) for share in shares]
        assert sum(weights) == pytest.approx(3)
        counted = [r for share, w in zip(rows, weights, strict=True) if w for r in share[batch].tolist()]
        assert sorted(counted) == index[batch * 5 : batch * 5 + size].tolist()
    assert shuffled(index, 1, 0).tolist() != shuffled(index, 1, 1).tolist()
    assert shuffled(index, 1, 1).tolist() == shuffled(index, 1, 1).tolist()


MiB = 1024 * 1024


def test_workers_fit_into_shared_memory() -> None:
    assert shm.fitting(4, MiB, None) == (4, "")
    assert shm.fitting(4, MiB, shm.Space(12 * MiB, 64 * MiB)) == (4, "")
    fits, said = shm.fitting(4, MiB, shm.Space(7 * MiB, 64 * MiB))
    assert fits == 2
    assert "has 7 MiB free" in said
    assert "A /dev/shm of 128 MiB would do, which is this machine's" in said
    fits, said = shm.fitting(4, 100 * MiB, shm.Space(7 * MiB, 64 * MiB, slider=True))
    assert fits == 0
    assert "no workers read the data" in said
    assert "with the slider 'Shared memory' at 1.25 GiB or more" in said


@pytest.mark.parametrize(
    ("needed", "others", "size"),
    [(0, 0, 64), (1, 0, 64), (64, 0, 64), (64, 1, 128), (1000, 0, 1024), (1024, 1, 1280), (5000, 0, 5120)],
)
def test_the_size_that_would_do_is_one_of_a_slider(needed: int, others: int, size: int) -> None:
    assert shm.enough(needed * MiB, others * MiB) == size * MiB


def test_what_ran_out_names_the_slider_and_the_size_that_would_do() -> None:
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error.")
    small = shm.ran_out(error, 4, 50 * MiB, shm.Space(0, 64 * MiB, slider=True))
    assert "slider 'Shared memory' at 640 MiB or more" in small.remedy
    crowded = shm.ran_out(error, 1, 10 * MiB, shm.Space(0, 256 * MiB, slider=True))
    assert "slider 'Shared memory' at 320 MiB or more" in crowded.remedy
    alone = shm.ran_out(error, 1, 10 * MiB, shm.Space(0, 256 * MiB))
    assert "slider" not in alone.remedy


def test_a_server_uses_no_more_cores_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.training.torch.batches import cores

    here = len(os.sched_getaffinity(0))
    for given, used in (("", here), ("0.5", 1), ("1.5", 1), ("1000", here), ("many", here)):
        monkeypatch.setenv("CPU_LIMIT", given)
        assert cores() == used


class Falls(Dataset[Any]):
    """Ends as PyTorch says of a worker whose shared memory ran out."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> Any:
        if i == 7:
            raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")
        return torch.ones(256, 1024), 1


def test_a_worker_without_shared_memory_is_told_with_the_size_that_would_do() -> None:
    from modelyard.errors import StorageFull
    from modelyard.training.torch.batches import Loading, read

    rows = [np.arange(i, i + 2) for i in range(0, 8, 2)]
    with pytest.raises(StorageFull, match="ran out of shared memory") as raised:
        list(read(DatasetSource(Falls()), rows, Loading(1, 0, 0)))
    assert "1 worker with batches of 2 MiB need 6 MiB" in raised.value.remedy
    part = Part(DatasetSource(Falls()), np.arange(6))
    assert workers_for("auto", part, 2) == (0, "")  # reading them takes no time
    assert workers_for(2, part, 2)[0] == 2


def test_one_process_holds_a_run(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(Conflict, match="still lives"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_networks_need_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match="needs PyTorch") as raised:
        kind_of(yard.networks.table())
    assert "pip install" in raised.value.remedy
