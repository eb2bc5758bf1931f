"""Metrics that remove parts of the image: what stands in their place, curves of removal, and random sets of parts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.metrics.base import Curve, Measured
from voxplain.metrics.base_model import ModelMetric, Probe
from voxplain.ops.imputers import Fill, imputed, imputer
from voxplain.ops.removal import part_sums, random_order, removal_ranks
from voxplain.ops.segments import cells

Imputer = float | Literal["zero", "mean", "minimum", "blur", "tissue", "mirror", "reference", "neighbours"]

FLAT = "the map is the same everywhere, so that it ranks nothing"
"""Why a map without an order has no number."""

SAME = 1e-7
"""Numbers that differ by less, as a share of their size, are the same: networks compute in single precision."""


@dataclass(frozen=True, kw_only=True)
class PerturbedMetric(ModelMetric):
    """What stands in the place of removed voxels; all channels of a voxel are removed together."""

    imputer: Imputer = "zero"
    """zero, a number, mean, minimum or blur (of the image itself), tissue (mean of the body, or of what is not 0),
    mirror (the other side), reference (a given image) or neighbours (interpolated from what is left)."""
    mirror_axis: int | None = None
    """The left-right axis for mirror, from 0; left out: columns in 2D, the first axis in 3D."""
    seed: int | None = None
    """Seed of everything random; left out: the run's own."""

    def _check(self) -> None:
        self._require(self.seed is None or self.seed >= 0, "seed", "at least 0")
        self._require(self.mirror_axis is None or self.mirror_axis >= 0, "mirror_axis", "at least 0")

    def _seed(self, probe: Probe) -> int:
        return probe.score.seed if self.seed is None else self.seed

    def _fill(self, probe: Probe) -> Fill:
        """What stands for removed voxels of the case."""
        axis, seed, reference = self.mirror_axis, self._seed(probe), probe.score.reference
        return probe.once(
            ("fill", self.imputer, axis, seed),
            lambda: imputer(probe.x, self.imputer, body=probe.body, reference=reference, mirror_axis=axis, seed=seed),
        )

    def _without(self, probe: Probe, removed: Tensor) -> Tensor:
        """The image without the removed voxels (n, *space) of each version."""
        return imputed(probe.x, removed, self._fill(probe))

    def _empty(self, probe: Probe) -> float:
        """The score with every voxel removed."""
        everything = torch.ones((1, *probe.x.shape[2:]), dtype=torch.bool, device=probe.x.device)
        scores = lambda: probe.scores(1, lambda index: self._without(probe, everything))  # noqa: E731
        return float(probe.once(("empty", self.imputer, self.mirror_axis, self._seed(probe)), scores)[0])

    def _walked(self, probe: Probe, labels: Tensor, ranks: Tensor, shares: Sequence[float]) -> Tensor:
        """Scores (row, share) with the parts of lowest rank (row, part) removed; nothing and everything cost nothing.

        `labels` (*space) number the parts. Versions of the image are made chunk by chunk on its device.
        """
        parts = ranks.shape[1]
        counts = [round(share * parts) for share in shares]
        inner = sorted({count for count in counts if 0 < count < parts})
        between = torch.tensor(inner, device=ranks.device)

        def make(index: Tensor) -> Tensor:
            row, column = index // len(inner), index % len(inner)
            gone = ranks[row] < between[column, None]
            return self._without(probe, gone[:, labels])

        known = {0: torch.full_like(ranks[:, 0], probe.clean, dtype=torch.float64)}
        if parts in counts:
            known[parts] = torch.full_like(known[0], self._empty(probe))
        if inner:
            found = probe.scores(len(ranks) * len(inner), make).reshape(len(ranks), len(inner))
            known.update(zip(inner, found.unbind(dim=1), strict=True))
        return torch.stack([known[count] for count in counts], dim=1)


@dataclass(frozen=True, kw_only=True)
class BlockMetric(PerturbedMetric):
    """The parts that are removed are voxels, or square or cubic blocks of them."""

    patch: int = 1
    """Side in voxels of the blocks that are removed whole."""

    def _check(self) -> None:
        super()._check()
        self._require(self.patch >= 1, "patch", "at least 1")

    def _labels(self, probe: Probe) -> Tensor:
        """The number (*space) of the block that each voxel belongs to."""
        size = probe.x.shape[2:]
        sides = [min(self.patch, length) for length in size]
        return probe.once(("blocks", self.patch), lambda: cells(size, sides).to(probe.x.device))


@dataclass(frozen=True, kw_only=True)
class CurveMetric(BlockMetric):
    """Blocks are removed in the order of the map; the score along the way is shared with all that ask for the same."""

    sign: Literal["signed", "absolute"] = "signed"
    """Whether a map's most negative values come last, or first like its most positive ones."""

    def _measure(self, probe: Probe) -> list[Measured]:
        values = self._values(probe)
        flat = (values.amax(dim=1) == values.amin(dim=1)).tolist()
        return [Measured.not_applicable(FLAT) if one else self._judge(probe, row) for row, one in enumerate(flat)]

    @abstractmethod
    def _judge(self, probe: Probe, row: int) -> Measured:
        """The number of one map that has an order."""

    def _values(self, probe: Probe) -> Tensor:
        """The value of each part (map, part): channels summed first, since what counts is a voxel's net evidence."""

        def found() -> Tensor:
            net = torch.stack([values.sum(dim=0, dtype=torch.float64) for values in probe.maps])
            return part_sums(net.abs() if self.sign == "absolute" else net, self._labels(probe))

        return probe.once(("values", *self._order_key(probe)), found)

    def _order_key(self, probe: Probe) -> tuple[object, ...]:
        """What the order of removal depends on."""
        return self.sign, self.patch, self._seed(probe)

    def _curve(self, probe: Probe, shares: Sequence[float], *, least: bool = False) -> Tensor:
        """Scores (map, share) with these shares of the parts removed, the most relevant or the `least` first."""
        key = ("curve", *self._order_key(probe), self.imputer, self.mirror_axis, tuple(shares), least)

        def found() -> Tensor:
            ranks = removal_ranks(self._values(probe), self._seed(probe))
            return self._walked(probe, self._labels(probe), ranks.shape[1] - 1 - ranks if least else ranks, shares)

        return probe.once(key, found)


@dataclass(frozen=True, kw_only=True)
class AreaMetric(CurveMetric):
    """A curve from the whole image to nothing in equal steps, and the areas under it."""

    steps: int = 32
    """Equal steps from the whole image to nothing."""

    def _check(self) -> None:
        super()._check()
        self._require(self.steps >= 1, "steps", "at least 1")

    def _shares(self) -> list[float]:
        return [step / self.steps for step in range(self.steps + 1)]

    def _removing(self, probe: Probe, row: int, *, least: bool = False) -> Tensor:
        """Scores (step,) of one map while its most or least relevant parts are removed."""
        return self._curve(probe, self._shares(), least=least)[row]


@dataclass(frozen=True, kw_only=True)
class SetMetric(BlockMetric):
    """Random sets of blocks, the same for all maps: a map's sum over each, and the fall of the score without it."""

    samples: int = 100
    """Random sets of each size."""

    def _check(self) -> None:
        super()._check()
        self._require(self.samples >= 3, "samples", "at least 3")

    def _correlations(self, probe: Probe, share: float) -> list[float | None]:
        """Pearson's correlation of each map's sums with the falls, over sets of one size; None where flat."""
        sums, falls = self._sets(probe, share)
        varied = falls.std() > SAME * abs(probe.clean)
        return [_pearson(one, falls) if varied else None for one in sums]

    def _sets(self, probe: Probe, share: float) -> tuple[Tensor, Tensor]:
        """Sums of every map (map, sample) over random sets of parts, and the fall of the score without them."""
        key = ("sets", self.imputer, self.mirror_axis, self.patch, self._seed(probe), self.samples, share)
        return probe.once(key, lambda: self._drawn(probe, share))

    def _drawn(self, probe: Probe, share: float) -> tuple[Tensor, Tensor]:
        labels, seed = self._labels(probe), self._seed(probe)
        values = part_sums(torch.stack([one.sum(dim=0, dtype=torch.float64) for one in probe.maps]), labels)
        parts = values.shape[1]
        size = min(max(1, round(share * parts)), parts - 1)
        if size < 1:
            raise OptionError(f"{self.name}: patch must leave at least two blocks in the image, got {self.patch}")
        sums = values.new_empty(len(values), self.samples)

        def make(index: Tensor) -> Tensor:
            gone = torch.zeros(len(index), parts, dtype=torch.bool, device=values.device)
            for row, number in zip(gone, index.tolist(), strict=True):
                row[random_order(parts, seed, number, values.device)[:size]] = True
            sums[:, index] = values @ gone.T.to(values.dtype)
            return self._without(probe, gone[:, labels])

        return sums, probe.clean - probe.scores(self.samples, make)


def area(curve: Tensor) -> float:
    """The area under a curve (step,) in equal steps from 0 to 1, by trapezoids."""
    return float(torch.trapezoid(curve, dx=1 / (len(curve) - 1)))


def along_removal(shares: Sequence[float], scores: Tensor) -> Curve:
    """Scores along the share of voxels removed, to be drawn."""
    return Curve(tuple(shares), tuple(scores.tolist()), "share of voxels removed")


def _pearson(one: Tensor, other: Tensor) -> float | None:
    """Pearson's correlation, or None where `one` is the same everywhere but for rounding."""
    if one.std() <= SAME * one.abs().max():
        return None
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
