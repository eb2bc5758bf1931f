"""Effective complexity: how many voxels have more than a negligible value. Nguyen, Martínez 2020."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base_evidence import Array, Complexity


@dataclass(frozen=True, kw_only=True)
class EffectiveComplexity(Complexity):
    """A number of voxels: all of them for a map that is the same everywhere, 1 where a single one holds everything."""

    name: ClassVar[str] = "effective_complexity"
    title: ClassVar[str] = "Effective complexity"
    citation: ClassVar[str] = (
        "Nguyen, Martínez: On quantitative aspects of model interpretability. 2020, arXiv:2007.07584"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (1.0, None)

    epsilon: float = 0.01
    """What is negligible, as a share of the largest size."""

    def _check(self) -> None:
        self._require(0 <= self.epsilon < 1, "epsilon", "at least 0 and below 1")

    def _complexity(self, strength: Array) -> float:
        return float((strength > self.epsilon * strength.max()).sum())
