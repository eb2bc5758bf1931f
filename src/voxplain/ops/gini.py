"""Gini's index: how unevenly magnitudes are shared among voxels."""

from typing import Any

import numpy as np
import numpy.typing as npt


def gini(values: npt.NDArray[Any]) -> float | None:
    """Of magnitudes over all axes: 0 where all are the same, towards 1 where one holds everything; None if all are 0.

    Chalasani et al., ICML 2020, arXiv:1810.06583, section 5.
    """
    sizes = np.sort(np.abs(values).ravel().astype(np.float64))
    total = sizes.sum()
    if not total:
        return None
    weights = 2 * np.arange(1, sizes.size + 1) - sizes.size - 1
    return max(float(weights @ sizes / (sizes.size * total)), 0.0)
