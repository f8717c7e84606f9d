"""A table of numbers as one matrix: what most models take, without an array for each column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Block(Mapping[str, NDArray[Any]]):
    """Columns by name, as views of `matrix`, shape (n, columns)."""

    __slots__ = ("_names", "matrix")

    def __init__(self, names: dict[str, int], matrix: NDArray[Any]) -> None:
        self._names = names
        self.matrix = matrix

    def __getitem__(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self.matrix[:, self._names[name]]
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def joined(self, others: list[Block]) -> Block:
        """The rows of this one and of others with the same columns."""
        return Block(self._names, np.concatenate([self.matrix, *(other.matrix for other in others)]))


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy where it is a view of a request's bytes: models that are Python may write into theirs."""
    return array if array.flags.writeable else array.copy()
