"""Modality importance: does a map rank the channels as the model does? Jin et al., arXiv:2203.06487."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from scipy.stats import kendalltau
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import PerturbedMetric
from voxplain.ops.coalitions import every_coalition, shapley

MOST = 12
"""Channels at most: every further one doubles the cost, which is 4096 forwards here."""


@dataclass(frozen=True, kw_only=True)
class ModalityImportance(PerturbedMetric):
    """Kendall's tau-b between the exact Shapley values of the channels and the map's positive sum of each channel.

    For images whose channels are different pictures, such as MRI sequences, and maps with a channel each. Costs
    2^channels - 1 forwards, the same for all maps.
    """

    name: ClassVar[str] = "modality_importance"
    title: ClassVar[str] = "Modality importance correlation"
    citation: ClassVar[str] = (
        "Jin, Li, Hamarneh: Evaluating explainable AI on a multi-modal medical imaging task. AAAI (2022), "
        "arXiv:2203.06487"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)

    def _measure(self, probe: Probe) -> list[Measured]:
        channels = probe.x.shape[1]
        if not 2 <= channels <= MOST:
            few = Measured.not_applicable(f"the image must have 2 to {MOST} channels, it has {channels}")
            return [few] * len(probe.maps)
        if all(len(values) != channels for values in probe.maps):
            return [self._judge(values, None) for values in probe.maps]
        key = ("shapley", self.imputer, self.mirror_axis, self._seed(probe))
        worth = probe.once(key, lambda: self._shapley(probe))
        return [self._judge(values, worth if len(values) == channels else None) for values in probe.maps]

    def _judge(self, values: Tensor, worth: Tensor | None) -> Measured:
        if worth is None:
            return Measured.not_applicable("the map has no channels of its own", chance=0.0)
        sums = values.clamp_min(0).flatten(1).sum(dim=1, dtype=torch.float64).cpu()
        numbers = {"shapley": worth.tolist(), "sums": sums.tolist()}
        tau = float(kendalltau(worth.numpy(), sums.numpy()).statistic)
        if math.isnan(tau):
            return Measured(None, 0.0, "all channels of the map or of the model are worth the same", numbers=numbers)
        return Measured(tau, chance=0.0, numbers=numbers)

    def _shapley(self, probe: Probe) -> Tensor:
        """The Shapley value (channel,) of each channel, by the score of every coalition."""
        present = every_coalition(probe.x.shape[1]).to(probe.x.device)
        everything = torch.ones((1, *probe.x.shape[2:]), dtype=torch.bool, device=probe.x.device)
        cover = self._without(probe, everything)

        def make(index: Tensor) -> Tensor:
            here = present[index].reshape(len(index), -1, *[1] * len(probe.x.shape[2:]))
            return torch.where(here, probe.x, cover)

        some = probe.scores(len(present) - 1, make)  # the last coalition is the clean image itself
        return shapley(torch.cat([some, some.new_tensor([probe.clean])]).cpu())
