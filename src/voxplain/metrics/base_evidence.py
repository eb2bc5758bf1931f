"""Bases of the metrics that read a map voxel by voxel: what counts as evidence, and where it may lie."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.metrics.base import MapMetric, MaskMetric, Measured
from voxplain.ops.marking import Threshold, marked
from voxplain.space.grid import Grid

Array = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Sign = Literal["positive", "absolute"]

NOT_FINITE = "the map holds values that are NaN or infinite"


@dataclass(frozen=True, eq=False)
class Place:
    """Where a map should have its evidence."""

    inside: Truth
    """The mask within what counts (i, j, k); at least one voxel."""
    counted: Truth
    """Every voxel that counts (i, j, k): the body, or all."""
    grid: Grid

    @property
    def share(self) -> float:
        """The mask's share of the voxels that count."""
        return float(self.inside.sum() / self.counted.sum())

    @property
    def labels(self) -> Truth:
        """For each voxel that counts whether it is of the mask (n,)."""
        return self.inside[self.counted]


@dataclass(frozen=True, kw_only=True)
class Localisation(MaskMetric):
    """A metric of where a map's evidence lies.

    An empty mask, a map with NaN and one without evidence are not applicable. Voxels with the same evidence, as all of
    a constant map, are treated alike: where an order is needed each of them comes first with equal chance.
    """

    sign: Sign = "positive"
    """Which values are evidence: positive ones only (others count as 0), or all by their size."""

    @final
    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        inside = mask.values[0] != 0
        counted = np.ones_like(inside) if body is None else body.values[0] != 0
        inside = inside & counted
        if not inside.any():
            return Measured.not_applicable("the mask is empty" if body is None else "the mask is empty inside the body")
        place = Place(inside, counted, attribution.grid)
        strength, reason = evidence(attribution, self.sign, counted)
        if reason:
            return Measured.not_applicable(reason, self._chance(place))
        return self._located(strength, place)

    @abstractmethod
    def _located(self, strength: Array, place: Place) -> Measured:
        """The metric itself: `strength` (i, j, k) is at least 0 everywhere, and above 0 somewhere that counts."""

    def _chance(self, place: Place) -> float | None:
        """What a map that knows nothing gets, where that depends on the mask alone."""
        return None


@dataclass(frozen=True, kw_only=True)
class Overlap(Localisation):
    """A metric of the voxels that a threshold marks."""

    threshold: Threshold = "otsu"
    """Which voxels are marked: above Otsu's threshold, or from this share of the largest evidence on (0 to 1)."""

    def _check(self) -> None:
        fixed = self.threshold
        self._require(isinstance(fixed, str) or 0 < fixed <= 1, "threshold", "'otsu' or a share between 0 and 1")

    @final
    def _located(self, strength: Array, place: Place) -> Measured:
        chosen = np.zeros_like(place.counted)
        chosen[place.counted] = marked(strength[place.counted], self.threshold)
        return self._overlap(chosen, place)

    @abstractmethod
    def _overlap(self, chosen: Truth, place: Place) -> Measured:
        """The metric itself, from the marked voxels (i, j, k)."""


@dataclass(frozen=True, kw_only=True)
class Complexity(MapMetric):
    """A metric of how a map's magnitude is spread over voxels, whatever it points at; chance is not defined.

    A map with NaN and one of nothing but zeros are not applicable.
    """

    @final
    def _measure(self, attribution: Attribution, body: Image | None) -> Measured:
        counted = np.ones(attribution.grid.shape, dtype=bool) if body is None else body.values[0] != 0
        if not counted.any():
            return Measured.not_applicable("the body is empty")
        strength, reason = evidence(attribution, "absolute", counted)
        if reason:
            return Measured.not_applicable(reason)
        return Measured(self._complexity(strength[counted]))

    @abstractmethod
    def _complexity(self, strength: Array) -> float:
        """The number, from the sizes of all voxels that count (n,): none negative, not all 0."""


def evidence(attribution: Attribution, sign: Sign, counted: Truth) -> tuple[Array, str]:
    """The evidence of each voxel (i, j, k), at least 0, and why there is none among those counted ('' where there is).

    Channels are summed before the sign is taken: what counts is a voxel's net evidence.
    """
    net = attribution.values.sum(axis=0, dtype=np.float64)
    if not np.isfinite(net).all():
        return net, NOT_FINITE
    strength = np.abs(net) if sign == "absolute" else np.maximum(net, 0.0)
    if strength[counted].any():
        return strength, ""
    return strength, f"the map has {'no values but 0' if sign == 'absolute' else 'no positive values'}"
