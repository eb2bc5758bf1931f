"""Average sensitivity: how far a map moves on average where the image hardly does. Bhatt et al. 2020, section 2.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import Neighbours, distance


@dataclass(frozen=True, kw_only=True)
class AvgSensitivity(Neighbours):
    """The mean distance between the maps of an image and of its neighbours, over the size of its own map.

    0 where no neighbour has another map.
    """

    name: ClassVar[str] = "avg_sensitivity"
    title: ClassVar[str] = "Average sensitivity"
    citation: ClassVar[str] = (
        "Bhatt, Weller, Moura: Evaluating and aggregating feature-based model explanations. IJCAI 2020, "
        "arXiv:2005.00631"
    )

    def _compared(self, clean: Explained, other: Explained) -> float:
        return distance(clean.values, other.values) / float(clean.values.double().norm())

    def _summary(self, found: Sequence[float]) -> float:
        return sum(found) / len(found)
