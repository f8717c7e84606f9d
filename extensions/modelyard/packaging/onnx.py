"""Conversion of scikit-learn models to ONNX. What comes out is a proposal: `build` accepts it by its answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.packaging.answers import Contract
from modelyard.packaging.converters import converters
from modelyard_api.models import ColumnKind, Signature

OPSET = {"": 18, "ai.onnx.ml": 3}
_UNCONVERTIBLE = ("MissingShapeCalculator", "MissingConverter")


class NotConvertible(Exception):
    """No ONNX graph for this model; the text says why, in a sentence for its owner."""


@dataclass(frozen=True)
class Graph:
    """A proposed graph, serialized. `precision` is that of its numeric inputs."""

    content: bytes
    precision: str


@dataclass(frozen=True)
class _Plan:
    single: bool
    double: bool


def convert(model: Any, signature: Signature, contract: Contract) -> Iterator[Graph]:
    """Graphs to try, the most exact first. Raises NotConvertible when there is none (left)."""
    if not hasattr(model, "__sklearn_tags__"):
        raise NotConvertible("only scikit-learn models are converted")
    if any(spec.kind is ColumnKind.datetime for spec in signature.inputs):
        raise NotConvertible("ONNX has no dates")
    reasons: list[str] = []
    for plan in _plans(signature):
        try:
            content = _graph(model, signature, contract, plan)
        except NotConvertible:
            raise
        except Exception as error:  # a converter may raise anything; what it says is the reason recorded
            if type(error).__name__ in _UNCONVERTIBLE:
                raise NotConvertible(f"skl2onnx has no converter for {_estimator(error, model)}") from error
            reasons.append(_sentence(error))
            continue
        yield Graph(content, "float64" if plan.double else "float32")
    if reasons:
        raise NotConvertible(reasons[0])


def _plans(signature: Signature) -> list[_Plan]:
    if signature.layout == "tensor":
        return [_Plan(True, True), _Plan(True, False)]
    numeric = all(s.kind in (ColumnKind.number, ColumnKind.boolean) for s in signature.inputs)
    return [_Plan(single, double) for double in (True, False) for single in ((True, False) if numeric else (False,))]


def _graph(model: Any, signature: Signature, contract: Contract, plan: _Plan) -> bytes:
    from skl2onnx import convert_sklearn

    convert_functions, shape_functions = converters(plan.double)
    # Only what answers probabilities has the option (a linear SVM does not); ours are an array, not a list of maps.
    options = {id(model): {"zipmap": False}} if len(contract.outputs) > 1 and contract.classes else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = convert_sklearn(
            model,
            name="modelyard",
            initial_types=_input_types(signature, plan),
            target_opset=OPSET,
            options=options,
            custom_conversion_functions=convert_functions,
            custom_shape_calculators=shape_functions,
        )
    del graph.graph.output[len(contract.outputs) :]
    if contract.classes and all(isinstance(label, float) for label in contract.classes):
        _cast_labels(graph.graph)
    content: bytes = graph.SerializeToString()
    return content


def _cast_labels(graph: Any) -> None:
    """Make the labels float64: skl2onnx writes 0.0 and 1.0 as integers."""
    from onnx.helper import make_node, make_tensor_value_info

    labels = graph.output[0]
    graph.node.append(make_node("Cast", [labels.name], ["modelyard_label"], to=11))  # TensorProto.DOUBLE
    graph.output[0].CopyFrom(make_tensor_value_info("modelyard_label", 11, [None]))


def _input_types(signature: Signature, plan: _Plan) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if plan.double else FloatTensorType
    if signature.layout == "tensor":
        spec = signature.inputs[0]
        if len(spec.shape) != 2:
            raise NotConvertible(f"only arrays of 2 dimensions are converted, not {len(spec.shape)}")
        kind = StringTensorType if spec.kind is ColumnKind.string else number
        return [("input", kind([None, spec.shape[1]]))]
    if plan.single:
        return [("input", number([None, len(signature.inputs)]))]
    return [
        (s.name, (StringTensorType if s.kind is ColumnKind.string else number)([None, 1])) for s in signature.inputs
    ]


def _estimator(error: Exception, model: Any) -> str:
    text = str(error)
    marker = "type '<class '"
    if marker in text:
        return text.split(marker, 1)[1].split("'", 1)[0].rsplit(".", 1)[-1]
    return type(model).__name__


def _sentence(error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "at most 1 input" in first:
        return "the estimator takes text and numbers in one table, which an ONNX graph cannot"
    return f"skl2onnx: {first[:200]}"
