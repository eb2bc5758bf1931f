"""Data randomisation test: is the map of a model that learnt nothing another one? Adebayo et al. 2018, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Networks
from voxplain.metrics.base_networks import Others
from voxplain.metrics.base_similarity import Gives


@dataclass(frozen=True, kw_only=True)
class LabelRandomisation(Gives):
    """1 less the similarity between the map and that of a second model, trained on labels in random order.

    0 for a map that does not show what was learnt from the labels. Needs such a model.
    """

    name: ClassVar[str] = "label_randomisation"
    title: ClassVar[str] = "Data randomisation test"
    citation: ClassVar[str] = "Adebayo et al.: Sanity checks for saliency maps. NeurIPS 2018, arXiv:1810.03292"

    @property
    def networks(self) -> Networks:
        return Others("labels")
