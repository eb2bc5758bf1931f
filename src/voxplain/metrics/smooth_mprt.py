"""Smooth MPRT: the randomisation test on maps that were averaged over noisy inputs. Hedström et al. 2023, section 4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from voxplain.metrics.base import Measured
from voxplain.metrics.base_inputs import Altered
from voxplain.metrics.base_method import Change, Explained, Inputs, Networks
from voxplain.metrics.base_networks import Randomised
from voxplain.metrics.base_similarity import Gives, mean_map, stage_curve


@dataclass(frozen=True, kw_only=True)
class SmoothMprt(Gives):
    """As `mprt`, between means over noisy inputs: noise of a gradient that shatters does not count as sensitivity."""

    name: ClassVar[str] = "smooth_mprt"
    title: ClassVar[str] = "Smooth model parameter randomisation test"
    citation: ClassVar[str] = (
        "Hedström, Weber, Lapuschkin, Höhne: Sanity checks revisited: an exploration to repair the model parameter "
        "randomisation test. XAI in Action, NeurIPS 2023, arXiv:2401.06465"
    )

    stages: int = 4
    """How many stages, spread evenly over the layers; 0: every layer is one."""
    samples: int = 8
    """Noisy inputs at each stage."""
    noise: float = 0.1
    """Standard deviation of the noise as a share of each channel's own."""
    seed: int = 0
    """Seed of the random weights and of the noise."""

    def _check(self) -> None:
        self._require(self.stages >= 0, "stages", "at least 0")
        self._require(self.samples >= 1, "samples", "at least 1")
        self._require(self.noise >= 0, "noise", "at least 0")
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def networks(self) -> Networks:
        return Randomised(self.stages or None, self.seed, own=True)

    @property
    def inputs(self) -> Inputs:
        return Altered("noise", self.noise, self.samples, self.seed)

    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> Any:
        smooth = mean_map(others)
        return 1.0 - self._alike(before[0], smooth) if before else smooth

    def judge(self, clean: Explained, kept: Sequence[tuple[Change, Any]]) -> Measured:
        stages = kept[1:]
        curve = stage_curve([(change, 1.0 - one) for change, one in stages], 1.0)
        return replace(super().judge(clean, stages), curves={"similarity": curve})
