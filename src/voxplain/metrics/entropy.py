"""Complexity: the entropy of how a map's magnitude is shared among voxels. Bhatt et al. 2020, section 2.3."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from voxplain.metrics.base_evidence import Array, Complexity


@dataclass(frozen=True, kw_only=True)
class Entropy(Complexity):
    """In nats: 0 where a single voxel holds everything, ln(n) for a map that is the same on all n voxels."""

    name: ClassVar[str] = "entropy"
    title: ClassVar[str] = "Complexity (entropy)"
    citation: ClassVar[str] = (
        "Bhatt, Weller, Moura: Evaluating and aggregating feature-based model explanations. IJCAI 2020, "
        "arXiv:2005.00631"
    )
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)

    def _complexity(self, strength: Array) -> float:
        shares = strength[strength > 0] / strength.sum()
        return max(float(-(shares @ np.log(shares))), 0.0)
