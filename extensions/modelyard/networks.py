"""Small networks that are declared, not written: `yard.networks.table(…)`, `yard.networks.image(…)`.

What they take and answer is read from the data in the training process, where they become PyTorch modules
(`training/torch/architectures.py`). Light: nothing here imports PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from modelyard.errors import InvalidInput


@dataclass(frozen=True, repr=False)
class Network:
    """`hidden`: widths of the fully connected layers before the output; `dropout`: share of their values that is left
    out while training, 0 to below 1."""

    hidden: tuple[int, ...]
    dropout: float

    def __repr__(self) -> str:
        """As it is declared."""
        given = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"yard.networks.{type(self).__name__.removesuffix('Network').lower()}({given})"

    def __post_init__(self) -> None:
        _widths("hidden", self.hidden)
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise InvalidInput(f"dropout={self.dropout!r} is not a share from 0 to below 1", remedy="Such as 0.1.")


@dataclass(frozen=True, repr=False)
class TableNetwork(Network):
    """See `table`."""


@dataclass(frozen=True, repr=False)
class ImageNetwork(Network):
    """See `image`."""

    channels: tuple[int, ...] = ()
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        _widths("channels", self.channels)
        if isinstance(self.kernel, bool) or not isinstance(self.kernel, int) or self.kernel < 1 or self.kernel % 2 == 0:
            raise InvalidInput(f"kernel={self.kernel!r} is not an odd number of pixels", remedy="Such as 3 or 5.")


def table(hidden: tuple[int, ...] = (64, 32), *, dropout: float = 0.0) -> TableNetwork:
    """A network for rows of a table: a DataFrame with numbers, text, booleans and pandas categoricals, or an array of
    numbers, of shape (n, columns).

    Numbers are standardised with the mean and deviation of the training rows; a missing one becomes the mean, and a
    column that had missing ones gets a second input that says where. Categories are embedded; missing ones and those
    that training never saw share an embedding.
    """
    return TableNetwork(_tuple(hidden), dropout)


def image(
    channels: tuple[int, ...] = (16, 32), *, kernel: int = 3, hidden: tuple[int, ...] = (64,), dropout: float = 0.0
) -> ImageNetwork:
    """A convolutional network for images, an array of shape (n, height, width), (n, channels, height, width) or
    (n, height, width, 1, 3 or 4).

    Pixels are standardised per channel with the mean and deviation of the training images. Each of `channels` is a
    convolution of `kernel` pixels, ReLU, and a maximum over 2 by 2 pixels; then come the `hidden` layers.
    """
    return ImageNetwork(_tuple(hidden), dropout, _tuple(channels), kernel)


def _tuple(widths: Any) -> Any:
    return tuple(widths) if isinstance(widths, list) else widths


def _widths(name: str, value: Any) -> None:
    whole = isinstance(value, tuple) and all(isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in value)
    if not whole:
        raise InvalidInput(f"{name}={value!r} are not widths of layers", remedy="Such as (64, 32).")
