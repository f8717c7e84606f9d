"""A ColumnTransformer that gets its columns as arrays, without the frame that they would be taken out of by name.

Making a frame of a lone row, taking columns out of it and looking at each of them costs several times what its
transformers compute. Each of them gets the array that it would make of its part of the frame, in the same order in
memory, so that no bit of what comes of it is another one; where one of them could tell, all is left as it is.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # type: ignore[import-untyped]
from sklearn import get_config
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder
from sklearn.utils import check_array

from modelyard_api.models import ColumnKind, PackageManifest, Signature, TensorSpec
from modelyard_server.block import Block, writable
from modelyard_server.columns import check
from modelyard_server.flavors.bare import answers_frames, flat, forget_names_of, numbers
from modelyard_server.flavors.base import Columns
from modelyard_server.flavors.frame import array, frame

_log = logging.getLogger(__name__)
_OF_TEXTS = (OneHotEncoder, OrdinalEncoder, SimpleImputer)
"""Those take an array of objects value by value, as they take the columns of a frame of texts."""
_Table = Callable[[Signature, Columns], Any]


def by_column(transformer: Any, manifest: PackageManifest) -> _Table | None:
    """What does with checked columns what `transformer.transform` does with their frame; None where nothing is sure
    to. It is tried with the package's example: without one there is none."""
    signature = manifest.signature
    if type(transformer) is not ColumnTransformer or signature.layout != "table" or not manifest.example:
        return None
    routed = get_config()["enable_metadata_routing"] or get_config()["transform_output"] != "default"
    if routed or transformer.transformer_weights or answers_frames(transformer):
        return None
    parts = list(_parts(transformer, signature))
    if not parts or None in parts:
        return None
    found = _ByColumn([part for part in parts if part is not None], together=transformer.sparse_output_)
    return found if _agree(found, transformer, manifest) else None


class _ByColumn:
    """`together`: whether the parts make one sparse matrix."""

    def __init__(self, parts: list[_Part], *, together: bool) -> None:
        self._parts = parts
        self._together = together

    def __call__(self, signature: Signature, columns: Columns) -> Any:
        sides = [part(columns) for part in self._parts]
        if self._together:
            sides = [check_array(side, accept_sparse=True, ensure_all_finite=False) for side in sides]
            return sparse.hstack(sides).tocsr()
        return np.hstack([side.toarray() if sparse.issparse(side) else side for side in sides])


class _Part:
    """One transformer's columns, and its steps."""

    def __init__(self, signature: Signature, places: list[int], steps: list[Any], *, texts: bool) -> None:
        self._signature = signature
        self._steps = steps
        self._texts = texts
        strides = {after - before for before, after in pairwise(places)} or {1}
        stride = strides.pop()
        end = places[-1] + stride
        # Of columns at equal distances pandas takes a view, of others a copy, whose rows are in one piece.
        self._places: slice | list[int] = places
        if not strides and stride:
            self._places = slice(places[0], end if end >= 0 else None, stride)

    def __call__(self, columns: Columns) -> Any:
        table = self._table(columns)
        for step in self._steps:
            table = step.transform(table)
        return table

    def _table(self, columns: Columns) -> NDArray[Any]:
        if self._texts:
            return np.column_stack([_texts(spec, columns[spec.name]) for spec in self._signature.inputs])
        if not isinstance(columns, Block):
            return array(self._signature, columns)
        if isinstance(self._places, slice):
            return writable(columns.matrix)[:, self._places]
        return np.take(columns.matrix, self._places, axis=1)


def _texts(spec: TensorSpec, column: NDArray[Any]) -> NDArray[Any]:
    """As a frame has them: the type `str` has NaN for what is missing."""
    if spec.dtype == "object":
        return column.astype(object)
    return np.array([np.nan if value is None else value for value in column.tolist()], dtype=object)


def _parts(transformer: ColumnTransformer, signature: Signature) -> Iterator[_Part | None]:
    """Of each transformer that has columns; None for one that has to get a frame."""
    places = {spec.name: place for place, spec in enumerate(signature.inputs)}
    known = [str(name) for name in getattr(transformer, "feature_names_in_", ())]
    for _, step, chosen in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        names = _names(chosen, known)
        if names is None or not set(names) <= places.keys():
            yield None
            return
        if names:
            part = signature.model_copy(update={"inputs": tuple(signature.inputs[places[n]] for n in names)})
            yield _part(step, part, [places[n] for n in names])


def _names(chosen: Any, known: list[str]) -> list[str] | None:
    """The columns that a transformer gets as a table; None where it was told otherwise."""
    if isinstance(chosen, (str, slice)) or np.isscalar(chosen):
        return None
    each = list(chosen)
    if all(isinstance(one, str) for one in each):
        return each
    if known and all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) for one in each):
        return [known[one] for one in each]
    return None


def _part(step: Any, signature: Signature, places: list[int]) -> _Part | None:
    steps = [copy.copy(one) for one in flat(step)]  # what is forgotten is theirs alone
    texts = all(spec.kind is ColumnKind.string and spec.categories is None for spec in signature.inputs)
    if texts:
        if not steps or type(steps[0]) not in _OF_TEXTS or any(answers_frames(one) for one in steps):
            return None
        if getattr(steps[0], "copy", True) is False:  # another transformer may have the column, too
            return None
        vars(steps[0]).pop("feature_names_in_", None)
    elif not _passed(steps, signature) and not forget_names_of(steps, signature):
        return None
    return _Part(signature, places, steps, texts=texts)


def _passed(steps: list[Any], signature: Signature) -> bool:
    """Whether the columns are passed on as they are: they become an array when all parts are put together."""
    return numbers(signature) and all(
        type(step) is FunctionTransformer and step.func is None and not step.validate and not answers_frames(step)
        for step in steps
    )


def _agree(found: _Table, transformer: ColumnTransformer, manifest: PackageManifest) -> bool:
    """Whether both make the same of the package's example, as a whole and of its first row."""
    signature, rows = manifest.signature, manifest.example
    try:
        for some in (rows, rows[:1]):
            columns = check(signature, {spec.name: [row[spec.name] for row in some] for spec in signature.inputs})
            tables: list[Columns] = [columns]
            if all(spec.dtype == "float64" and not spec.categories for spec in signature.inputs):
                tables.append(Block({name: i for i, name in enumerate(columns)}, np.column_stack([*columns.values()])))
            for table in tables:
                if not same(found(signature, table), transformer.transform(frame(signature, table))):
                    return False
    except Exception as error:  # a transformer may raise anything; then the model's own words come with its prediction
        _log.warning("the columns are taken from a frame: %s", error)
        return False
    return True


def same(one: Any, other: Any) -> bool:
    """Whether two tables have the same type, order in memory and bits."""
    if type(one) is not type(other) or one.dtype != other.dtype or one.shape != other.shape:
        return False
    if sparse.issparse(one):
        sides = [(getattr(one, name), getattr(other, name)) for name in ("data", "indices", "indptr")]
        return bool(one.format == other.format == "csr" and all(same(a, b) for a, b in sides))
    order = [(table.flags.c_contiguous, table.flags.f_contiguous) for table in (one, other)]
    if order[0] != order[1]:
        return False
    return repr(one.tolist()) == repr(other.tolist()) if one.dtype == object else bool(one.tobytes() == other.tobytes())
