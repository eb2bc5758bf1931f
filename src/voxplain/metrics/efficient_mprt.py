"""Efficient MPRT: how much more complex a map gets when all layers are randomised. Hedström et al. 2023, section 4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from voxplain.metrics.base import Measured
from voxplain.metrics.base_method import Change, Explained, MethodMetric, Networks
from voxplain.metrics.base_networks import Randomised


@dataclass(frozen=True, kw_only=True)
class EfficientMprt(MethodMetric):
    """The rise of a histogram's entropy, as a share of that of the clean map: one more map, and no similarity.

    Above 0 where the map loses order with the network's knowledge; 0 where it does not depend on it, which is
    `chance`. A clean map whose histogram has no entropy is not applicable.
    """

    name: ClassVar[str] = "efficient_mprt"
    title: ClassVar[str] = "Efficient model parameter randomisation test"
    citation: ClassVar[str] = (
        "Hedström, Weber, Lapuschkin, Höhne: Sanity checks revisited: an exploration to repair the model parameter "
        "randomisation test. XAI in Action, NeurIPS 2023, arXiv:2401.06465"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, None)

    bins: int = 100
    """Bins of the histogram, between the least and the largest value."""
    seed: int = 0
    """Seed of the random weights."""

    def _check(self) -> None:
        self._require(self.bins >= 2, "bins", "at least 2")
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def networks(self) -> Networks:
        return Randomised(1, self.seed)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> float:
        return histogram_entropy(next(others).values, self.bins)

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, float]]) -> Measured:
        own, random = histogram_entropy(clean.values, self.bins), kept[-1][1]
        if own == 0:
            return Measured.not_applicable("the map has the same value everywhere", 0.0)
        return Measured((random - own) / own, 0.0, numbers={"entropy": own, "entropy_randomised": random})


def histogram_entropy(values: Tensor, bins: int) -> float:
    """Entropy in nats of the histogram of a map (1, channel or 1, *space), channels summed."""
    net = values[0].double().sum(dim=0).flatten()
    low, high = net.min(), net.max()
    if low == high:
        return 0.0
    place = ((net - low) / (high - low) * bins).long().clamp(max=bins - 1)
    shares = torch.bincount(place, minlength=bins).double() / len(place)
    return float(-torch.special.xlogy(shares, shares).sum())
