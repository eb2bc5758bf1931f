"""How operations act on a part of a map: which part of the result changes, what it reads, and how it is computed.

Parts are (n, *rest, *size); a result's part is computed from the region of each input that it reads, in which whatever
lies beyond the map holds the operation's padding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voxplain.score.windows_boxes import Box, Places, crop, lying, upright

Region = tuple[Places, tuple[int, ...]]
"""Where regions start (n, axis) and their size; they may reach beyond the map."""

Run = Callable[[list[Tensor], Sequence[int]], list[Tensor]]
"""Regions of the inputs and the size of the result's part -> the result's parts."""


@dataclass(frozen=True, eq=False)
class Rule(ABC):
    """What a part of the result needs and how it comes about."""

    sides: tuple[int, ...]
    """Of the whole result."""
    work: float
    """Multiply-adds of convolution for one voxel of the result."""

    fill = 0.0
    """What lies beyond the map."""
    halo = True
    """False where voxels are computed from the same voxel alone."""

    @abstractmethod
    def out(self, box: Box) -> Box:
        """The part of the result that depends on a part of the input."""

    @abstractmethod
    def need(self, out: Box) -> Region:
        """The region of the input that a part of the result reads."""

    @abstractmethod
    def apply(self, parts: list[Tensor], out: Box, start: Places) -> list[Tensor]:
        """The parts of the results, from the regions of the inputs that start at `start`."""


@dataclass(frozen=True, eq=False)
class Pointwise(Rule):
    """Each voxel from the same voxel of each input alone."""

    run: Run
    halo = False

    def out(self, box: Box) -> Box:
        return box

    def need(self, out: Box) -> Region:
        return out.origin, out.size

    def apply(self, parts: list[Tensor], out: Box, start: Places) -> list[Tensor]:
        return self.run(parts, out.size)


@dataclass(frozen=True, eq=False)
class Sliding(Rule):
    """Voxel o of the result reads the voxels [o * stride + first, o * stride + first + extent) of the input."""

    run: Callable[[Tensor], Tensor]
    stride: tuple[int, ...]
    first: tuple[int, ...]
    extent: tuple[int, ...]
    beyond: float = 0.0

    @property
    def fill(self) -> float:  # type: ignore[override]
        return self.beyond

    def out(self, box: Box) -> Box:
        stride, first, extent = (np.asarray(part) for part in (self.stride, self.first, self.extent))
        low = -((extent - 1 + first - box.origin) // stride)
        high = (box.past - 1 - first) // stride + 1
        return Box.around(np.clip(low, 0, self.sides), np.clip(high, 0, self.sides), self.sides)

    def need(self, out: Box) -> Region:
        stride, first, extent = (np.asarray(part) for part in (self.stride, self.first, self.extent))
        return out.origin * stride + first, tuple(((np.asarray(out.size) - 1) * stride + extent).tolist())

    def apply(self, parts: list[Tensor], out: Box, start: Places) -> list[Tensor]:
        return [self.run(parts[0])]


@dataclass(frozen=True, eq=False)
class Transposed(Rule):
    """Voxel i of the input adds to the voxels i * stride - padding + (0 .. extent - 1) of the result."""

    run: Callable[[Tensor], Tensor]
    """The operation without padding, its result lengthened by stride - 1 voxels at the far end."""
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    extent: tuple[int, ...]

    def out(self, box: Box) -> Box:
        stride, padding, extent = (np.asarray(part) for part in (self.stride, self.padding, self.extent))
        low, high = box.origin * stride - padding, (box.past - 1) * stride - padding + extent
        return Box.around(np.clip(low, 0, self.sides), np.clip(high, 0, self.sides), self.sides)

    def need(self, out: Box) -> Region:
        stride, padding, extent = (np.asarray(part) for part in (self.stride, self.padding, self.extent))
        first = -((extent - 1 - padding - out.origin) // stride)
        first = np.minimum(first, (out.origin + padding) // stride)
        last = (out.past - 1 + padding) // stride
        return first, tuple((last - first + 1).max(axis=0).tolist())

    def apply(self, parts: list[Tensor], out: Box, start: Places) -> list[Tensor]:
        rank = len(self.sides)
        offsets = out.origin - (start * np.asarray(self.stride) - np.asarray(self.padding))
        return [upright(crop(lying(self.run(parts[0]), rank), offsets, out.size), rank)]


@dataclass(frozen=True, eq=False)
class Separable(Rule):
    """A weighted sum along each axis in turn: result = matrix (result, input) times input, axis by axis."""

    matrices: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    """Sides of the whole input."""

    def _reach(self, axis: int) -> tuple[Places, Places]:
        """First and one past the last voxel of the input that each voxel of the result reads."""
        read = (self.matrices[axis] != 0).cpu().numpy()
        return read.argmax(axis=1), read.shape[1] - read[:, ::-1].argmax(axis=1)

    def out(self, box: Box) -> Box:
        first, past = np.zeros_like(box.origin), np.zeros_like(box.origin)
        for axis in range(len(self.sides)):
            low, high = self._reach(axis)
            first[:, axis] = np.searchsorted(high, box.origin[:, axis], side="right")
            past[:, axis] = np.searchsorted(low, box.past[:, axis], side="left")
        return Box.around(first, past, self.sides)

    def need(self, out: Box) -> Region:
        first, past = np.zeros_like(out.origin), np.zeros_like(out.origin)
        for axis in range(len(self.sides)):
            low, high = self._reach(axis)
            first[:, axis], past[:, axis] = low[out.origin[:, axis]], high[out.past[:, axis] - 1]
        box = Box.around(first, past, self.inputs)
        return box.origin, box.size

    def apply(self, parts: list[Tensor], out: Box, start: Places) -> list[Tensor]:
        part, rank = parts[0], len(self.sides)
        for axis, matrix in enumerate(self.matrices):
            rows = torch.from_numpy(out.origin[:, axis, None] + np.arange(out.size[axis]))
            columns = torch.from_numpy(start[:, axis, None] + np.arange(part.shape[axis - rank]))
            weights = matrix[rows[:, :, None], columns[:, None, :]].to(part)
            moved = part.movedim(axis - rank, 1)
            part = torch.bmm(weights, moved.flatten(2)).unflatten(2, moved.shape[2:]).movedim(1, axis - rank)
        return [part]


def each(value: Any, rank: int) -> tuple[int, ...]:
    """One number an axis."""
    values = tuple(int(item) for item in (value if isinstance(value, Sequence) else [value]))
    return values * rank if len(values) == 1 else values
