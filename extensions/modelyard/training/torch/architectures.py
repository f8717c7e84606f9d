"""The networks of `yard.networks` as PyTorch modules, made to fit the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from modelyard.errors import InvalidInput
from modelyard.networks import ImageNetwork, Network, TableNetwork
from modelyard.training.torch.rows import TableReader, Take, Tensors

_CHUNK = 1024


@dataclass(frozen=True)
class Fitting:
    """What a network is fitted to: `take` reads the rows of `index` that it is trained on; `outputs` values for each;
    `scale`: mean and deviation of a number that is predicted, else None."""

    take: Take
    index: NDArray[np.int64]
    outputs: int
    scale: tuple[float, float] | None = None

    def chunks(self) -> Iterator[Tensors]:
        """The rows, some at a time."""
        for start in range(0, len(self.index), _CHUNK):
            yield self.take(self.index[start : start + _CHUNK])


def build(network: Network, fitting: Fitting, reader: object) -> nn.Module:
    """The module; InvalidInput when the rows are not what such a network takes."""
    if isinstance(network, TableNetwork):
        categories = reader.categories if isinstance(reader, TableReader) else ()
        return TableModule(network, fitting, [len(c.levels) for c in categories])
    assert isinstance(network, ImageNetwork)
    return ImageModule(network, fitting)


@dataclass(frozen=True)
class _Statistics:
    """Mean and deviation of each column, missing values left out, and which columns have any."""

    mean: torch.Tensor
    scale: torch.Tensor
    missing: torch.Tensor

    @classmethod
    def of(cls, chunks: Callable[[], Iterator[torch.Tensor]]) -> _Statistics:
        """Over tensors of shape (…, columns), gone through twice so that nothing large is held."""
        count, total, missing = torch.zeros(()), torch.zeros(()), torch.zeros((), dtype=torch.bool)
        for rows in chunks():
            known = ~rows.isnan()
            count, total = count + known.sum(0), total + rows.nan_to_num(0.0).sum(0)
            missing = missing | ~known.all(0)
        mean, squares = total / count.clamp(min=1), torch.zeros(())
        for rows in chunks():
            squares = squares + (rows - mean).nan_to_num(0.0).square().sum(0)
        spread = (squares / count.clamp(min=1)).sqrt()
        return cls(mean, torch.where(spread > 0, spread, 1.0), missing)


class TableModule(nn.Module):
    """Numbers standardised, categories embedded, then fully connected layers."""

    mean: torch.Tensor
    scale: torch.Tensor
    flags: torch.Tensor

    def __init__(self, network: TableNetwork, fitting: Fitting, levels: list[int]) -> None:
        super().__init__()
        head = fitting.take(fitting.index[:1])
        self.numbers, self.categories = len(head) > bool(levels), bool(levels)
        width = 0
        if self.numbers:
            if head[0].ndim != 2:
                raise InvalidInput(
                    f"the rows have shape {tuple(head[0].shape[1:])}, a table network takes (n, columns)",
                    remedy="yard.networks.image() takes images.",
                )
            found = _Statistics.of(lambda: (part[0] for part in fitting.chunks()))
            self.register_buffer("mean", found.mean)
            self.register_buffer("scale", found.scale)
            self.register_buffer("flags", found.missing.nonzero().reshape(-1))
            width += head[0].shape[1] + len(self.flags)
        # The size of an embedding by its levels: the rule of fastai (emb_sz_rule).
        sizes = [min(600, round(1.6 * (n + 1) ** 0.56)) for n in levels]
        self.embeddings = nn.ModuleList(nn.Embedding(n + 1, size) for n, size in zip(levels, sizes, strict=True))
        self.layers = _layers([width + sum(sizes), *network.hidden, fitting.outputs], network.dropout)
        self.output = _Output(fitting.scale)

    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        found = []
        if self.numbers:
            numbers = parts[0]
            missing = numbers.isnan()
            found.append(torch.where(missing, 0.0, (numbers - self.mean) / self.scale).float())
            found.append(missing[:, self.flags].float())
        if self.categories:
            codes = parts[-1]
            found += [embedding(codes[:, i]) for i, embedding in enumerate(self.embeddings)]
        answer: torch.Tensor = self.output(self.layers(torch.cat(found, dim=1)))
        return answer


class ImageModule(nn.Module):
    """Pixels standardised by channel; convolutions with a maximum over 2 by 2 each, then fully connected layers."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: ImageNetwork, fitting: Fitting) -> None:
        super().__init__()
        head = fitting.take(fitting.index[:1])[0]
        if head.ndim not in (3, 4):
            raise InvalidInput(
                f"the rows have shape {tuple(head.shape[1:])}, an image network takes (n, height, width) or "
                "(n, channels, height, width)",
                remedy="X.reshape(-1, 8, 8) makes images of rows of 64 pixels.",
            )
        self.last = head.ndim == 4 and head.shape[-1] in (1, 3, 4) and head.shape[1] not in (1, 3, 4)
        found = _Statistics.of(
            lambda: (self._images(part[0]).movedim(1, -1).flatten(0, -2).double() for part in fitting.chunks())
        )
        self.register_buffer("mean", found.mean.float().reshape(-1, 1, 1))
        self.register_buffer("scale", found.scale.float().reshape(-1, 1, 1))
        parts: list[nn.Module] = []
        _, depth, height, width = self._images(head).shape
        for channels in network.channels:
            parts += [nn.Conv2d(depth, channels, network.kernel, padding=network.kernel // 2), nn.ReLU()]
            depth = channels
            if min(height, width) > 1:
                parts.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
        self.convolutions = nn.Sequential(*parts)
        self.layers = _layers([depth * height * width, *network.hidden, fitting.outputs], network.dropout)
        self.output = _Output(fitting.scale)

    def _images(self, images: torch.Tensor) -> torch.Tensor:
        if images.ndim == 3:
            return images.unsqueeze(1)
        return images.permute(0, 3, 1, 2) if self.last else images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.convolutions((self._images(images) - self.mean) / self.scale)
        answer: torch.Tensor = self.output(self.layers(found.flatten(1)))
        return answer


class _Output(nn.Module):
    """A number in its own units: what comes before works with mean 0 and deviation 1, in mixed precision with some
    three digits, which a number far from 0 is not left."""

    def __init__(self, scale: tuple[float, float] | None) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.scale is None else values.float() * self.scale[1] + self.scale[0]


def _layers(widths: list[int], dropout: float) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        parts += [nn.Linear(before, after), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))
