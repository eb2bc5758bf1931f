"""Random logit test: does a map change when another class is explained? Sixt, Granz, Landgraf 2020, section 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxplain.metrics.base_method import Networks
from voxplain.metrics.base_networks import OtherClass
from voxplain.metrics.base_similarity import Gives


@dataclass(frozen=True, kw_only=True)
class RandomLogit(Gives):
    """1 less the similarity between the map and that of a class drawn at random from the others.

    0 for a map that is the same whatever is asked, as of an edge detector. A model with a single output has no other
    class; of two classes the maps may be alike but for their sign, which `sign='signed'` tells apart.
    """

    name: ClassVar[str] = "random_logit"
    title: ClassVar[str] = "Random logit test"
    citation: ClassVar[str] = (
        "Sixt, Granz, Landgraf: When explanations lie: why many modified BP attributions fail. ICML 2020, "
        "arXiv:1912.09818"
    )

    seed: int = 0
    """Seed of the draw of the class."""

    def _check(self) -> None:
        self._require(self.seed >= 0, "seed", "at least 0")

    @property
    def networks(self) -> Networks:
        return OtherClass(self.seed)
