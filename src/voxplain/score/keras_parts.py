"""What torch has no module for and Keras layers need: joins of several inputs, and moves between the two layouts."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from voxplain.score.same_padding import same_padding

Join = Callable[[Tensor, Tensor], Tensor]

JOINS: dict[str, Join] = {
    "Add": torch.add,
    "Subtract": torch.sub,
    "Multiply": torch.mul,
    "Maximum": torch.maximum,
    "Minimum": torch.minimum,
}
"""Keras layers (and operations of the same name) of several inputs, to what they do to two of them."""


class Joined(nn.Module):
    """Several inputs made into one, two at a time."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, *inputs: Tensor) -> Tensor:
        """One tensor of the inputs' common shape."""
        return reduce(JOINS[self.kind], inputs)

    def extra_repr(self) -> str:
        return self.kind


class Mean(nn.Module):
    """The mean of several inputs."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """One tensor of the inputs' common shape."""
        return reduce(torch.add, inputs) / len(inputs)


class Concatenated(nn.Module):
    """Several inputs put together along one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """One tensor that is longer along the axis."""
        return torch.cat(inputs, dim=self.axis)


class WithNumber(nn.Module):
    """An input and a number, in the order in which they stand in the program."""

    def __init__(self, kind: str, number: float, *, first: bool) -> None:
        super().__init__()
        self.kind, self.number, self.first = kind, number, first

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of the input's shape."""
        if self.kind == "Add":
            return x + self.number
        if self.kind == "Multiply":
            return x * self.number
        return self.number - x if self.first else x - self.number


class Scaled(nn.Module):
    """x * scale + offset, each one number or one a channel (1, channel, 1, ...)."""

    def __init__(self, scale: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of the input's shape."""
        return x * self.get_buffer("scale") + self.get_buffer("offset")


class OnLast(nn.Module):
    """A module that works on the last axis, over the channels of maps (batch, channel, *space)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Maps with the module's channels."""
        found: Tensor = self.inner(x.movedim(1, -1))
        return found.movedim(-1, 1)


class Reordered(nn.Module):
    """Reshapes (`shape`, without the batch) or permutes (`axes`, counted from 1) as a program with channels last.

    `before` and `after` say whether the tensor is a map, that is, lies channels first here, at either end.
    """

    def __init__(
        self, *, before: bool, after: bool, shape: Sequence[int] | None = None, axes: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.before, self.after, self.shape, self.axes = before, after, shape, tuple(axes)

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers in another shape."""
        x = x.movedim(1, -1) if self.before else x
        x = x.permute(0, *self.axes) if self.shape is None else x.reshape(len(x), *self.shape)
        return x.movedim(-1, 1) if self.after else x


class Cropped(nn.Module):
    """Voxels cut off before and after each axis of space."""

    def __init__(self, cuts: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.cuts = tuple((int(before), int(after)) for before, after in cuts)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (batch, channel, *space) with less space."""
        sides = zip(x.shape[2:], self.cuts, strict=True)
        return x[(slice(None), slice(None), *(slice(before, side - after) for side, (before, after) in sides))]


class SameMeanPool(nn.Module):
    """Mean over windows with "same" padding, as Keras has it on torch.

    Where as much is padded before as behind, the padding does not count; else the border is repeated and counts.
    """

    def __init__(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.kernel, self.stride = tuple(kernel), tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Means (batch, channel, *space) with ceil(n / stride) places an axis."""
        pads = [same_padding(*side) for side in zip(x.shape[2:], self.kernel, self.stride, strict=True)]
        pool = nn.functional.avg_pool2d if x.ndim == 4 else nn.functional.avg_pool3d
        if all(before == after for before, after in pads):
            before = [pair[0] for pair in pads]
            return pool(x, self.kernel, self.stride, padding=before, count_include_pad=False)
        flat = [count for pair in reversed(pads) for count in pair]
        return pool(nn.functional.pad(x, flat, mode="replicate"), self.kernel, self.stride)
