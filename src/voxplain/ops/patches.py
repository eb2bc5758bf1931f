"""Windows that slide over a volume: where they lie, and how their scores become a map."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

Window = tuple[slice, ...]


def windows(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> list[Window]:
    """Windows that start every `stride` voxels until the far edge is covered; the last one is cut at the edge."""
    starts = [
        [hop * n for n in range(1 + max(0, -(-(length - side) // hop)))]
        for length, side, hop in zip(size, window, stride, strict=True)
    ]
    return [
        tuple(slice(start, min(start + side, length)) for start, side, length in zip(corner, window, size, strict=True))
        for corner in product(*starts)
    ]


def painted(places: Sequence[Window], values: Tensor, size: Sequence[int]) -> Tensor:
    """Map (n, *size), float64: each voxel the mean over the windows that cover it of their values (n, window)."""
    total = torch.zeros((len(values), *size), dtype=torch.float64, device=values.device)
    count = torch.zeros(tuple(size), dtype=torch.float64, device=values.device)
    for number, place in enumerate(places):
        total[(slice(None), *place)] += values[:, number].reshape(-1, *[1] * len(size))
        count[place] += 1
    return total / count
