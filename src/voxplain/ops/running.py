"""Mean and variance of samples that come piece by piece. Chan, Golub, LeVeque, 1979 (updating formulas for moments)."""

from collections.abc import Sequence

import torch
from torch import Tensor


class RunningMean:
    """Mean, variance and standard error over samples (n, *shape) that are added in pieces, in float64."""

    def __init__(self, shape: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean = torch.zeros(tuple(shape), dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self.mean)

    def add(self, values: Tensor) -> None:
        """Take in samples (n, *shape)."""
        if len(values) == 0:
            return
        values = values.to(self.mean)
        mean = values.mean(dim=0)
        squares = ((values - mean) ** 2).sum(dim=0)
        total = self.count + len(values)
        apart = mean - self.mean
        self.mean += apart * (len(values) / total)
        self._squares += squares + apart**2 * (self.count * len(values) / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of one sample; NaN before the second."""
        return self._squares / (self.count - 1) if self.count > 1 else torch.full_like(self.mean, torch.nan)

    @property
    def standard_error(self) -> Tensor:
        """Standard error of the mean; NaN before the second sample."""
        return (self.variance / max(self.count, 1)).sqrt()
