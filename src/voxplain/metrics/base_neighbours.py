"""Bases of the metrics that compare the map of an image with those of neighbours, which look the same to a reader."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_inputs import Altered
from voxplain.metrics.base_method import Change, Explained, Inputs, MethodMetric
from voxplain.score.choice import scores

LEAST = 1e-6
"""What a divisor is at least, as in Agarwal et al.: equal neighbours must not divide by 0."""


@dataclass(frozen=True, kw_only=True)
class Neighbours(MethodMetric):
    """A metric over images off by uniform noise, the same ones for all metrics of equal options."""

    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    radius: float = 0.02
    """How far a voxel may be off, as a share of its channel's range."""
    samples: int = 10
    """How many neighbours."""
    seed: int = 0
    """Seed of the noise."""

    def _check(self) -> None:
        self._require(self.radius > 0, "radius", "more than 0")
        self._require(self.samples >= 1, "samples", "at least 1")
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def inputs(self) -> Inputs:
        return Altered("uniform", self.radius, self.samples, self.seed)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> list[float | None]:
        return [self._compared(clean, other) for other in others]

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, list[float | None]]]) -> Measured:
        found = [one for _, several in kept for one in several if one is not None]
        if not found:
            return Measured.not_applicable("the prediction is another one for every neighbour")
        return Measured(self._summary(found), numbers={"neighbours": len(found)})

    @abstractmethod
    def _compared(self, clean: Explained, other: Explained) -> float | None:
        """The number of one neighbour; None where it does not count."""

    def _summary(self, found: Sequence[float]) -> float:
        return max(found)


@dataclass(frozen=True, kw_only=True)
class RelativeStability(Neighbours):
    """The largest relative change of a map over that of something else; only neighbours of the same class count.

    Every voxel's change is divided by the voxel's own value (where that is 0, by 1e-6): small values weigh heavily, so
    numbers are large, and mean something beside those of other methods only.
    """

    def _compared(self, clean: Explained, other: Explained) -> float | None:
        if _predicted(clean) != _predicted(other):
            return None
        return relative(clean.values, other.values) / max(self._divisor(clean, other), LEAST)

    @abstractmethod
    def _divisor(self, clean: Explained, other: Explained) -> float:
        """How much something else changed."""


def relative(before: Tensor, after: Tensor) -> float:
    """The root of the sum of squares of all changes, each relative to its own value."""
    one, other = before.double(), after.double()
    return float(((one - other) / torch.where(one == 0, LEAST, one)).norm())


def distance(one: Tensor, other: Tensor) -> float:
    """The root of the sum of squared differences."""
    return float((one.double() - other.double()).norm())


def _predicted(asked: Explained) -> int | None:
    """The predicted class; None for maps of classes, several labels at once and regression, which have none."""
    head, output = asked.score.model.head, asked.output
    if output.ndim != 2 or head in ("regression", "multi_label"):
        return None
    return int(scores(output, head)[0].argmax())
