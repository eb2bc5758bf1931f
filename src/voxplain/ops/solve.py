"""Weighted least squares in closed form, float64, on the device of the tensors.

Standard errors are those of MacKinnon, White, J. Econometrics 29, 1985 (HC2): from the residuals, each widened for
what the fit took of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 1e-6
"""A row that the fit passes through by itself says nothing about noise; its residual is not blown up further."""


RANK = 1e-10
"""Directions that coalitions tell apart lie far above this share of the best one; rounding lies far below."""


class Fit(NamedTuple):
    """A local linear model for each column of the values."""

    weights: Tensor
    """(feature, column)."""
    intercept: Tensor
    """(column,)."""
    r2: Tensor
    """(column,) weighted coefficient of determination: 1 where nothing was left to explain."""
    all_present: Tensor
    """(column,) what the model says of the row of ones."""
    standard_error: Tensor | None = None
    """(feature, column): of the weights over the draws of rows, from the residuals; the pull of alpha is not in it."""


def ridge(features: Tensor, values: Tensor, sample_weights: Tensor, alpha: float, fixed: int = 0) -> Fit:
    """Weighted ridge regression with an unpunished intercept: features (n, feature), values (n, column).

    The first `fixed` rows were not drawn and add nothing to the standard error.
    """
    x, y, w = (part.double() for part in (features, values, sample_weights[:, None]))
    x_mean, y_mean = ((w * part).sum(dim=0) / w.sum() for part in (x, y))
    centred, meant = x - x_mean, y - y_mean
    moments = (w * centred).T @ centred + alpha * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    inverse = torch.linalg.inv(moments)
    weights = inverse @ ((w * centred).T @ meant)
    residuals = meant - centred @ weights
    influence = w * (centred @ inverse)
    leverage = (influence * centred).sum(dim=1, keepdim=True) + w / w.sum()
    noise = residuals**2 / (1 - leverage).clamp_min(LEAST)
    error = (influence[fixed:].T ** 2 @ noise[fixed:]).sqrt()
    intercept = y_mean - x_mean @ weights
    return Fit(weights, intercept, r_squared(y, y - residuals, w[:, 0]), intercept + weights.sum(dim=0), error)


def r_squared(values: Tensor, predicted: Tensor, sample_weights: Tensor) -> Tensor:
    """Weighted share (column,) of the spread of values (n, column) that the prediction explains."""
    w = sample_weights[:, None]
    left = (w * (values - predicted) ** 2).sum(dim=0)
    whole = (w * (values - (w * values).sum(dim=0) / w.sum()) ** 2).sum(dim=0)
    return torch.where(whole > 0, 1 - left / whole, (left == 0).double())


class Shares(NamedTuple):
    """How a total is shared out among players, for each column of the values."""

    values: Tensor
    """(player, column); each column sums to its total."""
    slope: Tensor
    """(n, player): how far each coalition's worth moves the shares."""
    residuals: Tensor
    """(n, column): what each coalition is worth beyond the sum of its shares."""
    leverage: Tensor
    """(n,): how much of a coalition's own worth the fit took over."""


def shared_out(presence: Tensor, values: Tensor, weights: Tensor, total: Tensor) -> Shares:
    """The shares (player, column) that sum to `total` (column,) and fit coalitions best, by weighted least squares.

    `presence` (n, player) says who takes part, `values` (n, column) what the coalition is worth above the empty one.
    Where the coalitions leave shares open, those nearest to equal ones are taken.
    """
    y, w = values.double(), weights.to(values.device).double()[:, None]
    z = presence.to(y)
    equal = total.double() / z.shape[1]
    along = z - z.mean(dim=1, keepdim=True)  # what is left to choose are shares that sum to zero
    left = y - z.sum(dim=1, keepdim=True) * equal
    slope = w * (along @ torch.linalg.pinv((w * along).T @ along, rtol=RANK, hermitian=True))
    found = slope.T @ left
    found = found - found.mean(dim=0)
    return Shares(found + equal, slope, left - along @ found, (slope * along).sum(dim=1))


def standard_error(shares: Shares, column: int, complete: int) -> Tensor:
    """Standard error (player,) of one column over the draws of pairs, which begin after `complete` coalitions.

    A coalition and its complement, which follows it, count as one draw; 0 where nothing was drawn, NaN for one draw.
    """
    influence = (shares.slope * shares.residuals[:, column : column + 1])[complete:]
    if len(influence) <= 2:  # nothing was drawn, or a single pair, which does not tell
        return influence.new_full((influence.shape[1],), torch.nan if len(influence) else 0.0)
    taken = shares.leverage[complete:].unflatten(0, (-1, 2)).sum(dim=1, keepdim=True)
    drawn = influence.unflatten(0, (-1, 2)).sum(dim=1) / (1 - taken).clamp_min(LEAST).sqrt()
    open_share = 1 - len(influence) / (2 ** influence.shape[1] - 2 - complete)  # none is drawn twice
    variance: Tensor = len(drawn) * drawn.var(dim=0) * open_share
    return variance.sqrt()
