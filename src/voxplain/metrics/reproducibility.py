"""Reproducibility: does a model of another architecture, for the same task, have the same map? Arun et al. 2021."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Networks
from voxplain.metrics.base_networks import Others
from voxplain.metrics.base_similarity import Stays


@dataclass(frozen=True, kw_only=True)
class Reproducibility(Stays):
    """The mean similarity between the map and those of second models of other architectures.

    They read the same prepared input. `chance` is the similarity to a random map.
    """

    name: ClassVar[str] = "reproducibility"
    title: ClassVar[str] = "Reproducibility over architectures"
    citation: ClassVar[str] = (
        "Arun et al.: Assessing the trustworthiness of saliency maps for localizing abnormalities in medical imaging. "
        "Radiology: Artificial Intelligence 3 (2021)"
    )

    @property
    def networks(self) -> Networks:
        return Others("architecture")
