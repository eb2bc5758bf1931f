"""Boxes of an image halved again and again: the binary tree over which Owen values are shared out."""

from collections.abc import Mapping

import torch
from torch import Tensor

Box = tuple[tuple[int, int], ...]
"""First and past-the-last index along (channel, *space)."""


def whole(shape: tuple[int, ...]) -> Box:
    """The box of everything in (channel, *space)."""
    return tuple((0, length) for length in shape)


def place(box: Box) -> tuple[slice, ...]:
    """The index of a box in a tensor (channel, *space)."""
    return tuple(slice(start, stop) for start, stop in box)


def size(box: Box) -> int:
    """How many numbers lie in a box."""
    count = 1
    for start, stop in box:
        count *= stop - start
    return count


def halves(box: Box) -> tuple[Box, Box] | None:
    """The two halves across the longest side, the first of equals; a box of one number has none.

    Of an odd side the first half is the larger (shap numbers its leaves from the far corner, which comes to the same).
    Channels are parted only once a single voxel is left.
    """
    lengths = [stop - start for start, stop in box]
    axis = max(range(1, len(box)), key=lengths.__getitem__)
    if lengths[axis] == 1:
        axis = 0
    if lengths[axis] == 1:
        return None
    start, stop = box[axis]
    middle = stop - lengths[axis] // 2
    before, after = box[:axis], box[axis + 1 :]
    return (*before, (start, middle), *after), (*before, (middle, stop), *after)


def spread(credit: Mapping[Box, Tensor], shape: tuple[int, ...]) -> Tensor:
    """Credits (class,) of boxes shared out evenly over their numbers: (class, channel, *space), float64."""
    classes = len(next(iter(credit.values())))
    total = torch.zeros((classes, *shape), dtype=torch.float64)
    for box, values in credit.items():
        total[(slice(None), *place(box))] += (values / size(box)).reshape(-1, *[1] * len(shape))
    return total
