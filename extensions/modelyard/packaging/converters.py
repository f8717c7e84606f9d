"""Converters for skl2onnx where its own lose precision, refuse missing text, or do not work with this scikit-learn.

They are handed to one conversion and never registered: the notebook's own use of skl2onnx stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from modelyard_api.models import MISSING_TEXT

Shape = Callable[[Any], None]
Convert = Callable[[Any, Any, Any], None]
_ML = "ai.onnx.ml"


class _ExactTrees:
    """A container whose tree nodes keep thresholds and weights in double precision, and ids as Python's integers.

    skl2onnx writes thresholds as float32, and hands on numpy integers, which onnx refuses.
    """

    _DOUBLES = ("nodes_values", "nodes_hitrates", "class_weights", "target_weights", "base_values")

    def __init__(self, container: Any, double: bool) -> None:
        self._container = container
        self._double = double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
        """As the container's own, with attributes made exact."""
        if op_type.startswith("TreeEnsemble"):
            attributes = dict(self._exact(key, value) for key, value in attributes.items())
            if self._double:
                attributes["op_version"] = 3
        self._container.add_node(op_type, inputs, outputs, **attributes)

    def _exact(self, key: str, value: Any) -> tuple[str, Any]:
        if key in self._DOUBLES:
            numbers = np.asarray(value).ravel()
            if self._double and numbers.size:
                from onnx.numpy_helper import from_array

                return f"{key}_as_tensor", from_array(numbers.astype(np.float64), name=key)
            return key, numbers.astype(np.float32).tolist()
        if isinstance(value, list) and value and isinstance(value[0], (int, bool, np.integer, np.bool_)):
            return key, [int(v) for v in value]
        return key, value


def converters(double: bool) -> tuple[dict[type, Convert], dict[type, Shape]]:
    """Conversion functions and shape calculators by estimator class; `double`: numbers are float64 in this graph."""
    from skl2onnx.common._registration import get_converter, get_shape_calculator
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    convert: dict[type, Convert] = {
        SimpleImputer: _imputer,
        OneHotEncoder: _one_hot,
        OrdinalEncoder: _ordinal(double),
    }
    shapes: dict[type, Shape] = {
        SimpleImputer: get_shape_calculator("SklearnSimpleImputer"),
        OneHotEncoder: get_shape_calculator("SklearnOneHotEncoder"),
        OrdinalEncoder: _ordinal_shape(double),
    }
    for kind in _tree_classes():
        name = f"Sklearn{kind.__name__}"
        rounds = not kind.__name__.startswith("Hist")
        convert[kind] = _trees(get_converter(name), double, rounds)
        shapes[kind] = _float_outputs(get_shape_calculator(name))
    return convert, shapes


def _tree_classes() -> list[type]:
    from sklearn import ensemble, tree

    return [
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.GradientBoostingClassifier,
        ensemble.GradientBoostingRegressor,
        ensemble.HistGradientBoostingClassifier,
        ensemble.HistGradientBoostingRegressor,
    ]


def _trees(original: Convert, double: bool, rounds: bool) -> Convert:
    """`original` with exact nodes. `rounds`: scikit-learn compares float32 inputs with the thresholds, so we do too."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        for predictor in np.ravel(np.asarray(getattr(operator.raw_operator, "_predictors", []), dtype=object)):
            if predictor.nodes["is_categorical"].any():
                raise NotImplementedError("histogram gradient boosting with categorical features")
        changed = _rounded(scope, operator, container) if rounds else operator
        original(scope, changed, _ExactTrees(container, double and not rounds))

    return convert


def _rounded(scope: Any, operator: Any, container: Any) -> Any:
    """`operator` with its inputs side by side as float32."""
    from skl2onnx.common.data_types import FloatTensorType

    columns = sum(variable.type.shape[1] for variable in operator.inputs)
    rows = operator.inputs[0].get_first_dimension()
    rounded = scope.declare_local_variable("rounded", FloatTensorType([rows, columns]))
    container.add_node(
        "Cast",
        [_side_by_side(scope, operator, container)],
        [rounded.full_name],
        to=1,  # TensorProto.FLOAT
        name=scope.get_unique_operator_name("Cast"),
    )
    changed = copy.copy(operator)
    changed.inputs = [rounded]
    return changed


def _float_outputs(original: Shape) -> Shape:
    """`original`, with float32 scores: that is what tree ensembles give at any precision of their inputs."""

    def shape(operator: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

        original(operator)
        for output in operator.outputs:
            if isinstance(output.type, DoubleTensorType):
                output.type = FloatTensorType(output.type.shape)

    return shape


def _number_type(variable: Any) -> Any:
    from skl2onnx.common.data_types import guess_numpy_type

    return guess_numpy_type(variable.type)


def _is_text(variable: Any) -> bool:
    from skl2onnx.common.data_types import StringTensorType

    return isinstance(variable.type, StringTensorType)


def _side_by_side(scope: Any, operator: Any, container: Any) -> str:
    names = [variable.full_name for variable in operator.inputs]
    if len(names) == 1:
        return str(names[0])
    joined: str = scope.get_unique_variable_name("columns")
    container.add_node("Concat", names, joined, axis=1, name=scope.get_unique_operator_name("Concat"))
    return joined


def _initializer(scope: Any, container: Any, name: str, values: np.ndarray[Any, Any]) -> str:
    from onnx.helper import np_dtype_to_tensor_dtype

    unique: str = scope.get_unique_variable_name(name)
    if values.dtype.kind in "OU":
        kind, flat = 8, [str(v).encode() for v in values.ravel()]  # 8: TensorProto.STRING
    else:
        kind, flat = np_dtype_to_tensor_dtype(values.dtype), values.ravel().tolist()
    container.add_initializer(unique, kind, list(values.shape), flat)
    return unique


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _imputer(scope: Any, operator: Any, container: Any) -> None:
    """SimpleImputer as `Where(missing, statistics, column)`: any precision, and text."""
    op = operator.raw_operator
    statistics = np.asarray(op.statistics_)
    if op.add_indicator:
        raise NotImplementedError("SimpleImputer with add_indicator")
    if any(_is_missing(v) for v in statistics):
        raise NotImplementedError("SimpleImputer with a column that was empty at fit")
    columns = _side_by_side(scope, operator, container)
    missing = scope.get_unique_variable_name("missing")
    if _is_text(operator.inputs[0]):
        text = MISSING_TEXT if _is_missing(op.missing_values) else str(op.missing_values)
        flags = scope.get_unique_variable_name("flags")
        container.add_node(
            "LabelEncoder",
            [columns],
            [flags],
            op_domain=_ML,
            op_version=2,
            keys_strings=[text],
            values_int64s=[1],
            default_int64=0,
            name=scope.get_unique_operator_name("LabelEncoder"),
        )
        container.add_node("Cast", [flags], [missing], to=9, name=scope.get_unique_operator_name("Cast"))  # 9: BOOL
        fill = _initializer(scope, container, "fill", statistics.astype(object)[None, :])
    else:
        dtype = _number_type(operator.inputs[0])
        fill = _initializer(scope, container, "fill", statistics.astype(dtype)[None, :])
        if _is_missing(op.missing_values):
            container.add_node("IsNaN", [columns], [missing], name=scope.get_unique_operator_name("IsNaN"))
        else:
            mark = _initializer(scope, container, "mark", np.array([op.missing_values], dtype=dtype))
            container.add_node("Equal", [columns, mark], [missing], name=scope.get_unique_operator_name("Equal"))
    container.add_node(
        "Where", [missing, fill, columns], operator.output_full_names, name=scope.get_unique_operator_name("Where")
    )


def _one_hot(scope: Any, operator: Any, container: Any) -> None:
    """skl2onnx's own, with a missing text named as the data plane names it."""
    from skl2onnx.operator_converters.one_hot_encoder import convert_sklearn_one_hot_encoder

    op = copy.copy(operator.raw_operator)
    text = all(_is_text(variable) for variable in operator.inputs)
    missing = [any(_is_missing(v) for v in known) for known in op.categories_]
    if any(missing) and not text:
        raise NotImplementedError("OneHotEncoder with a missing number as a category")
    op.categories_ = [
        np.array([MISSING_TEXT if _is_missing(v) else v for v in known], dtype=object) if absent else known
        for known, absent in zip(op.categories_, missing, strict=True)
    ]
    if op.handle_unknown in ("warn", "infrequent_if_exist") and not op._infrequent_enabled:
        op.handle_unknown = "ignore"
    changed = copy.copy(operator)
    changed.raw_operator = op
    convert_sklearn_one_hot_encoder(scope, changed, container)


def _ordinal_shape(double: bool) -> Shape:
    def shape(operator: Any) -> None:
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

        columns = sum(variable.type.shape[1] for variable in operator.inputs)
        kind = DoubleTensorType if double else FloatTensorType
        operator.outputs[0].type = kind([operator.inputs[0].get_first_dimension(), columns])

    return shape


def _ordinal(double: bool) -> Convert:
    """OrdinalEncoder of text: one LabelEncoder a column, missing and unknown values with their own codes."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        op = operator.raw_operator
        if not all(_is_text(v) for v in operator.inputs) or getattr(op, "_infrequent_enabled", False):
            raise NotImplementedError("OrdinalEncoder of numbers, or with infrequent categories")
        joined = _side_by_side(scope, operator, container)
        unknown = float(op.unknown_value) if op.handle_unknown == "use_encoded_value" else np.nan
        codes = []
        for i, known in enumerate(op.categories_):
            keys = [MISSING_TEXT if _is_missing(v) else str(v) for v in known]
            values = [op.encoded_missing_value if _is_missing(v) else float(j) for j, v in enumerate(known)]
            index = _initializer(scope, container, "index", np.array([i], dtype=np.int64))
            column, code = (scope.get_unique_variable_name(n) for n in ("column", "code"))
            container.add_node(
                "Gather", [joined, index], [column], axis=1, name=scope.get_unique_operator_name("Gather")
            )
            container.add_node(
                "LabelEncoder",
                [column],
                [code],
                op_domain=_ML,
                op_version=2,
                keys_strings=keys,
                values_floats=[float(v) for v in values],
                default_float=unknown,
                name=scope.get_unique_operator_name("LabelEncoder"),
            )
            codes.append(code)
        floats = scope.get_unique_variable_name("codes")
        container.add_node("Concat", codes, [floats], axis=1, name=scope.get_unique_operator_name("Concat"))
        container.add_node(
            "Cast",
            [floats],
            operator.output_full_names,
            to=11 if double else 1,  # TensorProto.DOUBLE, FLOAT
            name=scope.get_unique_operator_name("Cast"),
        )

    return convert
