"""nnU-Net's sliding window as a module: half-overlapping patches, weighted by a Gaussian about their middles."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.sliding import SlidingWindows

OVERLAP = 0.5
"""Share of a patch from one window to the next at most."""

SIGMA = 1 / 8
"""Standard deviation of the Gaussian as a share of the patch."""


class PlannedWindows(SlidingWindows):
    """Logits (batch, class, *space) of images of any size, the mean over the networks of several folds.

    Volumes go in with axes i, j, k; the networks see them as nnU-Net does, k first (and then as `transpose` says).
    """

    def __init__(self, networks: Sequence[nn.Module], patch: Sequence[int], transpose: Sequence[int]) -> None:
        if len(patch) == 2 and list(transpose) != [0, 1, 2]:
            raise InputError(f"a 2D nnU-Net must keep the order of its axes, got transpose_forward {list(transpose)}")
        # Axis a of the network is axis 2 - transpose[a] of the image.
        order = [2 - axis for axis in transpose] if len(patch) == 3 else [0, 1]
        network = networks[0] if len(networks) == 1 else MeanOf(networks)
        told = f"nnU-Net's, patches of {' x '.join(map(str, patch))}"
        super().__init__(network, patch, gaussian(patch), window_starts, order, told=told)


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
