"""Maximum sensitivity: how far a map moves where the image hardly does. Yeh et al. 2019, definition 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Explained
from voxplain.metrics.base_neighbours import Neighbours, distance


@dataclass(frozen=True, kw_only=True)
class MaxSensitivity(Neighbours):
    """The largest distance between the maps of an image and of a neighbour, over the size of its own map.

    0 where no neighbour has another map.
    """

    name: ClassVar[str] = "max_sensitivity"
    title: ClassVar[str] = "Maximum sensitivity"
    citation: ClassVar[str] = (
        "Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (in)fidelity and sensitivity of explanations. NeurIPS 2019, "
        "arXiv:1901.09392"
    )

    def _compared(self, clean: Explained, other: Explained) -> float:
        return distance(clean.values, other.values) / float(clean.values.double().norm())
