"""Input invariance: does a shift of the input that the network takes back move the map? Kindermans et al. 2019."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_method import Change, Explained, MethodMetric, Networks
from voxplain.metrics.base_neighbours import distance
from voxplain.metrics.base_networks import Shifted


@dataclass(frozen=True, kw_only=True)
class InputInvariance(MethodMetric):
    """The distance between the maps over the size of the clean one, for a shifted input with the same answer.

    0 where the shift does not matter. The first layer takes it back: it is taken off the bias and pads in place of
    zeros, so that every answer stays. Networks that begin otherwise, or read the input twice, are not applicable.
    """

    name: ClassVar[str] = "input_invariance"
    title: ClassVar[str] = "Input invariance"
    citation: ClassVar[str] = (
        "Kindermans, Hooker, Adebayo, Alber, Schütt, Dähne, Erhan, Kim: The (un)reliability of saliency methods. "
        "Explainable AI (2019), arXiv:1711.00867"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    shift: float = 1.0
    """What is added to every voxel, as a share of the input's range."""

    def _check(self) -> None:
        self._require(self.shift != 0, "shift", "other than 0")

    @property
    def networks(self) -> Networks:
        return Shifted(self.shift)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> float:
        return distance(clean.values, next(others).values) / float(clean.values.double().norm())

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, float]]) -> Measured:
        return Measured(kept[0][1])
