"""Layer-wise relevance propagation through one linear map: epsilon, alpha-beta, gamma, w-square, flat and z-box.

z_ij = x_i w_ij is what input i gives to unit j. Bach et al., PLoS ONE 2015 (equations 58 and 60); Montavon et al.,
Pattern Recognition 2017 (table 1: w-square, z+, z-box); Montavon et al., 2019, chapter 10 (gamma; for inputs of either
sign its generalisation by Andeol et al., 2021); flat: Lapuschkin et al., Nature Communications 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from voxplain.score.linear_map import Branch, Change, LinearMap, negative, positive
from voxplain.score.rules import Pass

Bias = bool | Literal["positive part", "library"]
"""True and 'positive part': biases keep their share of relevance; False: none; 'library': see `alpha_beta`."""


Bound = float | tuple[float, ...] | None
"""Smallest or largest possible input: one number, one a channel, or that of each image and channel itself."""


@dataclass(frozen=True, kw_only=True)
class Handling:
    """How denominators are kept from zero, what biases take, and where relevance goes that nothing accounts for."""

    stabiliser: float = 1e-6
    """Added to denominators with their own sign."""
    bias: Bias = "positive part"
    """Whether biases take part in denominators and so keep relevance for themselves."""
    spread: bool = False
    """Spread relevance evenly over the inputs of a unit where no input accounts for it; else the unit absorbs it."""

    def quotient(self, relevance: Tensor, z: Tensor, *, exact: bool = False) -> Tensor:
        """Relevance / z kept finite: by the stabiliser, or exactly with zero where z is nothing (`exact`)."""
        if exact:
            alive = z.abs() > nothing(z)
            return torch.where(alive, relevance / torch.where(alive, z, torch.ones_like(z)), torch.zeros_like(z))
        return divided(relevance, stabilised(z, self.stabiliser))


def nothing(z: Tensor) -> float:
    """Denominators up to this size count as zero: beyond it, relevance / z can leave the range of its number type."""
    return float(torch.finfo(z.dtype).eps ** 2)


def stabilised(z: Tensor, epsilon: float) -> Tensor:
    """Z + epsilon sign(z), with sign(0) = 1, in memory of its own."""
    plain = z + 0.0  # minus zero becomes zero
    return torch.copysign(z.new_tensor(epsilon), plain, out=plain).add_(z)


def divided(relevance: Tensor, own: Tensor) -> Tensor:
    """Relevance / own, written over `own` where it has the size."""
    return relevance / own if own.shape != relevance.shape else torch.div(relevance, own, out=own)


def left_over(relevance: Tensor, ratio: Tensor, given: Tensor) -> Tensor:
    """Relevance less ratio times given, with one tensor for all."""
    taken = ratio * given
    return relevance - taken if taken.shape != relevance.shape else torch.sub(relevance, taken, out=taken)


def epsilon(linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, *, size: float) -> Tensor:
    """R_i = sum_j z_ij R_j / (z_j + size sign(z_j)); costs one backward product."""
    z = linear.z if how.bias is not False or linear.bias is None else linear.z - linear.bias
    lost, rest = _unaccounted(linear, relevance, z, how, met)
    divisor = stabilised(z, size)
    ratio = rest / divisor
    kept = ratio * (divisor - z)
    if how.bias is not False and linear.bias is not None:
        kept = kept + ratio * linear.bias
    met.absorb(kept)
    return _plus(linear.x * linear.pull(ratio), lost)


def alpha_beta(
    linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, *, alpha: float = 1.0, beta: float = 0.0
) -> Tensor:
    """R_i = sum_j (alpha z_ij+ / z_j+ - beta z_ij- / z_j-) R_j; z+ is alpha 1, beta 0.

    Costs two products a sign that is asked for, twice that where inputs are signed. Biases count in the denominator of
    their own sign; with bias='library' in full in both, as iNNvestigate 1.0.8 computes.
    """
    found = _one_sign(linear, relevance, how, met, 1.0, alpha)
    found = found if alpha == 1 else alpha * found
    return found if beta == 0 else found.sub(_one_sign(linear, relevance, how, met, -1.0, -beta), alpha=beta)


def _one_sign(linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, sign: float, factor: float) -> Tensor:
    branches = _signed(linear, positive if sign > 0 else negative, negative if sign > 0 else positive)
    own = sum_of([branch.result.detach() for branch in branches])
    bias = _part_of_bias(linear, how, sign)
    z = own if bias is None else own + bias
    lost, rest = _unaccounted(linear, relevance, z, how, met, factor)
    ratio = how.quotient(rest, z, exact=how.spread)
    met.absorb(left_over(rest, ratio, own), factor)
    return _plus(sum_of([branch.share(ratio) for branch in branches]), lost)


def gamma(linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, *, size: float) -> Tensor:
    """R_i = sum_j x_i (w_ij + size w_ij+) R_j / sum over i, for z_j > 0; favouring w- mirrors it where z_j < 0."""
    more = lambda weight: weight + size * positive(weight)  # noqa: E731
    less = lambda weight: weight + size * negative(weight)  # noqa: E731
    z = linear.z if how.bias is not False or linear.bias is None else linear.z - linear.bias
    lost, relevance = _unaccounted(linear, relevance, z, how, met)
    found: list[Tensor] = []
    met.absorb(relevance * (z == 0))
    sides: list[tuple[Tensor, Change, Change]] = [(z > 0, more, less), (z < 0, less, more)]
    for side, change, other in sides:
        part = relevance * side
        if not part.any():  # behind a ReLU nothing comes back to units below zero: their products are spared
            continue
        branches = _signed(linear, change, other)
        own = sum_of([branch.result.detach() for branch in branches])
        bias = None if how.bias is False or linear.bias is None else change(linear.bias)
        ratio = how.quotient(part, own if bias is None else own + bias, exact=how.spread)
        met.absorb(left_over(part, ratio, own))
        found += [branch.share(ratio) for branch in branches]
    return _plus(sum_of(found) if found else torch.zeros_like(linear.x), lost)


def same_for_all_inputs(
    linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, *, square: bool = False
) -> Tensor:
    """Flat: z_ij = 1 for every input of the unit; w-square: z_ij = w_ij^2. The image itself plays no part."""
    branch = linear.branch(linear.ones(), torch.square if square else torch.ones_like)
    z = branch.result.detach()
    ratio = how.quotient(relevance, z, exact=how.spread)
    met.absorb(left_over(relevance, ratio, z))
    return _back_for_all(linear, branch, ratio)


def z_box(
    linear: LinearMap, relevance: Tensor, how: Handling, met: Pass, *, low: Bound = None, high: Bound = None
) -> Tensor:
    """R_i = sum_j (x_i w_ij - l_i w_ij+ - h_i w_ij-) R_j / sum over i, for inputs between l and h."""
    lowest, highest = _bound(low, linear.x, torch.amin), _bound(high, linear.x, torch.amax)
    branches = [linear.branch(linear.x), linear.branch(lowest, positive), linear.branch(highest, negative)]
    results = [branch.result.detach() for branch in branches]
    z = results[0] - results[1] - results[2]
    lost, rest = _unaccounted(linear, relevance, z, how, met)
    ratio = how.quotient(rest, z, exact=how.spread)
    met.absorb(left_over(rest, ratio, z))
    shares = [branch.share(ratio) for branch in branches]
    return _plus(shares[0] - shares[1] - shares[2], lost)


def _bound(given: Bound, x: Tensor, extreme: Callable[..., Tensor]) -> Tensor:
    """A bound for every input (batch, channel, *space): as given, or the extreme of each image and channel."""
    if given is None:
        return extreme(x, dim=tuple(range(min(2, x.ndim - 1), x.ndim)), keepdim=True).expand_as(x)
    return x.new_tensor(given).reshape(-1, *[1] * (x.ndim - 2)).expand_as(x)


def _signed(linear: LinearMap, change: Change, other: Change) -> list[Branch]:
    """The positive part of the input through one change of the weights, the negative part through the other."""
    if linear.nonnegative:
        return [linear.branch(linear.x, change)]
    return [
        linear.branch(linear.x.clamp(min=0), change),
        linear.branch(linear.x.clamp(max=0), other),
    ]


def _part_of_bias(linear: LinearMap, how: Handling, sign: float) -> Tensor | None:
    if how.bias is False or linear.bias is None:
        return None
    if how.bias == "library":
        return linear.bias
    return positive(linear.bias) if sign > 0 else negative(linear.bias)


def _unaccounted(
    linear: LinearMap, relevance: Tensor, z: Tensor, how: Handling, met: Pass, factor: float = 1.0
) -> tuple[Tensor | float, Tensor]:
    """Relevance of units with nothing in `z`, spread evenly over their inputs, and the relevance of all others.

    Without `how.spread` nothing is taken out: the caller's quotient leaves it with the unit.
    """
    if not how.spread:
        return 0.0, relevance
    dead = z.abs() <= nothing(z)
    if not (relevance * dead).any():
        return 0.0, relevance
    branch = linear.branch(linear.ones(), torch.ones_like)
    inputs = branch.result.detach()
    ratio = how.quotient(relevance * dead, inputs, exact=True)
    met.absorb(relevance * dead - ratio * inputs, factor)
    return _back_for_all(linear, branch, ratio), relevance * ~dead


def _back_for_all(linear: LinearMap, branch: Branch, ratio: Tensor) -> Tensor:
    """Back through a product that was made for one sample standing for all."""
    if len(branch.x) == len(linear.x):
        return branch.share(ratio)
    return torch.cat([branch.share(part) for part in ratio.split(1)])


def _plus(found: Tensor, lost: Tensor | float) -> Tensor:
    """Both together; a number stands for nothing lost."""
    return found + lost if isinstance(lost, Tensor) else found


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of one or more tensors."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
