"""Sparseness: the Gini index of a map's magnitudes. Chalasani et al. 2020, section 5."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base_evidence import Array, Complexity
from voxplain.ops.gini import gini


@dataclass(frozen=True, kw_only=True)
class Sparseness(Complexity):
    """0 for a map that is the same everywhere, towards 1 where a single voxel holds everything."""

    name: ClassVar[str] = "sparseness"
    title: ClassVar[str] = "Sparseness (Gini index)"
    citation: ClassVar[str] = (
        "Chalasani, Chen, Chowdhury, Jha, Wu: Concise explanations of neural networks using adversarial training. "
        "ICML 2020, arXiv:1810.06583"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _complexity(self, strength: Array) -> float:
        return gini(strength) or 0.0
