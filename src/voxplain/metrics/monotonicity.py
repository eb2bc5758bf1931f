"""Monotonicity: whether each part that is put back raises the score. Arya et al., arXiv:1909.03012."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import Probe
from voxplain.metrics.base_perturbed import AreaMetric, along_removal


@dataclass(frozen=True, kw_only=True)
class Monotonicity(AreaMetric):
    """Share of the steps at which the score does not fall while voxels are put back, the least relevant first.

    The paper asks whether all do; the share says by how much not. The curve is that of deletion, backwards: with the
    same options it costs nothing more.
    """

    name: ClassVar[str] = "monotonicity"
    title: ClassVar[str] = "Monotonicity"
    citation: ClassVar[str] = "Arya et al.: One explanation does not fit all. arXiv:1909.03012 (2019)"
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _judge(self, probe: Probe, row: int) -> Measured:
        scores = self._removing(probe, row)
        rises = (scores[:-1] >= scores[1:]).double().mean()
        return Measured(float(rises), curves={"most relevant first": along_removal(self._shares(), scores)})
