"""What methods over segments share: the segments, and the map that paints one number a segment."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from voxplain.errors import InputError
from voxplain.methods.base import Map, Sampled
from voxplain.ops import segments as cut
from voxplain.ops.per_axis import listed, per_axis
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

MOST_VALUES = 2**28
"""Maps of every class are left out beyond this many numbers (1 GiB in single precision)."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of one sample and what was found about them."""

    labels: Tensor
    """(1 or channel, *space) from 0."""
    values: Tensor
    """(segment, class)."""
    standard_error: Tensor | None = None
    """(segment,), of the explained class."""
    numbers: dict[str, Tensor] = field(default_factory=dict)
    """Named extras (class,), or one number."""


@dataclass(frozen=True, kw_only=True)
class Segmented(Sampled):
    """A method that finds one number a segment, for all classes from the same calls."""

    access: ClassVar[Access] = Access.CALLS
    planar: ClassVar[str] = "slic"
    """Who cuts a 2D image that comes without labels, for segmenter='auto'."""
    spread: ClassVar[bool] = False
    """True where a segment's number is shared out among its voxels, so that the map adds up."""

    segmenter: Literal["auto", "quickshift", "slic", "grid", "given"] = "auto"
    """Who cuts the image: quickshift (2D), slic, grid, given labels; auto: given ones if there are any, else slic."""
    segments: int = 49
    """How many segments slic and grid aim at."""
    window: int | tuple[int, ...] | None = None
    """For segmenter='grid': side of a box in voxels, one number or one an axis, instead of `segments`."""
    kernel: float = 4.0
    """For segmenter='quickshift': width of its Gaussian in voxels; larger ones make fewer segments."""
    compactness: float = 10.0
    """For segmenter='slic': weight of places against lightness (0 to 100); larger ones make squarer segments."""
    black_white: tuple[float, float] | None = None
    """Intensities that quickshift and slic see as black and white; left out: each image's least and largest."""
    background: float | None = None
    """Voxels at or below this value in every channel make one segment, such as the air around a body."""
    channels: Literal["together", "each"] = "together"
    """A segment covers all channels, or each channel has segments of its own (one map a channel)."""

    def _check(self) -> None:
        super()._check()
        self._require(self.segments >= 2, "segments", "at least 2")
        self._require(self.window is None or self.segmenter == "grid", "window", "left out unless segmenter='grid'")
        self._require(min(listed(self.window), default=1) >= 1, "window", "at least 1")
        self._require(self.kernel >= 1, "kernel", "at least 1")
        self._require(self.compactness > 0, "compactness", "more than 0")
        ends = self.black_white
        self._require(ends is None or ends[0] < ends[1], "black_white", "two numbers, the smaller one first")

    @abstractmethod
    def _found(self, score: Score, x: Tensor, row: int, labels: Tensor) -> Segments:
        """The numbers of sample `row`, whose segments are `labels` (1 or channel, *space)."""

    @final
    def _map(self, score: Score, x: Tensor) -> Map:
        labels = [self._labels(score, x, row) for row in range(len(x))]
        clean, frozen = score.freeze(x)
        found = [self._found(frozen, x, row, own) for row, own in enumerate(labels)]
        column = frozen.classes.tolist()
        values, errors, extras = zip(*[self._explained(*pair) for pair in zip(found, column, strict=True)], strict=True)
        by_class, notes = self._by_class(found, x)
        counts = torch.tensor([len(one.values) for one in found])
        own = [one.values[:, column[row]] for row, one in enumerate(found)]
        return Map(
            torch.stack(values).to(x.dtype),
            self._quantity(),
            self._unit(score),
            standard_error=None if errors[0] is None else torch.stack(errors).to(x.dtype),
            parts={"segments": torch.stack([one.labels for one in found])},
            numbers={
                **{name: torch.stack([one[name] for one in extras]) for name in extras[0]},
                "segments": counts,
                "segment_values": pad_sequence(own, batch_first=True, padding_value=torch.nan),
            },
            score=clean,
            classes=frozen.classes,
            notes=(f"segments by {self._who(score, x)}: {_listed(counts.tolist())}", *notes),
            by_class=by_class,
        )

    def _quantity(self) -> Quantity:
        """What the numbers of the map mean with these options."""
        return self.quantity

    def _unit(self, score: Score) -> str:
        """What one unit of a value is."""
        return score.target.unit

    def _explained(self, one: Segments, column: int) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """The map, its standard error and the numbers of the class that is explained."""
        error = None if one.standard_error is None else self._painted(one.standard_error, one.labels)
        numbers = {name: number[column] if number.ndim else number for name, number in one.numbers.items()}
        return self._painted(one.values[:, column], one.labels), error, numbers

    def _painted(self, numbers: Tensor, labels: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Numbers (..., segment), rounded to `dtype`, laid on the voxels (..., 1 or channel, *space)."""
        if self.spread:
            numbers = numbers / torch.bincount(labels.flatten())
        places = labels.flatten().expand(*numbers.shape[:-1], -1)
        painted: Tensor = numbers.to(dtype or numbers.dtype).gather(-1, places)
        return painted.reshape(*numbers.shape[:-1], *labels.shape)

    def _by_class(self, found: Sequence[Segments], x: Tensor) -> tuple[Tensor | None, tuple[str, ...]]:
        """The map of every class, unless there are too many of them to hold."""
        classes = found[0].values.shape[1]
        if classes * sum(one.labels.numel() for one in found) > MOST_VALUES:
            return None, (f"maps of all {classes} classes are too large to keep; only the explained one is here",)
        maps = [self._painted(one.values.T, one.labels, x.dtype) for one in found]
        return maps[0][None] if len(maps) == 1 else torch.stack(maps), ()

    def _labels(self, score: Score, x: Tensor, row: int) -> Tensor:
        """The segments (1 or channel, *space) of one sample, from 0; with channels='each' numbered on by channel."""
        labels = self._cut(score, x, row).to(x.device)
        if self.background is not None:
            labels = labels.masked_fill((x[row] <= self.background).all(dim=0), -1)
        labels = cut.consecutive(labels)
        count = int(labels.max()) + 1
        if count < 2:
            raise InputError(
                f"{self.name}: the image must have at least 2 segments, got 1 from {self._who(score, x)}; "
                "take smaller segments or segmenter='grid'"
            )
        if self.channels == "together":
            return labels[None]
        return torch.stack([labels + count * channel for channel in range(x.shape[1])])

    def _cut(self, score: Score, x: Tensor, row: int) -> Tensor:
        size, who, spacing = x.shape[2:], self._who(score, x), self._spacing(score, x)
        if who == "given":
            return cut.given(score.segments, x, self.name)[row]
        if who == "quickshift":
            self._require(len(size) == 2, "segmenter", "'slic', 'grid' or 'given' for a volume (quickshift is 2D only)")
            return cut.quickshift(x[row], kernel=self.kernel, black_white=self.black_white)
        if who == "grid" and self.window is not None:
            return cut.cells(size, per_axis(self.window, len(size), f"{self.name}: window"))
        if who == "grid":
            return cut.grid(size, self.segments, spacing)
        return cut.slic(
            x[row], self.segments, compactness=self.compactness, spacing=spacing, black_white=self.black_white
        )

    def _who(self, score: Score, x: Tensor) -> str:
        """The segmenter that 'auto' stands for."""
        if self.segmenter != "auto":
            return self.segmenter
        if score.segments is not None:
            return "given"
        return self.planar if x.ndim == 4 else "slic"

    def _spacing(self, score: Score, x: Tensor) -> tuple[float, ...] | None:
        """Voxel sides, where they are known, so that segments are as long as wide in millimetres."""
        sides = score.spacing_mm
        if sides is not None and len(sides) != x.ndim - 2:
            raise InputError(f"{self.name}: the voxel size must have {x.ndim - 2} sides for this image, got {sides}")
        return sides


def _listed(counts: Sequence[int]) -> str:
    """How many segments the samples have."""
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
