"""One step of the way of guided integrated gradients: which coordinates move, and how far."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

CLOSE = 1e-9
"""Two remaining distances count as equal within this, relative or absolute."""


class Stretch(NamedTuple):
    """The two ends of a way, both of one shape, float64."""

    start: Tensor
    end: Tensor

    def at(self, share: float) -> Tensor:
        """The point of the straight line after `share` of the way."""
        return self.start + (self.end - self.start) * share

    def progress(self, point: Tensor, still: float) -> Tensor:
        """How far along each coordinate is, as a share of its way; `still` for coordinates that have no way to go."""
        way = self.end - self.start
        return torch.where(way != 0, (point - self.start) / torch.where(way != 0, way, 1), still)


def advanced(
    stretch: Stretch, point: Tensor, gradient: Tensor, share: float, fraction: float, distance: float
) -> Tensor:
    """The point after a step that leaves 1 - `share` of the whole L1 distance to the end.

    Coordinates behind the band of `distance` around the straight line jump to its lower limit; then those with the
    smallest absolute gradients, a `fraction` at a time, go to its upper limit until the distance is used up.
    """
    low, high = max(share - distance, 0.0), min(share + distance, 1.0)
    lower, upper = stretch.at(low), stretch.at(high)
    target = _l1(stretch.start - stretch.end) * (1 - share)
    size = gradient.abs()
    while True:
        point = torch.where(stretch.progress(point, still=high) < low, lower, point)
        left = _l1(point - stretch.end)
        if left <= target or math.isclose(left, target, rel_tol=CLOSE, abs_tol=CLOSE):
            return point
        size = torch.where(point == upper, math.inf, size)
        chosen = (size <= _lower_quantile(size, fraction)) & (size != math.inf)
        room = _l1((upper - point) * chosen)
        if room > 0 and left - target <= room:
            return torch.where(chosen, point + (upper - point) * ((left - target) / room), point)
        if not chosen.any():  # only rounding keeps the distance above its target
            return point
        point = torch.where(chosen, upper, point)


def _l1(values: Tensor) -> float:
    return float(values.abs().sum())


def _lower_quantile(values: Tensor, fraction: float) -> Tensor:
    """The value below which `fraction` of all values lie, always one of them (rank rounded down)."""
    rank = math.floor(fraction * (values.numel() - 1))
    return values.flatten().kthvalue(rank + 1).values
