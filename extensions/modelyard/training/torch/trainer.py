"""The trainer of PyTorch modules: data, module and task put together, trained, and scored on held-out rows."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modelyard.errors import InvalidInput
from modelyard.networks import ImageNetwork, Network
from modelyard.training import data, record
from modelyard.training.job import Diverged, Job, Result
from modelyard.training.progress import ProgressKind
from modelyard.training.torch import checkpoint, gpu, ranks, recipe, reports, scores
from modelyard.training.torch.architectures import Fitting, build
from modelyard.training.torch.batches import (
    ArraySource,
    DatasetSource,
    DeviceSource,
    Index,
    Part,
    Share,
    Source,
    workers_for,
)
from modelyard.training.torch.loop import Fit, Plan
from modelyard.training.torch.predictor import Predictor, predictor
from modelyard.training.torch.rows import ArrayReader, Reader, TableReader, as_array, is_table
from modelyard.training.torch.task import (
    Seen,
    Task,
    classes_of,
    column,
    decide,
    kind_of,
    probabilities,
    targets,
    width_of,
)

_PROBE_ROWS = 8


def run(job: Job) -> Result:
    """Train on the devices that there are, then score on the held-out rows."""
    count = ranks.processes(job.options)
    share, device = Share(0, count), _device(job, 0 if count > 1 else None)
    if count == 1:
        return _train(job, device, ranks.Alone())
    with ranks.led(job.folder, count, resumed=job.resumed), ranks.joined(job.folder, share, device) as together:
        return _train(job, device, together)


def follow(job: Job, share: Share) -> None:
    """Train along as a further process."""
    device = _device(job, share.number)
    with ranks.joined(job.folder, share, device) as together:
        _fit(_prepare(job, device), job, together).run()


def _device(job: Job, number: int | None) -> torch.device:
    """The device of process `number`; what a module of the user's makes on "cuda" is made there too."""
    device = recipe.device_of(job.options.device)
    if device.type == "cuda":
        device = torch.device("cuda", (device.index or 0) if number is None else number)
        torch.cuda.set_device(device)
    return device


def _train(job: Job, device: torch.device, alone: ranks.Alone) -> Result:
    params = _params(job)
    record.params(job.folder, params)
    try:
        return _trained(job, device, alone, params)
    except torch.OutOfMemoryError as error:
        raise gpu.out_of_memory(job.options.batch_size, device) from error
    except torch.AcceleratorError as error:
        raise gpu.failed(error) from error


def _trained(job: Job, device: torch.device, alone: ranks.Alone, params: dict[str, str]) -> Result:
    ready = _prepare(job, device)
    where = recipe.device_name(device) + (f", {alone.share.of} processes" if alone.share.of > 1 else "")
    text = f"{job.spec.model}: {ready.task.kind} with {ready.task.said}, on {where}"
    job.journal.source(ProgressKind.iterations, text)
    fit = _fit(ready, job, alone)
    job.control.gentle = True
    job.journal.step(f"Fitting {job.spec.model}")
    try:
        fit.run()
    except Diverged as error:
        if fit.state.best is not None:
            error.result = _result(ready, job, params)
            error.remedy += f" run.model has the weights after epoch {fit.state.best['epoch']}."
        raise
    return _result(ready, job, params)


@dataclass(frozen=True)
class _Ready:
    """What is trained, and what is needed to make something of it afterwards."""

    module: nn.Module
    reader: Reader
    task: Task
    train: Part
    held: Part | None
    device: torch.device


def _fit(ready: _Ready, job: Job, alone: ranks.Alone) -> Fit:
    """The training, ready to run: from its beginning or from its last checkpoint."""
    saved = checkpoint.load(job.folder) if job.resumed else None
    if saved is not None:
        workers, warning = saved["workers"], ""
    else:
        workers, warning = workers_for(job.options.workers, ready.train, job.options.batch_size)
    if warning:
        job.journal.say("warning", text=warning)
    plan = Plan(
        ready.module,
        ready.task,
        ready.train,
        ready.held,
        job.options,
        job.spec.seed,
        ready.device,
        workers,
        lag=ready.device.type == "cuda",
    )
    torch.manual_seed(job.spec.seed + alone.share.number)
    fit = Fit(plan, job.journal, job.control, alone)
    if saved is not None:
        fit.restore(saved)
    return fit


def _prepare(job: Job, device: torch.device) -> _Ready:
    seed = job.spec.seed
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if isinstance(job.options.loss, nn.Module):
        job.options.loss.to(device)  # the weights of classes that it may have
    ready = _of_dataset(job, device) if data.is_dataset(job.rows[0]) else _of_arrays(job, device)
    if ready.held is None and job.options.patience:
        raise InvalidInput("patience needs held-out rows", remedy="Give test_size=0.2, or validation=(X, y).")
    return ready


def _of_dataset(job: Job, device: torch.device) -> _Ready:
    dataset, module = job.rows[0], job.model
    if isinstance(module, Network):
        raise InvalidInput("a network needs to see arrays", remedy="Give X and y, or a module for the Dataset.")
    if job.functions or job.spec.scorers is not None:
        raise InvalidInput("metrics= needs X and y, which a Dataset does not show", remedy="Leave it out.")
    train, held = np.arange(len(dataset)), None
    if job.held is not None:
        held = Part(_dataset(job.held[0]), np.arange(len(job.held[0])))
    elif job.spec.test_size:
        train, rest = scores.split(len(dataset), job.spec.test_size, job.spec.seed, None)
        held = Part(DatasetSource(dataset), rest)
    part = Part(DatasetSource(dataset), train)
    inputs, target = part.head(_PROBE_ROWS)
    output = _probe(module, inputs, device)
    kind = kind_of(target.cpu().numpy(), job.options.loss, width_of(output))
    task = decide(Seen(output, target.cpu(), kind, None), job.options)
    return _Ready(module, ArrayReader.of(module), task, part, held, device)


def _dataset(given: Any) -> DatasetSource:
    if not data.is_dataset(given):
        raise InvalidInput(
            "validation is no Dataset, as the training rows are", remedy="Give a Dataset of the same items."
        )
    return DatasetSource(given)


def _of_arrays(job: Job, device: torch.device) -> _Ready:
    (X, y), options = job.rows, job.options
    if job.held is not None and data.is_dataset(job.held[0]):
        raise InvalidInput("validation is a Dataset, the training rows are none", remedy="Give validation=(X, y).")
    truth = column(y)
    module, output = job.model, None
    reader: Reader | None = None
    if isinstance(module, nn.Module):
        reader = ArrayReader.of(module, X)
        output = _probe(module, reader.bind(X)(slice(_PROBE_ROWS)), device)
    kind = kind_of(truth, options.loss, width_of(output))
    labels = classes_of(truth) if kind == "classification" else None
    codes = targets(truth, labels)
    train, rest = np.arange(len(truth)), None
    if job.held is None and job.spec.test_size:
        groups = codes(slice(None))[0].numpy() if labels is not None else None
        train, rest = scores.split(len(truth), job.spec.test_size, job.spec.seed, groups)
    if reader is None:
        reader = _reader(module, X, train)
        module = build(module, _fitting(truth, labels, kind, reader.bind(X), train), reader)
        output = _probe(module, reader.bind(X)(slice(_PROBE_ROWS)), device)
    counts = None if labels is None else np.bincount(codes(train)[0].numpy(), minlength=len(labels))
    task = decide(Seen(output, codes(slice(_PROBE_ROWS))[0], kind, labels, counts), options)
    source = _near(ArraySource(reader.bind(X), codes), len(truth), device)
    held = None if rest is None else Part(source, rest)
    if job.held is not None:
        X_held, y_held = job.held[0], column(job.held[1])
        given = ArraySource(reader.bind(X_held), targets(y_held, labels))
        held = Part(_near(given, len(y_held), device), np.arange(len(y_held)))
    return _Ready(module, reader, task, Part(source, train), held, device)


def _near(source: ArraySource, rows: int, device: torch.device) -> Source:
    """The rows on the GPU, where they take little of what is free there."""
    return DeviceSource.of(source, rows, device, gpu.room(device)) or source


def _reader(network: Network, X: Any, train: Index) -> Reader:
    if not is_table(X):
        return ArrayReader(torch.float32 if isinstance(network, ImageNetwork) else torch.float64)
    if isinstance(network, ImageNetwork):
        raise InvalidInput("an image network takes an array of images", remedy="yard.networks.table() takes tables.")
    return TableReader.learn(X, train)


def _fitting(truth: NDArray[Any], labels: NDArray[Any] | None, kind: str, take: Any, train: Index) -> Fitting:
    if labels is not None:
        return Fitting(take, train, len(labels))
    if kind == "other":
        return Fitting(take, train, int(np.prod(truth.shape[1:])))
    spread = float(truth[train].std())
    return Fitting(take, train, 1, (float(truth[train].mean()), spread or 1.0))


def _probe(module: nn.Module, inputs: tuple[torch.Tensor, ...], device: torch.device) -> Any:
    """What the module answers to a few rows; it is on `device` from now on."""
    gpu.place(module, device)
    module.eval()
    try:
        with torch.no_grad():
            output = module(*[part.to(device) for part in inputs])
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # no fault of the rows' shape
    except Exception as error:  # whatever a module raises on its rows is told with what they are
        shapes = ", ".join(f"{str(part.dtype).removeprefix('torch.')} {tuple(part.shape)}" for part in inputs)
        raise InvalidInput(
            f"the module does not take its rows ({shapes}): {type(error).__name__}: {error}",
            remedy="Its forward is called with a batch of rows of X.",
        ) from error
    return output.cpu() if isinstance(output, torch.Tensor) else output


def _result(ready: _Ready, job: Job, params: dict[str, str]) -> Result:
    model, example = predictor(ready.module, ready.reader, ready.task), _example(job.rows[0])
    job.journal.step("Saving the model")
    job.keep(model, example)  # whatever happens to metrics and charts costs no model
    metrics: dict[str, float] = {}
    if ready.held is not None and (job.spec.scorers is not None or job.functions or model.estimator_type):
        job.journal.step("Scoring the held-out rows")
        answers = _answers(ready, job.options.batch_size)
        metrics = _metrics(model, ready, job, answers)
        if model.estimator_type and not job.control.stopping:
            labels = None if ready.task.classes is None else [str(label) for label in ready.task.classes]
            reports.tell(job.journal, *answers, labels, job.spec.seed)
    return Result(model, example, metrics, params)


def _metrics(model: Predictor, ready: _Ready, job: Job, answers: tuple[Any, Any]) -> dict[str, float]:
    assert ready.held is not None
    if job.functions or job.spec.scorers is not None:
        from modelyard.training.scores import score

        rows = _held_rows(ready.held, job)
        return score(model, rows, job.spec.scorers, job.functions, job.journal.say)
    return scores.regression(*answers) if model.estimator_type == "regressor" else scores.classification(*answers)


def _answers(ready: _Ready, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of the held-out rows the numbers of their classes with their probabilities, or targets with predictions; nothing
    of anything else."""
    assert ready.held is not None
    if ready.task.kind == "other":
        return np.empty(0), np.empty(0)
    truth, outputs = [], []
    ready.module.to(ready.device)  # where it was trained it is asked fastest; the model that is kept is on the CPU
    try:
        with torch.no_grad():
            for start in range(0, len(ready.held), size):
                inputs, target = ready.held.source[ready.held.index[start : start + size]]
                output = ready.module(*[part.to(ready.device) for part in inputs]).float().cpu()
                truth.append(target.cpu().reshape(-1))
                outputs.append(output.reshape(-1) if ready.task.kind == "regression" else output)
    finally:
        ready.module.cpu()
    if ready.task.kind == "regression":
        return torch.cat(truth).double().numpy(), torch.cat(outputs).double().numpy()
    return torch.cat(truth).numpy(), probabilities(torch.cat(outputs), ready.task.binary).double().numpy()


def _held_rows(held: Part, job: Job) -> tuple[Any, Any]:
    """The held-out rows as they were given, for the user's own metrics."""
    if job.held is not None:
        return job.held
    X, y = job.rows
    return tuple(v.iloc[held.index] if hasattr(v, "iloc") else as_array(v, "y")[held.index] for v in (X, y))  # type: ignore[return-value]


def _example(X: Any) -> Any:
    """The first rows, to publish with."""
    if data.is_dataset(X):
        inputs, _ = DatasetSource(X)[np.arange(min(data.EXAMPLE_ROWS, len(X)))]
        return inputs[0].cpu().numpy()
    return data.example(X) if hasattr(X, "iloc") else as_array(X)[: data.EXAMPLE_ROWS].copy()


def _params(job: Job) -> dict[str, str]:
    """The options as text, and of a declared network its fields."""
    given = {f.name: getattr(job.options, f.name) for f in fields(job.options)}
    if isinstance(job.model, Network):
        given |= {f.name: getattr(job.model, f.name) for f in fields(job.model)}
    shown = {name: getattr(value, "__name__", None) or repr(value) for name, value in given.items()}
    return shown | {"seed": str(job.spec.seed), "test_size": str(job.spec.test_size)}
