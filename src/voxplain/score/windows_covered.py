"""Windows of images under a cover: which image, where, in which channels, and by what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from voxplain.score.windows_boxes import Box, Places, crop

Window = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Covered:
    """Images in each of which one window is covered; n of them, made from a batch."""

    x: Tensor
    """The clean batch (batch, channel, *space)."""
    cover: Tensor | Callable[[Tensor], Tensor]
    """What covers each sample, shaped like the batch; or a function of numbers (k,) giving (k, channel, *space)."""
    rows: Tensor
    """The sample that each is made from (n,)."""
    windows: Sequence[Window]
    """Where each is covered: one slice an axis, n of them."""
    channels: Sequence[slice] | None = None
    """Which channels of each are covered, n of them; None: all."""

    def make(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The images of the given numbers (k,), and their samples (k,), as a stream of a score wants them."""
        rows = self.rows[index]
        batch, covers = self.x[rows.to(self.x.device)], self._covers(index)  # a copy
        for slot, number in enumerate(index.tolist()):
            place = (self._group(number), *self.windows[number])
            batch[slot][place] = covers[slot][place]
        return batch, rows

    @cached_property
    def first(self) -> Places:
        """Where each window starts (n, axis)."""
        return np.array([[part.start or 0 for part in window] for window in self.windows], dtype=np.int64)

    @cached_property
    def past(self) -> Places:
        """Where each window has ended (n, axis)."""
        sides = self.x.shape[2:]
        ends = [[s if p.stop is None else p.stop for p, s in zip(w, sides, strict=True)] for w in self.windows]
        return np.array(ends, dtype=np.int64)

    def box(self, numbers: Sequence[int]) -> Box:
        """Equal boxes around the windows of the given numbers."""
        chosen = list(numbers)
        return Box.around(self.first[chosen], self.past[chosen], self.x.shape[2:])

    def parts(self, index: Tensor, box: Box) -> Tensor:
        """What the images of the given numbers (k,) hold inside equal boxes (k, channel, *size)."""
        device, size = self.x.device, box.size
        rows = self.rows[index].to(device)
        clean, cover = (_cropped(maps, box) for maps in (self.x[rows], self._covers(index)))
        numbers = index.numpy()
        inside = torch.ones((len(index), 1, *[1] * len(size)), dtype=torch.bool)
        for axis, side in enumerate(size):
            voxel = box.origin[:, axis, None] + np.arange(side)
            here = (voxel >= self.first[numbers, axis, None]) & (voxel < self.past[numbers, axis, None])
            inside = inside & torch.from_numpy(here).reshape(
                len(index), *[1] * (axis + 1), side, *[1] * (len(size) - axis - 1)
            )
        return torch.where((inside & self._taken(index)).to(device), cover, clean)

    def unchanged(self) -> Tensor:
        """True for windows whose cover is what lies under it already (n,)."""
        same = torch.zeros(len(self.windows), dtype=torch.bool)
        if isinstance(self.cover, Tensor):
            alike = self.x == self.cover
            for number, window in enumerate(self.windows):
                here = alike[int(self.rows[number])][(self._group(number), *window)]
                same[number] = bool(here.all())
        return same

    def _covers(self, index: Tensor) -> Tensor:
        if isinstance(self.cover, Tensor):
            return self.cover[self.rows[index].to(self.x.device)]
        return self.cover(index)

    def _group(self, number: int) -> slice:
        return slice(None) if self.channels is None else self.channels[number]

    def _taken(self, index: Tensor) -> Tensor:
        """Which channels are covered (k, channel, 1, ...)."""
        count = self.x.shape[1]
        taken = torch.zeros(len(index), count, *[1] * (self.x.ndim - 2), dtype=torch.bool)
        for slot, number in enumerate(index.tolist()):
            taken[slot, self._group(number)] = True
        return taken


def _cropped(maps: Tensor, box: Box) -> Tensor:
    """The boxes of maps (k, channel, *space)."""
    rank = len(box.size)
    lying = maps.movedim(1, -1)
    return crop(lying, box.origin, box.size).movedim(1 + rank, 1)
