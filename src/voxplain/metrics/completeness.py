"""Completeness: does the map sum to what there is to explain? Sundararajan et al., ICML 2017, arXiv:1703.01365."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import SAME, PerturbedMetric


@dataclass(frozen=True, kw_only=True)
class Completeness(PerturbedMetric):
    """|sum of the map - (f(x) - f(nothing))| as a share of |f(x) - f(nothing)|; 0 is best, a blank map gets 1.

    Asks for maps in units of the score; nothing is the image with every voxel replaced. Costs one forward.
    """

    name: ClassVar[str] = "completeness"
    title: ClassVar[str] = "Completeness"
    citation: ClassVar[str] = "Sundararajan, Taly, Yan: Axiomatic attribution for deep networks. ICML (2017)"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    def _measure(self, probe: Probe) -> list[Measured]:
        empty = self._empty(probe)
        due = probe.clean - empty
        if abs(due) <= SAME * max(abs(probe.clean), abs(empty)):
            return [Measured.not_applicable("the score is the same with nothing left of the image")] * len(probe.maps)
        totals = [float(values.sum(dtype=torch.float64)) for values in probe.maps]
        return [
            Measured(abs(total - due) / abs(due), chance=1.0, numbers={"sum": total, "due": due}) for total in totals
        ]
