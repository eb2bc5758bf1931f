"""Padding that Keras calls "same": the output has ceil(n / stride) places, and an odd voxel goes to the end."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SamePad(nn.Module):
    """Pads (batch, channel, *space) for a window of `kernel`, `stride` and `dilation` that runs without padding."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] | None = None) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)
        self.dilation = tuple(dilation or [1] * len(self.kernel))

    def forward(self, x: Tensor) -> Tensor:
        """The batch with zeros around it."""
        sides = zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True)
        pads = [same_padding(*side) for side in sides]
        flat = [count for pair in reversed(pads) for count in pair]  # torch begins at the last axis
        return nn.functional.pad(x, flat) if any(flat) else x


class SameMaxPool(nn.modules.pooling._MaxPoolNd):
    """Maximum over windows of `kernel` at `stride`, of 2 or 3 axes; what lies outside never wins."""

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__(tuple(kernel), tuple(stride), ceil_mode=True)
        self.kernel, self.steps = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maxima (batch, channel, *space) with ceil(n / stride) places an axis."""
        pads = [same_padding(*side) for side in zip(x.shape[2:], self.kernel, self.steps, strict=True)]
        before = [pair[0] for pair in pads]
        pool = torch.nn.functional.max_pool2d if x.ndim == 4 else torch.nn.functional.max_pool3d
        # Rounding the count of places up adds the one voxel that "same" puts behind and not before.
        return pool(x, self.kernel, self.steps, padding=before, ceil_mode=True)


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Voxels before and after one axis of `size`."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2
