"""PyTorch modules as ONNX graphs, and as torch.export programs. What comes out is a proposal: `build` accepts it by its
answers."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard.packaging.answers import Contract
from modelyard.packaging.onnx import Graph, NotConvertible
from modelyard_api.models import Signature

if TYPE_CHECKING:
    import torch

    from modelyard.training.torch.predictor import Predictor

_ROWS = 2
"""Rows of the example that a module is traced with: a single one would be taken for a constant."""


def is_module(model: Any) -> bool:
    """Whether `model` is a PyTorch module (without importing PyTorch)."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def adopt(module: Any) -> Predictor:
    """`module` as what answers rows; one that was trained here does already. It is packaged from the CPU, where it is
    served: a module on a GPU stays there, and a copy is taken."""
    import copy

    from modelyard.training.torch.predictor import adopted

    here = all(t.device.type == "cpu" for t in (*module.parameters(), *module.buffers()))
    return adopted(module if here else copy.deepcopy(module).cpu())


def program(model: Predictor, example: Any) -> torch.export.ExportedProgram:
    """The module with its own reading of outputs, for any number of rows. Raises NotConvertible."""
    import torch

    inputs = _inputs(model, example)
    rows = torch.export.Dim("rows", min=1)
    try:
        with _quiet():
            return torch.export.export(_published(model), inputs, dynamic_shapes=(tuple({0: rows} for _ in inputs),))
    except Exception as error:  # tracing runs the user's code, which may raise anything
        raise NotConvertible(f"torch.export: {_first_line(error)}") from error


def program_file(model: Predictor, example: Any) -> bytes:
    """The program as the file that the `torch` flavor reads. Raises NotConvertible."""
    import torch

    if _categories(model):
        raise NotConvertible("a program takes no categories")
    traced, file = program(model, example), io.BytesIO()
    with _quiet():
        torch.export.save(traced, file)
    return file.getvalue()


def _categories(model: Predictor) -> bool:
    return bool(getattr(model.reader, "categories", ()))


def graphs(model: Predictor, example: Any, signature: Signature, contract: Contract) -> Iterator[Graph]:
    """ONNX graphs to try. Labels and a table's columns are read in the graph. Raises NotConvertible."""
    import torch

    traced = program(model, example)
    try:
        with _quiet():
            exported = torch.onnx.export(traced, dynamo=True, verbose=False, optimize=True)
        assert exported is not None  # without a file name it answers the graph
        proto = exported.model_proto
    except Exception as error:  # the exporter knows not every operator, and says so in many ways
        raise NotConvertible(f"torch.onnx: {_first_line(error)}") from error
    if _categories(model):
        _read_columns(proto, model.reader, signature)
    if contract.task == "classification":
        _answer_labels(proto, contract.classes or ())
    try:
        content: bytes = proto.SerializeToString()
    except ValueError as error:
        raise NotConvertible("an ONNX file holds 2 GB at most") from error
    yield Graph(content, "float32")


def _inputs(model: Predictor, example: Any) -> tuple[torch.Tensor, ...]:
    import torch

    take = model.reader.bind(example)
    inputs = take(np.resize(np.arange(min(_ROWS, len(example))), _ROWS))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return tuple(part.to(device) for part in inputs)


def _published(model: Predictor) -> Any:
    """A module of tensors that answers what is published, in order."""
    import copy

    import torch

    class Published(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = copy.deepcopy(model).eval()

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(self.model.answers(self.model(*inputs)).values())

    return Published().eval()


def _answer_labels(proto: Any, classes: tuple[Any, ...]) -> None:
    """Put the most probable class before the probabilities."""
    from onnx import helper, numpy_helper

    graph = proto.graph
    probabilities = graph.output[0]
    values = np.asarray(classes)
    known = values.astype(object) if values.dtype.kind in "US" else values
    graph.initializer.append(numpy_helper.from_array(known, "modelyard_classes"))
    graph.node.append(helper.make_node("ArgMax", [probabilities.name], ["modelyard_best"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Gather", ["modelyard_classes", "modelyard_best"], ["modelyard_label"]))
    kind = helper.np_dtype_to_tensor_dtype(known.dtype)
    label = helper.make_tensor_value_info("modelyard_label", kind, [None])
    kept = helper.make_tensor_value_info(probabilities.name, 1, [None, len(classes)])  # TensorProto.FLOAT
    del graph.output[:]
    graph.output.extend([label, kept])


def _read_columns(proto: Any, reader: Any, signature: Signature) -> None:
    """Put a column each before the tensors of numbers and of levels' numbers."""
    from onnx import TensorProto, helper

    graph = proto.graph
    inner = [value.name for value in graph.input]
    names = {spec.name: f"modelyard_column_{i}" for i, spec in enumerate(signature.inputs)}
    nodes = []
    if reader.numbers:
        nodes.append(helper.make_node("Concat", [names[n] for n in reader.numbers], [inner[0]], axis=1))
    for category in reader.categories:
        source, code = names[category.name], f"{names[category.name]}_code"
        if not category.text:
            nodes.append(helper.make_node("Cast", [source], [f"{source}_float"], to=TensorProto.FLOAT))
            source = f"{source}_float"
        keys = {"keys_strings" if category.text else "keys_floats": list(category.levels)}
        numbers = list(range(1, len(category.levels) + 1))
        nodes.append(
            helper.make_node(
                "LabelEncoder", [source], [code], domain="ai.onnx.ml", default_int64=0, values_int64s=numbers, **keys
            )
        )
    if reader.categories:
        codes = [f"{names[c.name]}_code" for c in reader.categories]
        nodes.append(helper.make_node("Concat", codes, [inner[-1]], axis=1))
    text = {c.name for c in reader.categories if c.text}
    columns = [
        helper.make_tensor_value_info(
            names[name], TensorProto.STRING if name in text else TensorProto.DOUBLE, [None, 1]
        )
        for name in names
    ]
    before = list(graph.node)
    del graph.input[:], graph.node[:]
    graph.input.extend(columns)
    graph.node.extend([*nodes, *before])
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell much that the owner of a module can do nothing about."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
