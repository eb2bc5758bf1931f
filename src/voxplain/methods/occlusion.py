"""Occlusion. Zeiler, Fergus, ECCV 2014, arXiv:1311.2901, section 4.2; overlaps averaged."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.base import Map, Method
from voxplain.ops.baselines import baseline
from voxplain.ops.patches import painted, windows
from voxplain.score.score import Score
from voxplain.score.windows import Scores, covered_scores
from voxplain.score.windows_coarse import Refined, coarse_to_fine
from voxplain.score.windows_covered import Covered
from voxplain.types import Access, Quantity

PARTS = 8
"""Without a window the image is cut into about this many windows a side."""


@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    """How much the score falls when a window around each voxel is covered, in units of the score.

    Positive: the window speaks for the target. Voxels under several windows get their mean.
    Costs 1 + positions forwards and nothing but calls of the model.
    """

    name = "occlusion"
    title: ClassVar[str] = "Occlusion"
    citation: ClassVar[str] = "Zeiler and Fergus, Visualizing and understanding convolutional networks, arXiv:1311.2901"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "on a linear score, a window's value is its share of f(x) - f(fill)"
    cost: ClassVar[str] = "1 + positions"

    window: int | tuple[int, ...] | None = None
    """Side of the window in voxels, one number or one an axis; left out: an eighth of each side."""
    stride: int | tuple[int, ...] | None = None
    """Distance between windows in voxels; left out: the window, so that windows tile the image."""
    window_mm: float | tuple[float, ...] | None = None
    """Side of the window in millimetres, instead of `window`."""
    stride_mm: float | tuple[float, ...] | None = None
    """Distance between windows in millimetres, instead of `stride`."""
    fill: float | Literal["zero", "mean", "minimum", "blur"] = "zero"
    """What covers the window: zero, mean, minimum, blur or a number, in units of the network's input."""
    channels: Literal["together", "each"] = "together"
    """Cover all channels at once, or each alone (one map a channel, as many times the cost)."""

    engine: Literal["auto", "dense", "incremental", "coarse_to_fine"] = "auto"
    """dense: whole forwards; incremental: compute only what a window changes in each map; auto: the faster of both;
    coarse_to_fine: large windows first, single ones where these matter, the others estimated."""
    threshold: float = 0.1
    """For coarse_to_fine: go on where a large window changes the score by this share of the largest change."""
    seed: int | None = None
    """For coarse_to_fine: seed of the estimated windows that are looked at; left out: the run's own."""

    def _check(self) -> None:
        for option, other in (("window", "window_mm"), ("stride", "stride_mm")):
            self._require(
                getattr(self, option) is None or getattr(self, other) is None, option, f"left out with {other}"
            )
        for option in ("window", "stride"):
            self._require(min(_listed(getattr(self, option)), default=1) >= 1, option, "at least 1")
        self._require(0 <= self.threshold <= 1, "threshold", "between 0 and 1")
        self._require(self.seed is None or self.seed >= 0, "seed", "at least 0")
        for option in ("window_mm", "stride_mm"):
            self._require(min(_listed(getattr(self, option)), default=1) > 0, option, "more than 0")

    def _map(self, score: Score, x: Tensor) -> Map:
        size = tuple(x.shape[2:])
        window = self._voxels("window", score, size) or tuple(max(1, round(side / PARTS)) for side in size)
        stride = self._voxels("stride", score, size) or window
        if any(hop > side for hop, side in zip(stride, window, strict=True)):
            raise OptionError(
                f"occlusion: stride must not exceed the window {window}, got {stride}; voxels would be left out"
            )
        clean, frozen = score.freeze(x)
        places = windows(size, window, stride)
        groups = 1 if self.channels == "together" else x.shape[1]
        scores = self._covered(frozen, x, places, groups, clean)
        falls = clean[:, None, None] - scores.values.reshape(len(x), groups, len(places))
        values = torch.stack([painted(places, falls[:, group], size) for group in range(groups)], dim=1)
        notes = (f"windows of {_sides(window)} voxels every {_sides(stride)}, {len(places)} positions", *scores.notes)
        unit = f"{score.target.unit} (fall when covered)"
        numbers = {}
        if isinstance(scores, Refined):
            numbers = {"windows_estimated": scores.skipped, "largest_error_looked_at": scores.largest_error}
        return Map(
            values.to(x.dtype), self.quantity, unit, numbers=numbers, score=clean, classes=frozen.classes, notes=notes
        )

    def _covered(self, score: Score, x: Tensor, places: list[tuple[slice, ...]], groups: int, clean: Tensor) -> Scores:
        """Scores (batch * group * position,) with each window of each channel group covered."""
        rows = torch.arange(len(x)).repeat_interleave(groups * len(places))
        channels = None
        if groups > 1:
            channels = [slice(n, n + 1) for n in range(groups) for _ in places] * len(x)
        covered = Covered(x, baseline(x, self.fill), rows, places * (groups * len(x)), channels)
        if self.engine == "coarse_to_fine":
            seed = score.seed if self.seed is None else self.seed
            return coarse_to_fine(score, covered, clean, threshold=self.threshold, seed=seed)
        return covered_scores(score, covered, clean, engine=self.engine)

    def _voxels(self, option: str, score: Score, size: tuple[int, ...]) -> tuple[int, ...] | None:
        """The window or stride in voxels, one number an axis; None where neither voxels nor millimetres are given."""
        given, in_mm = getattr(self, option), getattr(self, f"{option}_mm")
        if given is None and in_mm is None:
            return None
        if in_mm is not None and score.spacing_mm is None:
            raise OptionError(
                f"occlusion: {option}_mm needs a grid in mm, but this image has none; pass {option}=... in voxels"
            )
        if in_mm is not None and len(score.spacing_mm or ()) != len(size):
            raise OptionError(f"occlusion: {option}_mm needs {len(size)} voxel sides in mm, got {score.spacing_mm}")
        sides = _listed(given if in_mm is None else in_mm)
        sides = sides * len(size) if len(sides) == 1 else sides
        if len(sides) != len(size):
            raise OptionError(
                f"occlusion: {option} must have 1 or {len(size)} numbers for this image, got {len(sides)}"
            )
        if in_mm is not None:
            sides = tuple(max(1, round(side / step)) for side, step in zip(sides, score.spacing_mm or (), strict=True))
        return tuple(min(int(side), length) for side, length in zip(sides, size, strict=True))


def _listed(value: float | tuple[float, ...] | None) -> tuple[float, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _sides(values: tuple[int, ...]) -> str:
    return " x ".join(map(str, values))
