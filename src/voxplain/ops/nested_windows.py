"""Windows from coarse to fine: a search that tries smaller windows only where larger ones were found worth it."""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.ops.patches import Window, painted, windows
from voxplain.ops.ties import stepped

Sides = tuple[int, ...]

Keep = Callable[[Tensor], list[int]]
"""What a level's windows are worth (window,) -> the numbers of those to search on, the most urgent first."""


def region_of(box: Sequence[int], size: Sequence[int], option: str) -> Window:
    """The part of an image that a box (first corner, corner past the last) names, or all of it.

    `option` is how the error names it.
    """
    if not box:
        return tuple(slice(0, length) for length in size)
    ends = list(zip(box[: len(size)], box[len(size) :], size, strict=False))
    if len(box) != 2 * len(size) or not all(0 <= first < past <= length for first, past, length in ends):
        raise OptionError(f"{option} must lie inside the image {tuple(size)}, got {tuple(box)}")
    return tuple(slice(first, past) for first, past, _ in ends)


def levels(window: Sides, stride: Sides, smallest: Sides) -> list[tuple[Sides, Sides]]:
    """Window and stride of each level: halved, rounded down, until no side of the window is above `smallest`."""
    found = [(window, stride)]
    while any(side > least for side, least in zip(found[-1][0], smallest, strict=True)):
        window, stride = (tuple(max(side // 2, 1) for side in sides) for sides in found[-1])
        found.append((window, stride))
    return found


def gridded(region: Window, window: Sides, stride: Sides, parents: Sequence[Window] | None = None) -> list[Window]:
    """Windows every `stride` from the first corner of a region, cut at its far edges.

    With `parents`, those whose first corner lies within twice the window from a parent's first corner (and in it).
    """
    reached = torch.full([part.stop for part in region], parents is None)
    for parent in parents or ():
        reach = [min(part.start + 2 * side, part.stop) for part, side in zip(parent, window, strict=True)]
        reached[tuple(slice(part.start, stop) for part, stop in zip(parent, reach, strict=True))] = True
    grid = reached[tuple(slice(part.start, part.stop, hop) for part, hop in zip(region, stride, strict=True))]
    return [
        tuple(
            slice(part.start + n * hop, min(part.start + n * hop + side, part.stop))
            for n, part, hop, side in zip(number, region, stride, window, strict=True)
        )
        for number in grid.nonzero().tolist()
    ]


def tiled(parent: Window, window: Sides, stride: Sides) -> list[Window]:
    """Windows every `stride` inside a parent until its far edges are covered, cut there."""
    corner = [part.start for part in parent]
    inside = windows([part.stop - part.start for part in parent], window, stride)
    return [tuple(slice(a.start + b, a.stop + b) for a, b in zip(place, corner, strict=True)) for place in inside]


def painted_most(places: Sequence[Window], values: Tensor, size: Sequence[int]) -> Tensor:
    """Map (*size), float64: each voxel the largest of the values (window,) of the windows over it, at least 0."""
    most = torch.zeros(tuple(size), dtype=torch.float64, device=values.device)
    for place, value in zip(places, values.unbind(), strict=True):
        most[place] = torch.maximum(most[place], value)
    return most


class Search:
    """One image searched level by level: its maps (level, *size) and how many windows each level took."""

    def __init__(
        self,
        size: Sequence[int],
        region: Window,
        plan: Sequence[tuple[Sides, Sides]],
        keep: Keep,
        *,
        clipped: bool,
        mean: bool = False,
        limit: int | None = None,
    ) -> None:
        """Windows and strides of the levels in `plan`; `keep` says where to go on.

        `clipped`: smaller windows tile the kept ones, else they lie on the region's grid and may reach out. `mean`:
        the mean over windows instead of the largest. `limit` is on all windows together; what does not fit is left.
        """
        self.maps = torch.zeros((len(plan), *size), dtype=torch.float64)
        self.counts = [0] * len(plan)
        self._plan, self._region, self._keep = plan, region, keep
        self._clipped, self._mean, self._limit = clipped, mean, limit
        self._level = 0
        self._places = tiled(region, *plan[0]) if clipped else gridded(region, *plan[0])

    def ask(self) -> list[Window]:
        """The windows to try now; none once the search is over."""
        return self._places

    def tell(self, worth: Tensor) -> None:
        """What the windows just asked for are worth (window,), at least 0."""
        size = self.maps.shape[1:]
        paint = self._mean_painted if self._mean else painted_most
        self.maps[self._level] = paint(self._places, worth, size)
        self.counts[self._level] = len(self._places)
        self._level += 1
        kept = [self._places[number] for number in self._keep(worth)]
        self._places = self._within(kept) if kept and self._level < len(self._plan) else []

    @staticmethod
    def _mean_painted(places: Sequence[Window], values: Tensor, size: Sequence[int]) -> Tensor:
        return painted(places, values[None], size)[0].nan_to_num(0.0)  # 0 of 0 windows where none lies

    def _within(self, kept: list[Window]) -> list[Window]:
        """The next level's windows: those of one kept window after the other, as far as the limit allows."""
        level = self._plan[self._level]
        groups = [tiled(parent, *level) for parent in kept] if self._clipped else [gridded(self._region, *level, kept)]
        room = float("inf") if self._limit is None else self._limit - sum(self.counts)
        found: dict[tuple[tuple[int, int], ...], Window] = {}
        for group in groups:
            new = {tuple((part.start, part.stop) for part in place): place for place in group}
            if len(found | new) > room:
                break
            found |= new
        return list(found.values())


def flipped(worth: Tensor) -> list[int]:
    """The windows that change the label's number by one."""
    return (worth == 1).nonzero().flatten().tolist()


def largest(worth: Tensor, share: float, step: float) -> list[int]:
    """The `share` of the windows (rounded up) that are worth most, without those worth nothing; ties by their order."""
    whole = stepped(worth, step)
    order = whole.argsort(descending=True, stable=True)[: ceil(share * len(worth))]
    return [int(number) for number in order if whole[number] > 0]


def above(worth: Tensor, threshold: float) -> list[int]:
    """The windows worth more than `threshold`, the most first."""
    order = worth.argsort(descending=True, stable=True)
    return [int(number) for number in order if worth[number] > threshold]
