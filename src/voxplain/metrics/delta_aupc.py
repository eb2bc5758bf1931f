"""Delta AUPC: how much faster the score falls in the map's order than in random ones. Jin et al., arXiv:2202.10553."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, along_removal, area
from voxplain.ops.removal import random_order


@dataclass(frozen=True, kw_only=True)
class DeltaAupc(AreaMetric):
    """Mean area under the score in random orders of removal, less that in the map's order; score units.

    The paper takes the accuracy over a data set for the curve; here it is the score of each case. The random orders are
    the same for all maps. Costs steps - 1 forwards a map and a permutation, and one for the empty image.
    """

    name: ClassVar[str] = "delta_aupc"
    title: ClassVar[str] = "Difference of areas under the perturbation curve"
    citation: ClassVar[str] = (
        "Jin, Li, Fatehi, Hamarneh: Guidelines and evaluation of clinical explainable AI in medical image analysis. "
        "Medical Image Analysis 84 (2023), arXiv:2202.10553"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    permutations: int = 4
    """Random orders whose mean area the map's is compared with."""

    def _check(self) -> None:
        super()._check()
        self._require(self.permutations >= 1, "permutations", "at least 1")

    def _judge(self, probe: Probe, row: int) -> Measured:
        own, chance = self._removing(probe, row), self._at_random(probe)
        shares = self._shares()
        areas = [area(one) for one in chance]
        curves = {
            "most relevant first": along_removal(shares, own),
            "random order": along_removal(shares, chance.mean(dim=0)),
        }
        value = sum(areas) / len(areas) - area(own)
        return Measured(value, chance=0.0, curves=curves, numbers={"random_areas": areas})

    def _at_random(self, probe: Probe) -> Tensor:
        """Scores (permutation, step) in random orders."""
        labels, seed = self._labels(probe), self._seed(probe)

        def found() -> Tensor:
            # Number 0 of a seed breaks the ties of maps.
            parts = int(labels.max()) + 1
            orders = [random_order(parts, seed, 1 + n, labels.device) for n in range(self.permutations)]
            return self._walked(probe, labels, torch.stack(orders), self._shares())

        key = ("random", self.imputer, self.mirror_axis, self.patch, seed, self.steps, self.permutations)
        return probe.once(key, found)
