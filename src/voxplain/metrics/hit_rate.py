"""Hit rate: does the strongest voxel lie inside the mask? Saporta et al. 2022."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from voxplain.metrics.base import Measured
from voxplain.metrics.base_evidence import Array, Localisation, Place
from voxplain.metrics.base_peak import chance_to_hit, hit_share


@dataclass(frozen=True, kw_only=True)
class HitRate(Localisation):
    """1 or 0 for one case, between them where several voxels share the peak; its mean over cases is the hit rate.

    `chance` is the mask's share of the voxels. With a margin around the mask it is the `pointing_game`.
    """

    name: ClassVar[str] = "hit_rate"
    title: ClassVar[str] = "Hit rate"
    citation: ClassVar[str] = (
        "Saporta et al.: Benchmarking saliency methods for chest X-ray interpretation. "
        "Nature Machine Intelligence 4 (2022)"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    def _located(self, strength: Array, place: Place) -> Measured:
        return Measured(hit_share(strength, place, place.inside), self._chance(place))

    def _chance(self, place: Place) -> float:
        return chance_to_hit(place, place.inside)
