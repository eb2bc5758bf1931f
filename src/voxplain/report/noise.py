"""Whether a map lies like noise: colours of chance fill a picture as well as evidence does, so the reader is told."""

import numpy as np
import numpy.typing as npt

UNRELATED = 0.1
"""Neighbouring magnitudes that correlate less than this are as unrelated as in white noise."""

SPREAD = 0.1
"""Half of the magnitude must lie in more than this share of the nonzero voxels: single strong voxels are no noise.
Uniform noise has 0.29, normal noise 0.25, an even map 0.5."""

FEWEST_PAIRS = 400
"""Fewer neighbours say nothing: of so many unrelated ones the correlation stays within 0.1 in 95 of 100 maps."""

MOST_SLICES = 24
"""Slices of a volume that are looked at, evenly spaced."""

Floats = npt.NDArray[np.floating]


def noise_words(values: Floats) -> str:
    """'like noise: neighbours unrelated (correlation 0.01)' for a map (i, j[, k]) that lies so, else ''."""
    if values.ndim not in (2, 3):
        return ""
    strength = np.abs(np.nan_to_num(_slices(values), nan=0.0, posinf=0.0, neginf=0.0))
    pairs = [_pairs(strength, axis) for axis in (0, 1)]
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    if len(first) < FEWEST_PAIRS or (related := _correlation(first, second)) >= UNRELATED:
        return ""
    return (
        ""
        if _half_share(strength) <= SPREAD
        else f"like noise: neighbours unrelated (correlation {round(related, 2) + 0.0:g})"
    )


def _slices(values: Floats) -> Floats:
    """Some slices along the last axis of a volume: (columns, rows, slices)."""
    volume = values if values.ndim == 3 else values[..., None]
    if volume.shape[2] <= MOST_SLICES:
        return volume
    return volume[..., np.linspace(0, volume.shape[2] - 1, MOST_SLICES).round().astype(int)]


def _pairs(strength: Floats, axis: int) -> tuple[Floats, Floats]:
    """Neighbours along an axis that are both not 0: zeros around a body would relate what is not related."""
    along = np.moveaxis(strength, axis, 0)
    near, far = along[:-1], along[1:]
    both = (near > 0) & (far > 0)
    return near[both], far[both]


def _half_share(strength: Floats) -> float:
    """The share of the nonzero voxels that holds half of the magnitude, strongest first."""
    present = np.sort(strength[strength > 0])[::-1]
    summed = np.cumsum(present, dtype=np.float64)
    return float(np.searchsorted(summed, summed[-1] / 2) + 1) / len(present) if len(present) else 0.0


def _correlation(first: Floats, second: Floats) -> float:
    """Pearson's; 1 where nothing varies."""
    x, y = first - first.mean(dtype=np.float64), second - second.mean(dtype=np.float64)
    norm = float(np.sqrt((x**2).sum(dtype=np.float64) * (y**2).sum(dtype=np.float64)))
    return float((x * y).sum(dtype=np.float64)) / norm if norm > 0 else 1.0
