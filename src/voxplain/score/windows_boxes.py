"""Boxes of a map that change with each position, all of one size, and the cutting and pasting of parts of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Places = NDArray[np.int64]
"""Voxel numbers (n, axis)."""


@dataclass(frozen=True, eq=False)
class Box:
    """Boxes of one size at n places."""

    origin: Places
    size: tuple[int, ...]

    @classmethod
    def around(cls, first: Places, past: Places, sides: Sequence[int]) -> Box:
        """Equal boxes inside a map of `sides` around intervals [first, past): as large as the largest of these."""
        size = np.clip((past - first).max(axis=0), 1, sides)
        return cls(np.clip(first, 0, np.asarray(sides) - size), tuple(size.tolist()))

    @property
    def past(self) -> Places:
        """One past the last voxel (n, axis)."""
        past: Places = self.origin + np.asarray(self.size)
        return past

    @property
    def cells(self) -> int:
        """Voxels in each."""
        return int(np.prod(self.size))

    def same(self, other: Box) -> bool:
        """True where both lie alike."""
        return self is other or (self.size == other.size and bool((self.origin == other.origin).all()))

    @staticmethod
    def union(boxes: Sequence[Box], sides: Sequence[int]) -> Box:
        """Equal boxes around all of several."""
        if all(boxes[0].same(box) for box in boxes[1:]):
            return boxes[0]
        first = np.min([box.origin for box in boxes], axis=0)
        return Box.around(first, np.max([box.past for box in boxes], axis=0), sides)


@dataclass(eq=False)
class Ground:
    """A clean map (1, *rest, *space), kept place by place (*space, *rest) behind a rim that holds one number."""

    places: Tensor
    rank: int
    fill: float
    rim: tuple[tuple[int, int], ...] = field(default_factory=tuple)
    """Voxels before and after along each axis."""

    @classmethod
    def of(cls, clean: Tensor, rank: int, fill: float) -> Ground:
        """The ground of a map, without a rim yet."""
        places = clean[0].movedim(tuple(range(clean.ndim - 1 - rank, clean.ndim - 1)), tuple(range(rank)))
        return cls(places.contiguous(), rank, fill, ((0, 0),) * rank)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the map itself."""
        return tuple(
            side - before - after
            for side, (before, after) in zip(self.places.shape[: self.rank], self.rim, strict=True)
        )

    def cut(self, origin: Places, size: Sequence[int]) -> Tensor:
        """Copies of the parts of `size` at `origin` (n, *size, *rest); beyond the map they hold the fill."""
        self._widen(origin.min(axis=0), (origin + np.asarray(size)).max(axis=0))
        view = _parts(self.places, size, 0)
        start = torch.from_numpy(origin + np.asarray([before for before, _ in self.rim])).to(view.device)
        return view[tuple(start.unbind(1))]

    def _widen(self, first: Places, past: Places) -> None:
        """Grow the rim until it holds the parts asked for."""
        wanted = tuple(
            (max(before, -int(low)), max(after, int(high) - side))
            for (before, after), low, high, side in zip(self.rim, first, past, self.sides, strict=True)
        )
        if wanted == self.rim:
            return
        more = [(a - b, c - d) for (a, c), (b, d) in zip(wanted, self.rim, strict=True)]
        rest = (0, 0) * (self.places.ndim - self.rank)
        amounts = [amount for pair in reversed(more) for amount in pair]
        self.places = functional.pad(self.places, (*rest, *amounts), value=self.fill)
        self.rim = wanted

    def whole(self) -> Tensor:
        """The map itself, place by place (*space, *rest)."""
        inside = zip(self.rim, self.places.shape, strict=False)
        return self.places[tuple(slice(before, side - after) for (before, after), side in inside)]


def upright(places: Tensor, rank: int) -> Tensor:
    """(n, *space, *rest) seen as (n, *rest, *space): channels stay last in memory."""
    return places.movedim(tuple(range(1, 1 + rank)), tuple(range(-rank, 0)))


def lying(map_: Tensor, rank: int) -> Tensor:
    """(n, *rest, *space) seen as (n, *space, *rest)."""
    return map_.movedim(tuple(range(-rank, 0)), tuple(range(1, 1 + rank)))


def paste(into: Tensor, part: Tensor, offsets: Places) -> None:
    """Write parts (n, *part, *rest) into maps (n, *sides, *rest) of their own, each at its offset (n, axis)."""
    rank = offsets.shape[1]
    size = part.shape[1 : 1 + rank]
    if (offsets == offsets[0]).all():
        place = tuple(slice(int(first), int(first) + side) for first, side in zip(offsets[0], size, strict=True))
        into[(slice(None), *place)] = part
        return
    view = _parts(into, size)
    numbers = torch.arange(len(into), device=into.device)
    starts = torch.from_numpy(offsets).to(into.device)
    view[(numbers, *starts.unbind(1))] = part


def crop(maps: Tensor, offsets: Places, size: Sequence[int]) -> Tensor:
    """The part of `size` of each map (n, *sides, *rest) at its offset (n, axis)."""
    if (offsets == offsets[0]).all():
        place = tuple(slice(int(first), int(first) + side) for first, side in zip(offsets[0], size, strict=True))
        return maps[(slice(None), *place)]
    numbers = torch.arange(len(maps), device=maps.device)
    starts = torch.from_numpy(offsets).to(maps.device)
    return _parts(maps, size)[(numbers, *starts.unbind(1))]


def _parts(maps: Tensor, size: Sequence[int], skipped: int = 1) -> Tensor:
    """All parts of `size` of maps (..., *sides, *rest) as a view (..., *first, *size, *rest); `skipped` axes lead."""
    rank, stride = len(size), maps.stride()
    axes = stride[skipped : skipped + rank]
    sides = [side - part + 1 for side, part in zip(maps.shape[skipped:], size, strict=False)]
    shape = (*maps.shape[:skipped], *sides, *size, *maps.shape[skipped + rank :])
    return maps.as_strided(shape, (*stride[:skipped], *axes, *axes, *stride[skipped + rank :]))


def regrid(ground: Ground, part: Tensor, have: Box, origin: Places, size: Sequence[int]) -> Tensor:
    """Regions (n, *rest, *size) at `origin` of the clean map with the changed part (n, *rest, *have) in it.

    Beyond the map they hold the ground's fill; voxels of the part outside the regions are left out.
    """
    rank, wanted = ground.rank, np.asarray(size)
    before = np.maximum(origin - have.origin, 0).max(axis=0)
    after = np.maximum(have.past - (origin + wanted), 0).max(axis=0)
    room = ground.cut(origin - before, tuple((wanted + before + after).tolist()))
    paste(room, lying(part, rank), have.origin - origin + before)
    inner = tuple(slice(int(b), int(b) + int(side)) for b, side in zip(before, wanted, strict=True))
    return upright(room[(slice(None), *inner)], rank)
