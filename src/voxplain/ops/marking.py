"""Which voxels of a map count as marked: by Otsu's threshold or a share of the largest value. Otsu, IEEE SMC 1979."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Threshold = float | Literal["otsu"]
"""A share of the largest value, or where Otsu's method puts it."""

BINS = 256
"""Bins of the histogram, as in scikit-image."""


def otsu(values: Array) -> float:
    """The threshold that parts values (n,) into two groups with the greatest variance between them.

    Values above it belong to the upper group; it is the centre of one of 256 bins between the least and the largest
    value, as in `threshold_otsu` of scikit-image. Values that are all the same are their own threshold.
    """
    if values.min() == values.max():
        return float(values.min())
    counts, edges = np.histogram(values, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[int(np.argmax(between))])


def marked(values: Array, threshold: Threshold) -> Truth:
    """Which of the non-negative values (n,) are marked: above Otsu's threshold, or from a share of the largest on.

    Values that are all the same are all marked: nothing parts them.
    """
    if values.min() == values.max():
        return np.ones(values.shape, dtype=bool)
    if threshold == "otsu":
        return np.asarray(values > otsu(values))
    return np.asarray(values >= threshold * values.max())
