"""Several maps of one image made into one, voxel by voxel.

The rules `threshold`, `average` and `intersection`, their cuts and the blocks are those of the myopathy study; the
variance rule follows AGG-Var of Rieger and Hansen, arXiv:1903.00519.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from voxplain.ops.ranks import row_ranks

Rule = Literal[
    "threshold", "average", "intersection", "median", "majority", "rank_mean", "variance_weighted", "product"
]

Maps = Float[Tensor, "map batch channel *space"]

PRESENT = 0.2
"""The intersection counts a map where it reaches more than a fifth of its range."""

STRONG = 0.5
"""The average keeps only what reaches more than half of the common range."""

STEADY = 10.0
"""Standard deviations below about ten times their mean hardly count (Rieger and Hansen)."""

ROUNDING = 1e-7
"""Equal members differ by so much after averaging; a deviation below it is none."""


def blocks(values: Float[Tensor, "batch channel *space"], side: int) -> Float[Tensor, "batch channel *space"]:
    """Every voxel replaced by the mean of its block of `side` voxels an axis; blocks at the far edges are cut."""
    if side == 1:
        return values
    pool = functional.avg_pool2d if values.ndim == 4 else functional.avg_pool3d
    sides = [min(side, length) for length in values.shape[2:]]  # a flat volume's blocks are as thick as it is
    coarse = pool(values, sides, stride=sides, ceil_mode=True, count_include_pad=False)
    for axis, length in enumerate(values.shape[2:], start=2):
        coarse = coarse.index_select(axis, torch.arange(length, device=values.device) // side)
    return coarse


def to_unit_range(values: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """Each sample's negative values cut and the rest stretched to 0..1; a constant one becomes 0, not noise."""
    cut = values.clamp(min=0)
    low, high = _extremes(cut)
    return torch.where(high > low, (cut - low) / torch.where(high > low, high - low, 1), torch.zeros_like(cut))


def to_ranks(values: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
    """Each value's rank within its sample, 0 for the lowest to 1 for the highest, ties at their mean; constant: 0."""
    flat = values.flatten(1)
    ranks = row_ranks(flat).to(flat.dtype)
    spread = flat.amax(dim=1, keepdim=True) > flat.amin(dim=1, keepdim=True)
    scaled = ranks / max(flat.shape[1] - 1, 1)
    return torch.where(spread, scaled, torch.zeros_like(scaled)).reshape(values.shape)


def rank_correlations(maps: Maps) -> Float[Tensor, "batch map map"]:
    """Spearman's correlation of each pair of maps over the voxels of a sample; 0 where one of them is constant."""
    ranks = torch.stack([to_ranks(one).flatten(1) for one in maps], dim=1)
    centred = ranks - ranks.mean(dim=2, keepdim=True)
    norms = centred.norm(dim=2)
    products = norms[:, :, None] * norms[:, None, :]
    found = (centred @ centred.transpose(1, 2)) / torch.where(products > 0, products, 1)
    return found.clamp(-1, 1)


def votes(maps: Maps, rule: Rule, threshold: float) -> Bool[Tensor, "map batch channel *space"]:
    """True where a map, in 0..1, counts as pointing at a voxel."""
    if rule == "average":
        return maps > 0
    return maps > PRESENT if rule == "intersection" else maps >= threshold


def fused(maps: Maps, rule: Rule, *, threshold: float, weights: Sequence[float], binary: bool) -> Tensor:
    """One map (batch, channel, *space) of several in 0..1; with `binary`, 1 where enough of them vote and else 0."""
    shares = torch.tensor(weights, dtype=maps.dtype, device=maps.device)
    shares = (shares / shares.sum()).reshape(-1, *[1] * (maps.ndim - 1))
    voting = votes(maps, rule, threshold)
    keep = _enough(voting, rule)
    return keep.to(maps.dtype) if binary else RULES[rule](maps, shares, voting, keep)


def _enough(voting: Tensor, rule: Rule) -> Tensor:
    """Where enough maps vote: all but one, half, all, or (for the rules without votes of their own) more than half."""
    count, total = voting.sum(dim=0), len(voting)
    if rule == "threshold":
        return count >= total - 1
    if rule == "average":
        return count >= total / 2
    return count == total if rule == "intersection" else count > total / 2


def _threshold(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    return to_unit_range((shares * maps * voting).sum(dim=0)) * keep


def _average(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    mean = (shares * maps).sum(dim=0) * keep
    return mean * (mean > STRONG)


def _intersection(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    return (shares * maps * voting).sum(dim=0) * keep


def _median(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    ordered = maps.sort(dim=0).values
    return (ordered[(len(maps) - 1) // 2] + ordered[len(maps) // 2]) / 2  # torch's own takes the lower of two


def _majority(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    return (shares * maps).sum(dim=0) * keep


def _rank_mean(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    return (shares * torch.stack([to_ranks(one) for one in maps])).sum(dim=0)


def _variance_weighted(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    mean = (shares * maps).sum(dim=0)
    deviation = (shares * (maps - mean) ** 2).sum(dim=0).sqrt()
    deviation = deviation.where(deviation > ROUNDING, 0)
    steady = STEADY * deviation.flatten(1).mean(dim=1).reshape(-1, *[1] * (mean.ndim - 1))
    return mean * torch.where(steady > 0, steady / (deviation + torch.where(steady > 0, steady, 1)), 1)


def _product(maps: Tensor, shares: Tensor, voting: Tensor, keep: Tensor) -> Tensor:
    found: Tensor = torch.prod(maps**shares, dim=0)
    return found


RULES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "threshold": _threshold,
    "average": _average,
    "intersection": _intersection,
    "median": _median,
    "majority": _majority,
    "rank_mean": _rank_mean,
    "variance_weighted": _variance_weighted,
    "product": _product,
}
"""Name of a rule -> (maps, shares of the weights, votes, where enough vote) -> map."""


def _extremes(values: Tensor) -> tuple[Tensor, Tensor]:
    shape = (-1, *[1] * (values.ndim - 1))
    flat = values.flatten(1)
    return flat.amin(dim=1).reshape(shape), flat.amax(dim=1).reshape(shape)
