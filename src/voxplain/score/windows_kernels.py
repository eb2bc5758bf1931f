"""Rules of the operations that read a neighbourhood: convolution, pooling, resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from voxplain.score.hastened import forward
from voxplain.score.windows_operations import Rule, Separable, Sliding, Transposed, each
from voxplain.score.windows_step import Ref, Step

aten = torch.ops.aten


def convolution(step: Step, rank: int) -> Rule | None:
    """The rule of a convolution or transposed convolution with weights that do not depend on the image."""
    x, weight, bias, stride, padding, dilation, transposed, _, groups = step.arguments
    if not isinstance(x, Ref) or not isinstance(weight, Tensor) or isinstance(bias, Ref):
        return None
    if len(step.shapes[0]) != rank + 2 or weight.ndim != rank + 2:
        return None
    kernel = tuple(weight.shape[2:])
    stride, padding, dilation = (each(part, rank) for part in (stride, padding, dilation))
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    zeros, work = (0,) * rank, float(weight.numel())
    layout = torch.channels_last if rank == 2 else torch.channels_last_3d
    weight = weight.contiguous(memory_format=layout) if rank in (2, 3) else weight
    sides, places = step.result_shapes[0][-rank:], (tuple(-p for p in padding), extent)
    if not transposed and groups == 1 and set(dilation) == {1}:
        return Sliding(sides, work, lambda part: forward(part, weight, bias, stride, zeros), stride, *places)
    if not transposed:
        run = lambda part: aten.convolution(part, weight, bias, stride, zeros, dilation, False, zeros, groups)  # noqa: E731
        return Sliding(sides, work, run, stride, *places)
    longer = tuple(hop - 1 for hop in stride)
    run = lambda part: aten.convolution(part, weight, bias, stride, zeros, dilation, True, longer, groups)  # noqa: E731
    return Transposed(sides, work / prod(stride), run, stride, padding, extent)


def max_pool(step: Step, rank: int) -> Rule | None:
    """The rule of a largest value over windows: nothing beyond the map is ever the largest."""
    kernel = each(step.argument(1, "kernel_size"), rank)
    stride = each(step.argument(2, "stride", None) or kernel, rank)
    padding, dilation = each(step.argument(3, "padding", 0), rank), each(step.argument(4, "dilation", 1), rank)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    pool = torch.max_pool2d if rank == 2 else torch.max_pool3d
    run = lambda part: pool(part, kernel, stride, 0, dilation)  # noqa: E731
    return Sliding(step.result_shapes[0][-rank:], 0.0, run, stride, tuple(-p for p in padding), extent, float("-inf"))


def avg_pool(step: Step, rank: int) -> Rule | None:
    """Windows that all count alike slide; else (cut at the borders) each axis has its own weights."""
    kernel = each(step.argument(1, "kernel_size"), rank)
    stride = each(step.argument(2, "stride", None) or kernel, rank)
    padding, divisor = each(step.argument(3, "padding", 0), rank), step.argument(6, "divisor_override", None)
    inside, outside = step.shapes[0][-rank:], step.result_shapes[0][-rank:]
    padded = bool(step.argument(5, "count_include_pad", True))
    matrices = []
    for side, result, k, hop, p in zip(inside, outside, kernel, stride, padding, strict=True):
        start = np.arange(result) * hop - p
        stop = np.minimum(start + k, side + p)
        low, high = np.maximum(start, 0), np.minimum(stop, side)
        count = stop - start if padded else high - low
        column = np.arange(side)
        read = (column >= low[:, None]) & (column < high[:, None])
        weight = read / (np.ones_like(count) if divisor else count)[:, None]
        matrices.append(torch.from_numpy(weight))
    if divisor:
        matrices[0] = matrices[0] / divisor
    regular = not any(padding) and all(
        (r - 1) * hop + k <= side for r, hop, k, side in zip(outside, stride, kernel, inside, strict=True)
    )
    if not regular:
        return Separable(outside, 0.0, tuple(matrices), inside)
    pool = aten.avg_pool2d if rank == 2 else aten.avg_pool3d
    run = lambda part: pool(part, kernel, stride, [0], False, True, divisor)  # noqa: E731
    return Sliding(outside, 0.0, run, stride, (0,) * rank, kernel)


def adaptive_avg_pool(step: Step, rank: int) -> Rule | None:
    """The rule of a mean over windows that tile the map to a given size."""
    matrices = []
    inside, outside = step.shapes[0][-rank:], step.result_shapes[0][-rank:]
    for side, result in zip(inside, outside, strict=True):
        number = np.arange(result)
        low, high = number * side // result, -(-(number + 1) * side // result)
        read = (np.arange(side) >= low[:, None]) & (np.arange(side) < high[:, None])
        matrices.append(torch.from_numpy(read / (high - low)[:, None]))
    return Separable(outside, 0.0, tuple(matrices), inside)


def upsample(corners: bool) -> Callable[[Step, int], Rule | None]:
    """A rule for resizing; `corners` says whether the operation has such an argument."""

    def rule(step: Step, rank: int) -> Rule | None:
        inside, outside = step.shapes[0][-rank:], step.result_shapes[0][-rank:]
        if len(step.arguments) < 2 or not isinstance(step.arguments[1], Sequence):
            return None
        align = [step.argument(2, "align_corners", False)] if corners else []
        matrices = []
        for axis, (side, result) in enumerate(zip(inside, outside, strict=True)):
            place, names = 2 + corners + axis, _scale_names(rank)
            scale = step.argument(place, names[axis], None)
            ones, size = [1] * rank, [1] * rank
            ones[axis], size[axis] = side, result
            scales: list[float | None] = [None] * rank
            scales[axis] = scale
            probe = torch.eye(side, dtype=torch.float64).reshape(1, side, *ones)
            matrices.append(step.function(probe, size, *align, *scales).reshape(side, result).T.contiguous())
        return Separable(outside, 0.0, tuple(matrices), inside)

    return rule


def _scale_names(rank: int) -> tuple[str, ...]:
    return {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}[rank]
