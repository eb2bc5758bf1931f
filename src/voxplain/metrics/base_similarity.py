"""Bases of the metrics that ask how alike maps stay when something changed that should, or should not, matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Curve, Measured
from voxplain.metrics.base_method import Change, Explained, MethodMetric
from voxplain.ops.controls import random_map
from voxplain.ops.similarity import Measure, similarity


@dataclass(frozen=True, kw_only=True)
class Alike(MethodMetric):
    """A metric of how alike two maps are, voxel by voxel, channels summed."""

    similarity: Measure = "spearman"
    """Rank correlation, structural similarity or intraclass correlation, of maps divided by their largest size."""
    sign: Literal["absolute", "signed"] = "absolute"
    """Whether the sign of a voxel's net evidence is part of the map."""

    def _alike(self, one: Tensor, other: Tensor, valid: Tensor | None = None) -> float:
        """Similarity of two maps (1, channel or 1, *space), over valid voxels (*space) only."""
        first, second = self._voxels(one), self._voxels(other)
        if valid is not None and self.similarity == "ssim":  # windows need a picture without holes
            first, second = first * valid, second * valid
        elif valid is not None:
            first, second = first[valid], second[valid]
        return similarity(self.similarity, first, second)

    def _voxels(self, values: Tensor) -> Tensor:
        net = values[0].double().sum(dim=0)
        return net.abs() if self.sign == "absolute" else net


@dataclass(frozen=True, kw_only=True)
class Stays(Alike):
    """A metric of what maps should keep: their mean similarity to the clean one; a random map has that of `chance`."""

    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> list[float]:
        seen = (other for other in others if other.valid is None or bool(other.valid.any()))
        return [self._alike(clean.values, other.values, other.valid) for other in seen]

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, list[float]]]) -> Measured:
        found = [one for _, several in kept for one in several]
        chance = self._alike(clean.values, random_map(clean.x))
        if not found:
            return Measured.not_applicable("nothing of the image stayed in view", chance)
        names = {change.name: sum(several) / len(several) for change, several in kept if change.name}
        return Measured(sum(found) / len(found), chance, numbers=names)


@dataclass(frozen=True, kw_only=True)
class Gives(Alike):
    """A metric of what maps should give up: 1 less their similarity to the clean one, 0 where nothing changes.

    `chance` is 0, the number of a map that never looks at the network, such as the controls'. Noise that is drawn anew
    each time gets about 1: more is better only for a method that repeats itself.
    """

    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 2.0)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> Any:
        return 1.0 - self._alike(clean.values, next(others).values)

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, Any]]) -> Measured:
        found = [max(one, 0.0) for _, one in kept]
        return Measured(sum(found) / len(found), 0.0, numbers={change.name: one for change, one in kept if change.name})


def stage_curve(kept: Sequence[tuple[Change, float]], first: float) -> Curve:
    """A number along the randomised share of the layers, beginning with that of the model as trained."""
    at = tuple(change.at for change, _ in kept)
    return Curve((0.0, *at), (first, *(one for _, one in kept)), "share of the layers randomised, from the output down")


def mean_map(maps: Iterator[Explained]) -> Tensor:
    """The mean of maps (1, channel or 1, *space), which are taken in one by one."""
    total, count = torch.zeros(()), 0
    for one in maps:
        total, count = total + one.values.double(), count + 1
    return total / count
