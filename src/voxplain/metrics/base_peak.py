"""The peak of a map: which voxels have the most evidence, and how many of them hit."""

from voxplain.metrics.base_evidence import Array, Place, Truth


def hit_share(strength: Array, place: Place, accepted: Truth) -> float:
    """The share of the voxels with the very most evidence that is accepted: one voxel as a rule, more where tied."""
    peak = place.counted & (strength == strength[place.counted].max())
    return float((peak & accepted).sum() / peak.sum())


def chance_to_hit(place: Place, accepted: Truth) -> float:
    """The share of all voxels that count which is accepted."""
    return float((place.counted & accepted).sum() / place.counted.sum())
