"""Repeatability: does a model that was trained anew, by another seed, have the same map? Arun et al. 2021."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Networks
from voxplain.metrics.base_networks import Others
from voxplain.metrics.base_similarity import Stays


@dataclass(frozen=True, kw_only=True)
class Repeatability(Stays):
    """The mean similarity between the map and those of second models of the same architecture.

    `chance` is the similarity to a random map. Models are of one architecture where all weights have equal names and
    shapes.
    """

    name: ClassVar[str] = "repeatability"
    title: ClassVar[str] = "Repeatability over training seeds"
    citation: ClassVar[str] = (
        "Arun et al.: Assessing the trustworthiness of saliency maps for localizing abnormalities in medical imaging. "
        "Radiology: Artificial Intelligence 3 (2021)"
    )

    @property
    def networks(self) -> Networks:
        return Others("seed")
