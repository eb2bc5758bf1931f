"""nnU-Net's sliding window as a module: half-overlapping patches, weighted by a Gaussian about their middles."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from voxplain.errors import InputError

OVERLAP = 0.5
"""Share of a patch from one window to the next at most."""

SIGMA = 1 / 8
"""Standard deviation of the Gaussian as a share of the patch."""


class SlidingWindows(nn.Module):
    """Logits (batch, class, *space) of images of any size, the mean over the networks of several folds.

    Volumes go in with axes i, j, k; the networks see them as nnU-Net does, k first (and then as `transpose` says). An
    image no larger than the patch is padded with zeros about its middle and read in one window.
    """

    def __init__(self, networks: Sequence[nn.Module], patch: Sequence[int], transpose: Sequence[int]) -> None:
        super().__init__()
        if len(patch) == 2 and list(transpose) != [0, 1, 2]:
            raise InputError(f"a 2D nnU-Net must keep the order of its axes, got transpose_forward {list(transpose)}")
        self.network = networks[0] if len(networks) == 1 else MeanOf(networks)
        self.patch = tuple(int(side) for side in patch)
        # Axis a of the network is axis 2 - transpose[a] of the image.
        self.order = (0, 1, *(4 - axis for axis in transpose)) if len(patch) == 3 else (0, 1, 2, 3)
        self.register_buffer("weight", gaussian(self.patch), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch (batch, channel, *space)."""
        x = x.permute(self.order)
        padded, inside = _padded(x, self.patch)
        logits = self.network(padded) if padded.shape[2:] == self.patch else self._windowed(padded)
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        found: Tensor = logits[(slice(None), slice(None), *inside)].permute(back)
        return found

    def _windowed(self, x: Tensor) -> Tensor:
        """The weighted mean of all windows."""
        sides, weight = tuple(x.shape[2:]), self.get_buffer("weight").to(x)
        total, weights = x.new_zeros(()), x.new_zeros(sides)
        starts = [window_starts(side, patch) for side, patch in zip(sides, self.patch, strict=True)]
        for corner in product(*starts):
            places = tuple(slice(start, start + patch) for start, patch in zip(corner, self.patch, strict=True))
            logits = self.network(x[(slice(None), slice(None), *places)]) * weight
            around = [(place.start, side - place.stop) for place, side in zip(places, sides, strict=True)]
            flat = [count for pair in reversed(around) for count in pair]
            total = total + nn.functional.pad(logits, flat)
            weights[places] += weight
        return total / weights


class MeanOf(nn.Module):
    """The mean of what several networks say."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.folds = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, class, *space)."""
        found = [network(x) for network in self.folds]
        total: Tensor = sum(found[1:], start=found[0])
        return total / len(found)


def window_starts(side: int, patch: int) -> list[int]:
    """First voxels of the windows along an axis: evenly spread, as few as the overlap allows."""
    count = math.ceil((side - patch) / (patch * OVERLAP)) + 1
    return [round(number * (side - patch) / (count - 1)) for number in range(count)] if count > 1 else [0]


def gaussian(patch: Sequence[int]) -> Tensor:
    """Weights of a patch's voxels, highest in the middle and nowhere 0."""
    point = np.zeros(tuple(patch))
    point[tuple(side // 2 for side in patch)] = 1
    bell = gaussian_filter(point, [side * SIGMA for side in patch], mode="constant")
    bell /= bell.max()
    bell[bell == 0] = bell[bell > 0].min()
    return torch.from_numpy(bell.astype(np.float32))


def _padded(x: Tensor, patch: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """The batch with zeros about it up to the patch, and where the image lies in it."""
    sides = tuple(x.shape[2:])
    missing = [max(0, wanted - side) for wanted, side in zip(patch, sides, strict=True)]
    before = [count // 2 for count in missing]
    flat = [n for first, count in zip(reversed(before), reversed(missing), strict=True) for n in (first, count - first)]
    inside = tuple(slice(first, first + side) for first, side in zip(before, sides, strict=True))
    return (nn.functional.pad(x, flat) if any(flat) else x), inside
