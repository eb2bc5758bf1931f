"""Networks that read an image window by window: the weighted mean of overlapping windows as one module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.spec import Options, build

Starts = Callable[[int, int], list[int]]
"""Sides of image and window along an axis -> the first voxel of each window."""

LEAST = 1e-3
"""The lowest weight of a voxel in a window, as in MONAI: a mean over windows is never a division by nothing."""


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Options):
    """How a network reads an image that is larger than what it was trained on; the windows are MONAI's."""

    name: ClassVar[str] = "sliding_window"

    roi: tuple[int, ...]
    """Voxels of a window along each axis, or one number for all axes."""
    overlap: float = 0.25
    """Share of a window that the next one covers too."""
    blend: Literal["constant", "gaussian"] = "constant"
    """Weights of a window's voxels where windows overlap: all alike, or highest in the middle."""
    sigma: float = 0.125
    """Standard deviation of the Gaussian as a share of the window."""

    def _check(self) -> None:
        self._require(len(self.roi) in (1, 2, 3) and min(self.roi) >= 1, "roi", "1 to 3 whole numbers above 0")
        self._require(0 <= self.overlap < 1, "overlap", "from 0 to below 1")
        self._require(self.sigma > 0, "sigma", "above 0")

    def around(self, network: nn.Module, rank: int | None) -> SlidingWindows:
        """The network under this window; raises `InputError` where it wants another number of axes."""
        roi = self.roi * (rank or 1) if len(self.roi) == 1 else self.roi
        if rank not in (None, len(roi)):
            raise InputError(f"{self.name}: roi must have {rank} sides for this network, got {len(roi)}")
        weight = torch.ones(roi) if self.blend == "constant" else bell(roi, self.sigma)
        return SlidingWindows(network, roi, weight, self.starts, told=str(self))

    def starts(self, side: int, window: int) -> list[int]:
        """First voxels of the windows along an axis; the last window is moved back to end with the image."""
        step = max(1, int(window * (1 - self.overlap))) if window < side else window
        count = math.ceil((side - window) / step) + 1
        return [min(number * step, side - window) for number in range(count)]


class SlidingWindows(nn.Module):
    """What a network says about an image of any size: the mean over windows, by their `weight` (*roi).

    An image smaller than a window is padded with zeros about its middle. The network sees its axes in the `order` of
    axes of the image (spatial numbers from 0). Inside `asked` only the windows that a region touches run.
    """

    def __init__(
        self,
        network: nn.Module,
        roi: Sequence[int],
        weight: Tensor,
        starts: Starts,
        order: Sequence[int] = (),
        *,
        told: str,
    ) -> None:
        """Put `network` under windows; `told` says what they are."""
        super().__init__()
        self.told = told
        self.network, self.roi, self.starts = network, tuple(int(side) for side in roi), starts
        spatial = tuple(order) or tuple(range(len(self.roi)))
        self.order = (0, 1, *(2 + axis for axis in spatial))
        self.register_buffer("weight", weight.to(torch.get_default_dtype()), persistent=False)
        self.region: Tensor | None = None
        self.ran: list[tuple[int, ...]] = []
        self._summed: dict[tuple[object, ...], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """What the network says about a batch (batch, channel, *space), with the image's own axes."""
        if x.ndim != len(self.order):
            raise InputError(f"windows of {len(self.roi)} axes cannot slide over an image of {x.ndim - 2}")
        padded, inside = self._padded(x.permute(self.order))
        said = self._mean(padded, inside)[(slice(None), slice(None), *inside)]
        return said.permute(self.back)

    @property
    def back(self) -> tuple[int, ...]:
        """The axes of the image, by their numbers in what the network gives."""
        return tuple(sorted(range(len(self.order)), key=self.order.__getitem__))

    def sides(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Sides of an image as the network sees it, padded, from those of the image itself."""
        ordered = [sides[axis - 2] for axis in self.order[2:]]
        return tuple(max(side, window) for side, window in zip(ordered, self.roi, strict=True))

    def corners(self, sides: Sequence[int]) -> list[tuple[int, ...]]:
        """The first voxel of every window of an image of these `sides`, as the network sees it."""
        return list(product(*(self.starts(side, window) for side, window in zip(sides, self.roi, strict=True))))

    def before(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Voxels of padding in front along each axis of the network, for an image of these sides of its own."""
        ordered = [sides[axis - 2] for axis in self.order[2:]]
        return tuple(max(0, window - side) // 2 for side, window in zip(ordered, self.roi, strict=True))

    def one_window(self, x: Tensor) -> Tensor:
        """A part of a batch that fills one window, as the network sees it."""
        padded, _ = self._padded(x.permute(self.order))
        return padded[(slice(None), slice(None), *(slice(0, window) for window in self.roi))]

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[slice, ...]]:
        """The batch with zeros about it up to a window, and where the image lies in it."""
        sides = tuple(x.shape[2:])
        missing = [max(0, window - side) for side, window in zip(sides, self.roi, strict=True)]
        flat = [n for count in reversed(missing) for n in (count // 2, count - count // 2)]
        inside = tuple(slice(count // 2, count // 2 + side) for count, side in zip(missing, sides, strict=True))
        return (nn.functional.pad(x, flat) if any(flat) else x), inside

    def _mean(self, x: Tensor, inside: tuple[slice, ...]) -> Tensor:
        """The weighted mean of all windows that matter."""
        sides = tuple(x.shape[2:])
        corners = self.corners(sides)
        self.ran = [corner for corner in corners if self._matters(corner, sides, inside)]
        if len(corners) == 1:
            said: Tensor = self.network(x)
            return self._checked(said, sides)
        weight, total = self.get_buffer("weight").to(x), x.new_zeros(())
        for corner in self.ran:
            said = self._checked(self.network(x[(slice(None), slice(None), *self._window(corner))]), self.roi)
            around = [
                (start, side - start - window) for start, side, window in zip(corner, sides, self.roi, strict=True)
            ]
            total = total + nn.functional.pad(said * weight, [n for pair in reversed(around) for n in pair])
        return total / self._weights(corners, sides, weight)

    def _window(self, corner: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(start, start + window) for start, window in zip(corner, self.roi, strict=True))

    def _matters(self, corner: Sequence[int], sides: Sequence[int], inside: tuple[slice, ...]) -> bool:
        if self.region is None:
            return True
        region = self.region.permute([axis - 2 for axis in self.order[2:]])
        shifted = [slice(max(0, start - part.start), max(0, start - part.start + window))
                   for start, part, window in zip(corner, inside, self.roi, strict=True)]  # fmt: skip
        return bool(region[tuple(shifted)].any())

    def _weights(self, corners: Sequence[Sequence[int]], sides: Sequence[int], weight: Tensor) -> Tensor:
        """The sum of the weights of all windows at every voxel, those that did not run included.

        The last one is kept: passes over one image ask for it again and again.
        """
        key = (tuple(sides), weight.dtype, weight.device)
        if key in self._summed and type(weight) is Tensor:
            return self._summed[key]
        with torch.inference_mode(False):
            weights = weight.new_zeros(tuple(sides))
            for corner in corners:
                weights[self._window(corner)] += weight
        if type(weights) is Tensor and not torch.compiler.is_compiling():  # rehearsals on shapes alone know no numbers
            self._summed = {key: weights}
        return weights

    def _checked(self, said: object, sides: Sequence[int]) -> Tensor:
        """One number a class and voxel, which is all that can be put together."""
        if not isinstance(said, Tensor) or tuple(said.shape[2:]) != tuple(sides):
            told = tuple(said.shape) if isinstance(said, Tensor) else type(said).__name__
            raise InputError(
                f"under a sliding window the network must give a map as large as its window {tuple(sides)}, got {told}"
            )
        return said


def as_window(source: str | SlidingWindow) -> SlidingWindow:
    """The window that a spec such as "sliding_window(roi=[96, 96, 96], overlap=0.5)" stands for."""
    built: SlidingWindow = build(source, {SlidingWindow.name: SlidingWindow}, "sliding window")
    return built


def bell(roi: Sequence[int], sigma: float) -> Tensor:
    """Weights (*roi) of a Gaussian about the middle, highest 1, none below `LEAST` of it or its own least."""
    weight = torch.ones(())
    for side in roi:
        place = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
        weight = weight[..., None] * torch.exp(-(place**2) / (2 * (sigma * side) ** 2))
    return weight.clamp_min(max(float(weight.min()), LEAST))


def sliding(module: nn.Module) -> SlidingWindows | None:
    """The part of a network that slides windows; None where there is none."""
    return next((part for part in module.modules() if isinstance(part, SlidingWindows)), None)


def in_one_window(module: nn.Module, x: Tensor) -> Tensor:
    """A batch that such a network reads in one window, with the image's own axes; any other gets it as it is."""
    windows = sliding(module)
    return x if windows is None else windows.one_window(x).permute(windows.back)


@contextmanager
def asked(module: nn.Module, region: Tensor | None) -> Iterator[None]:
    """Inside, only windows that `region` (*space of the image, boolean) touches run; None: all of them."""
    windows = None if region is None else sliding(module)
    if windows is None:
        yield
        return
    before, windows.region = windows.region, region
    try:
        yield
    finally:
        windows.region = before
