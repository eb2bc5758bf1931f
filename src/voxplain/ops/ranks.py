"""Ranks in which equal values share the mean of their places, and what random order among equals gives on average."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Levels(NamedTuple):
    """The distinct values of a list, from the largest down, and how many entries each has."""

    values: Tensor
    """(level,)."""
    size: Tensor
    """Entries of that value (level,), float64."""
    marked: Tensor
    """How many of these are marked (level,), float64."""


def average_ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks 1..n from the smallest up, float64; equal values get the mean of their places, as by SciPy's `rankdata`."""
    return row_ranks(values[None])[0] + 1


def row_ranks(rows: Float[Tensor, "row n"]) -> Float[Tensor, "row n"]:
    """The place of each number in its row, from 0 for the smallest, float64; equal ones share the mean of theirs."""
    rows = rows.contiguous()
    order = rows.sort(dim=1).values
    below, up_to = (torch.searchsorted(order, rows, right=right) for right in (False, True))
    return (below + up_to - 1).double() / 2


def levels(values: Float[Tensor, " n"], marked: Bool[Tensor, " n"]) -> Levels:
    """The distinct values from the largest down, with the number of entries and of marked entries at each."""
    found, place, size = torch.unique(values, return_inverse=True, return_counts=True)
    hits = torch.zeros(len(found), dtype=torch.float64, device=values.device)
    hits.scatter_add_(0, place, marked.double())
    return Levels(found.flip(0), size.double().flip(0), hits.flip(0))


def marked_among_top(values: Float[Tensor, " n"], marked: Bool[Tensor, " n"], k: int) -> float:
    """How many of the `k` largest values are marked; of values tied at the border each is taken with equal chance."""
    level = levels(values, marked)
    before = level.size.cumsum(0) - level.size
    taken = (k - before).clamp(min=0).minimum(level.size)
    return float((level.marked * taken / level.size).sum())


def area_under_roc(values: Float[Tensor, " n"], marked: Bool[Tensor, " n"]) -> float:
    """The chance that a marked entry has the larger value than an unmarked one, ties counted half; both must exist."""
    yes = float(marked.sum())
    no = len(marked) - yes
    wins = float(average_ranks(values)[marked].sum()) - yes * (yes + 1) / 2
    return wins / (yes * no)


def average_precision(values: Float[Tensor, " n"], marked: Bool[Tensor, " n"]) -> float:
    """Precision averaged over the steps of recall, one step a distinct value, without interpolation."""
    level = levels(values, marked)
    precision = level.marked.cumsum(0) / level.size.cumsum(0)
    return float((precision * level.marked).sum() / level.marked.sum())
