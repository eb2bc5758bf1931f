"""How alike two maps of one image are: structural similarity, rank correlation, intraclass correlation."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from voxplain.ops.gaussian import gaussian_blur
from voxplain.ops.ranks import average_ranks

Measure = Literal["ssim", "spearman", "icc"]

SIGMA, TRUNCATE = 1.5, 3.5
"""The window of Wang et al.: a Gaussian of 1.5 voxels, cut so that it is 11 voxels wide."""

RADIUS = int(TRUNCATE * SIGMA + 0.5)
"""Voxels at each border whose window reaches outside; they are left out of the mean along axes that have others."""

K1, K2 = 0.01, 0.03
"""The paper's constants."""


def similarity(measure: Measure, a: Float[Tensor, "*space"], b: Float[Tensor, "*space"]) -> float:
    """Between -1 and 1, 1 for equal maps; each is first divided by its largest size, since scales do not compare.

    A map that is the same everywhere has nothing in common with one that is not (0) and is like another such (1).
    """
    flat = [bool(one.min() == one.max()) for one in (a, b)]
    if any(flat):
        return float(all(flat))
    a, b = _scaled(a), _scaled(b)
    if measure == "ssim" and bool((torch.minimum(a, b) < 0).any()):
        # It is made for intensities of at least 0: the product of two negative means would count as agreement.
        a, b = (a + 1) / 2, (b + 1) / 2
    return min(max(MEASURES[measure](a, b), -1.0), 1.0)


def ssim(a: Float[Tensor, "*space"], b: Float[Tensor, "*space"]) -> float:
    """Mean structural similarity in 2D or 3D. Wang et al., IEEE TIP 2004, equation 13, window of 11 voxels.

    Values are between 0 and 1. Equals `structural_similarity` of scikit-image with
    `gaussian_weights=True, use_sample_covariance=False, data_range=1`.
    """
    both = torch.stack([a.double(), b.double()])
    moments = torch.stack([*both, *(both**2), both[0] * both[1]])[:, None]
    mean_a, mean_b, square_a, square_b, product = gaussian_blur(moments, SIGMA, truncate=TRUNCATE)[:, 0]
    c1, c2 = K1**2, K2**2
    variances = (square_a - mean_a**2) + (square_b - mean_b**2)
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(_inner(luminance * (2 * covariance + c2) / (variances + c2)).mean())


def spearman(a: Float[Tensor, "*space"], b: Float[Tensor, "*space"]) -> float:
    """Rank correlation over voxels, ties at their mean rank; NaN where a map is the same everywhere."""
    first, second = (average_ranks(one.flatten()) for one in (a, b))
    return _pearson(first, second)


def icc(a: Float[Tensor, "*space"], b: Float[Tensor, "*space"]) -> float:
    """Intraclass correlation of two maps as two raters of each voxel: absolute agreement, one rater.

    ICC(2,1) of Shrout and Fleiss, Psychological Bulletin 1979, from the mean squares of voxels, maps and residuals.
    """
    ratings = torch.stack([a.double().flatten(), b.double().flatten()])
    count, grand = ratings.shape[1], ratings.mean()
    of_voxels = 2 * ((ratings.mean(0) - grand) ** 2).sum()
    of_maps = count * ((ratings.mean(1) - grand) ** 2).sum()
    rest = ((ratings - grand) ** 2).sum() - of_voxels - of_maps
    voxels, residual = of_voxels / (count - 1), rest / (count - 1)
    return float((voxels - residual) / (voxels + residual + 2 * (of_maps - residual) / count))


MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {"ssim": ssim, "spearman": spearman, "icc": icc}
"""Every measure by name."""


def _scaled(values: Tensor) -> Tensor:
    values = values.double()
    return values / values.abs().max()


def _pearson(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / (a.norm() * b.norm()))


def _inner(values: Tensor) -> Tensor:
    """The voxels whose window lies inside the map."""
    for axis, length in enumerate(values.shape):
        if length > 2 * RADIUS:
            values = values.narrow(axis, RADIUS, length - 2 * RADIUS)
    return values
