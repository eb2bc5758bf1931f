"""Sums over random masks and the scores seen through them, from which means, ratios and their errors are made."""

from collections.abc import Sequence

import torch
from torch import Tensor


class MaskMoments:
    """Sums (batch, *size) over draws of a mask m and a score f, piece by piece, in float64.

    Scores are taken relative to one `origin` a sample, which only keeps the numbers small.
    """

    def __init__(self, origin: Tensor, size: Sequence[int]) -> None:
        self._origin = origin
        shape = (len(origin), *size)
        self._m, self._fm, self._mm, self._fmm, self._ffm, self._ffmm = torch.zeros(
            (6, *shape), dtype=torch.float64, device=origin.device
        )
        self._f, self._ff, self.count = torch.zeros((3, len(origin)), dtype=torch.float64, device=origin.device)

    def add(self, rows: Tensor, scores: Tensor, masks: Tensor) -> None:
        """Take in scores (n,) seen through masks (n, *size), each of the sample `rows` names."""
        for row, score, mask in zip(rows.tolist(), scores.double().unbind(), masks.double().unbind(), strict=True):
            relative = score - self._origin[row]  # one by one: sums do not depend on how the draws came in pieces
            seen = relative * mask
            self.count[row] += 1
            self._f[row] += relative
            self._ff[row] += relative**2
            self._m[row] += mask
            self._fm[row] += seen
            self._mm[row] += mask**2
            self._fmm[row] += seen * mask
            self._ffm[row] += seen * relative
            self._ffmm[row] += seen**2

    def _each(self, numbers: Tensor) -> Tensor:
        return numbers.reshape(-1, *[1] * (self._m.ndim - 1))

    def expected(self, share: float) -> tuple[Tensor, Tensor]:
        """Mean of f m / share, and its standard error: the draws are independent."""
        count, origin = self._each(self.count), self._each(self._origin)
        return (self._fm + origin * self._m) / count / share, self._error(-origin, share)

    def mask_sum(self) -> tuple[Tensor, Tensor]:
        """Sum of f m over sum of m, and the standard error of that ratio (delta method)."""
        relative = self._fm / self._m
        return relative + self._each(self._origin), self._error(relative, self._m / self._each(self.count))

    def centred(self, share: float) -> tuple[Tensor, Tensor]:
        """Mean of f plus the covariance of f and m over share: the same expectation as `expected`, less variance.

        The mean of f is a control variate whose weight does not depend on the draw itself: dividing the covariance by
        one less than the draws keeps it free of bias. The error is that of the terms (f - mean) m / share + mean.
        """
        mean = self._each(self._f / self.count)
        return mean + self._covariance(mean) / share + self._each(self._origin), self._error(mean, share)

    def difference(self, share: float) -> tuple[Tensor, Tensor]:
        """The covariance of f and m over share, and the error of its terms (f - mean) (m - share) / share."""
        count, mean = self._each(self.count), self._each(self._f / self.count)
        both = self._ffmm - 2 * mean * self._fmm + mean**2 * self._mm
        one = self._ffm - 2 * mean * self._fm + mean**2 * self._m
        none = self._each(self._ff) - 2 * mean * self._each(self._f) + mean**2 * count
        squares = (both - 2 * share * one + share**2 * none) / count
        covariance = self._covariance(mean)
        variance = (squares - (covariance * (count - 1) / count) ** 2).clamp_min(0) / (count - 1)
        return covariance / share, variance.sqrt() / share

    def _covariance(self, mean: Tensor) -> Tensor:
        found: Tensor = (self._fm - mean * self._m) / (self._each(self.count) - 1)
        return found

    def _error(self, centre: Tensor, divisor: Tensor | float) -> Tensor:
        """Standard error of the mean of (f - centre) m / divisor, with f relative to the origin."""
        count = self._each(self.count)
        squares = (self._ffmm - 2 * centre * self._fmm + centre**2 * self._mm) / count
        mean = (self._fm - centre * self._m) / count
        variance = (squares - mean**2).clamp_min(0) / (count - 1)
        return torch.div(variance.sqrt(), divisor)
