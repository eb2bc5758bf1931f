"""Coalitions of players: which ones to ask, and the Shapley values that all of them give. Shapley 1953.

Kernel weights: Lundberg, Lee, NIPS 2017, arXiv:1705.07874, theorem 2. Pairs: Covert, Lee, AISTATS 2021,
arXiv:2012.01536, section 4.2. Interactions: Grabisch, Roubens, Int. J. Game Theory 28, 1999.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from voxplain.ops.draws import generator


@dataclass(frozen=True, eq=False)
class Design:
    """Coalitions to ask, none twice: each is followed by its complement."""

    presence: Tensor
    """(coalition, player), true where the player takes part."""
    weights: Tensor
    """(coalition,), float64: kernel weights, of the drawn ones their share of what the complete sizes leave."""
    complete: int
    """How many coalitions, from the first, belong to sizes of which every one is there."""

    def first(self, count: int) -> Design:
        """The design cut after `count` coalitions, whole pairs and all complete sizes at least."""
        count = max(count // 2 * 2, min(self.complete + 2, len(self.weights)))
        weights = self.weights[:count].clone()
        if count > self.complete:
            weights[self.complete :] *= self.weights[self.complete :].sum() / weights[self.complete :].sum()
        return Design(self.presence[:count], weights, self.complete)


def kernel_shares(players: int) -> list[float]:
    """Share of the Shapley kernel's weight that falls on the coalitions of each size 1 .. players - 1 together."""
    sizes = [1 / (size * (players - size)) for size in range(1, players)]
    return [share / math.fsum(sizes) for share in sizes]


def every_coalition(players: int) -> Tensor:
    """All coalitions (2^players, player), boolean: player i takes part in number n where bit i of n is set."""
    return (torch.arange(2**players)[:, None] >> torch.arange(players)) % 2 == 1


def design(players: int, budget: int, seed: int) -> Design:
    """At most `budget` coalitions in pairs, without the empty and the full one.

    Sizes are completed from the outside in while the budget, shared by kernel weight, reaches for all of theirs.
    The rest is drawn in pairs without replacement, sizes in proportion to their weight, in random order.
    """
    shares, pairs = kernel_shares(players), min(budget, 2**players - 2) // 2
    rows, weights, left, size = [], [], 1.0, 1
    while size <= players // 2:
        weight, count = _stratum(shares, players, size), _pairs(players, size)
        if pairs * weight < count * left * (1 - 1e-9):
            break
        rows += [*_every(players, size)]
        weights += [weight / (2 * count)] * (2 * count)
        pairs, left, size = pairs - count, left - weight, size + 1
    complete = 2 * len(rows)
    if size <= players // 2 and pairs:
        rows += _drawn(players, pairs, size, shares, seed)
        weights += [left / (2 * pairs)] * (2 * pairs)
    presence = torch.zeros(len(rows), players, dtype=torch.bool)
    for number, row in enumerate(rows):
        presence[number, list(row)] = True
    paired = torch.stack([presence, ~presence], dim=1).flatten(0, 1)
    return Design(paired, torch.tensor(weights, dtype=torch.float64), complete)


def shapley(values: Tensor) -> Tensor:
    """Shapley values (player, *rest) from the values of every coalition (2^players, *rest)."""
    players = (len(values) - 1).bit_length()
    weights = values.new_tensor([1 / (players * math.comb(players - 1, size)) for size in range(players)])
    number, size = torch.arange(len(values)), every_coalition(players).sum(dim=1)
    found = []
    for player in range(players):
        without = number[(number >> player) % 2 == 0]
        gain = values[without + 2**player] - values[without]
        found.append(torch.tensordot(weights[size[without]], gain, dims=1))
    return torch.stack(found)


def interactions(values: Tensor) -> Tensor:
    """Shapley interaction index (player, player, *rest) of each pair; on the diagonal the Shapley values."""
    players = (len(values) - 1).bit_length()
    weights = values.new_tensor([1 / ((players - 1) * math.comb(players - 2, size)) for size in range(players - 1)])
    number, size = torch.arange(len(values)), every_coalition(players).sum(dim=1)
    found = values.new_zeros(players, players, *values.shape[1:])
    found[range(players), range(players)] = shapley(values)
    for one, other in combinations(range(players), 2):
        bits = 2**one + 2**other
        without = number[(number & bits) == 0]
        gain = values[without + bits] - values[without + 2**one] - values[without + 2**other] + values[without]
        found[one, other] = found[other, one] = torch.tensordot(weights[size[without]], gain, dims=1)
    return found


def _stratum(shares: list[float], players: int, size: int) -> float:
    """Kernel share of the coalitions of a size and of their complements."""
    return shares[size - 1] if 2 * size == players else 2 * shares[size - 1]


def _pairs(players: int, size: int) -> int:
    """How many pairs of a coalition of this size and its complement there are."""
    return math.comb(players, size) // (2 if 2 * size == players else 1)


def _every(players: int, size: int) -> Iterator[tuple[int, ...]]:
    """Every coalition of a size; of half the players those with the first one, as the others are complements."""
    if 2 * size == players:
        return ((0, *rest) for rest in combinations(range(1, players), size - 1))
    return combinations(range(players), size)


def _drawn(players: int, pairs: int, smallest: int, shares: list[float], seed: int) -> list[tuple[int, ...]]:
    """One coalition of each drawn pair: sizes spread evenly over their kernel weight, then shuffled."""
    strata = [_stratum(shares, players, size) for size in range(smallest, players // 2 + 1)]
    ends = torch.tensor(strata, dtype=torch.float64).cumsum(dim=0)
    source = generator(seed, 0)
    places = (torch.arange(pairs) + torch.rand(1, generator=source, dtype=torch.float64)) / pairs * ends[-1]
    counts = torch.bincount(torch.searchsorted(ends, places.clamp(max=ends[-1])), minlength=len(strata)).tolist()
    rows = [row for n, count in enumerate(counts) for row in _distinct(players, smallest + n, count, seed)]
    return [rows[n] for n in torch.randperm(len(rows), generator=source).tolist()]


def _distinct(players: int, size: int, count: int, seed: int) -> list[tuple[int, ...]]:
    """Different coalitions of a size, none the complement of another."""
    source = generator(seed, size)
    if _pairs(players, size) <= 4 * count:  # few to choose from: drawing until enough differ would take long
        rows = [*_every(players, size)]
        return [rows[n] for n in torch.randperm(len(rows), generator=source)[:count].tolist()]
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        row = torch.randperm(players, generator=source)[:size].sort().values
        if 2 * size == players and row[0] != 0:
            row = torch.tensor(sorted(set(range(players)) - set(row.tolist())))
        found[tuple(row.tolist())] = None
    return list(found)
