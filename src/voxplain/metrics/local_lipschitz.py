"""Local Lipschitz estimate: how steeply a map may change with the image. Alvarez-Melis, Jaakkola 2018, equation 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import Neighbours, distance


@dataclass(frozen=True, kw_only=True)
class LocalLipschitz(Neighbours):
    """The largest distance between two maps over that between their images, in units of the map per input unit.

    It depends on the scales of map and input: to be compared within one method and model only.
    """

    name: ClassVar[str] = "local_lipschitz"
    title: ClassVar[str] = "Local Lipschitz estimate"
    citation: ClassVar[str] = (
        "Alvarez-Melis, Jaakkola: On the robustness of interpretability methods. WHI at ICML 2018, arXiv:1806.08049"
    )

    def _compared(self, clean: Explained, other: Explained) -> float | None:
        apart = distance(clean.x, other.x)
        return distance(clean.values, other.values) / apart if apart > 0 else None
