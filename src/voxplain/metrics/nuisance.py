"""Robustness to what scanners and readers change: bias field, noise, window, position, voxel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_inputs import Altered, Moved, Nuisance
from voxplain.metrics.base_method import Inputs
from voxplain.metrics.base_similarity import Stays

DEFAULTS: dict[str, float] = {"bias_field": 0.3, "noise": 0.1, "window": 0.1, "rotation": 10.0, "spacing": 1.2}
"""Strengths that leave an image readable: see the option for their units."""


@dataclass(frozen=True, kw_only=True)
class NuisanceRobustness(Stays):
    """The mean similarity between the map and those of the same image under a nuisance that changes no diagnosis.

    After rotation and spacing the maps are brought back by the inverse, and only voxels count that were never cut off;
    the region of a target moves along. `chance` is the similarity to a random map.
    """

    name: ClassVar[str] = "nuisance"
    title: ClassVar[str] = "Robustness to medical nuisances"
    citation: ClassVar[str] = (
        "Jin, Li, Fatehi, Hamarneh: Guidelines and evaluation of clinical explainable AI in medical image analysis. "
        "Medical Image Analysis 84 (2023); bias field: Van Leemput et al., IEEE TMI 18 (1999)"
    )

    of: Nuisance = "noise"
    """Which nuisance; rotation and spacing keep the matrix, and what comes in from beyond it repeats the border."""
    strength: float | None = None
    """bias_field: largest logarithm of its gain (0.3); noise: share of a channel's standard deviation (0.1); window:
    largest change of width and level as a share of the range (0.1); rotation: largest angle in degrees (10); spacing:
    voxel size as a multiple of the own (1.2)."""
    samples: int = 4
    """How many altered images; of spacing, which has nothing random, always one."""
    seed: int = 0
    """Seed of the draws."""

    def _check(self) -> None:
        least = 0.0 if self.of != "spacing" else 0.2
        most = 0.9 if self.of == "window" else float("inf")
        right = self.strength is None or least < self.strength <= most
        limit = f"more than {least:g}" + (f" and at most {most:g}" if most < 1 else "")
        self._require(right, "strength", f"{limit} for of={self.of!r}")
        self._require(self.samples >= 1, "samples", "at least 1")
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def inputs(self) -> Inputs:
        strength = DEFAULTS[self.of] if self.strength is None else self.strength
        if self.of == "rotation":
            return Moved(strength, 1.0, self.samples, self.seed)
        if self.of == "spacing":
            return Moved(0.0, strength, 1, self.seed)
        return Altered(self.of, strength, self.samples, self.seed)
