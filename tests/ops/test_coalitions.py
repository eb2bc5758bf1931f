"""Coalitions: which are asked, and the Shapley values that all of them give, against sums over orders."""

import math
from itertools import combinations, permutations

import pytest
import torch

from voxplain.ops import coalitions
from voxplain.ops.coalitions import design, every_coalition, interactions, kernel_shares, shapley
from voxplain.ops.solve import shared_out, standard_error


def game(players: int, columns: int = 2, seed: int = 0) -> torch.Tensor:
    """Random worths (2^players, column) of every coalition."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(2**players, columns, generator=source, dtype=torch.float64)


def number_of(present: torch.Tensor) -> torch.Tensor:
    """The number of each coalition (n, player) in the order of `every_coalition`."""
    return (present * 2 ** torch.arange(present.shape[1])).sum(dim=1)


def by_orders(values: torch.Tensor, players: int) -> torch.Tensor:
    """Shapley values as the mean gain over all orders."""
    total = torch.zeros(players, *values.shape[1:], dtype=torch.float64)
    for order in permutations(range(players)):
        present = 0
        for player in order:
            total[player] += values[present + 2**player] - values[present]
            present += 2**player
    return total / math.factorial(players)


def test_every_coalition_counts_in_binary():
    rows = every_coalition(3)
    assert rows.tolist() == [[bool(n & 1), bool(n & 2), bool(n & 4)] for n in range(8)]


@pytest.mark.parametrize("players", [1, 2, 3, 5, 6])
def test_shapley_values_are_mean_gains_over_all_orders(players):
    values = game(players)
    torch.testing.assert_close(shapley(values), by_orders(values, players), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_interactions_follow_their_sum_over_coalitions(players):
    values = game(players, columns=1)[:, 0]
    found = interactions(values)
    for one, other in combinations(range(players), 2):
        rest = [n for n in range(players) if n not in (one, other)]
        total = 0.0
        for size in range(len(rest) + 1):
            weight = math.factorial(size) * math.factorial(players - size - 2) / math.factorial(players - 1)
            for inside in combinations(rest, size):
                base = sum(2**n for n in inside)
                total += weight * float(
                    values[base + 2**one + 2**other] - values[base + 2**one] - values[base + 2**other] + values[base]
                )
        assert float(found[one, other]) == pytest.approx(total, abs=1e-12)
        assert found[one, other] == found[other, one]
    torch.testing.assert_close(found.diagonal(), shapley(values))


def test_players_that_only_add_up_do_not_interact():
    gains = torch.tensor([1.0, -2.0, 5.0, 0.0], dtype=torch.float64)
    found = interactions(every_coalition(4).double() @ gains)
    torch.testing.assert_close(found, torch.diag(gains))


def test_kernel_shares_are_those_of_the_shapley_kernel():
    kernel = [math.comb(5, size) * 4 / (math.comb(5, size) * size * (5 - size)) for size in range(1, 5)]
    assert kernel_shares(5) == pytest.approx([weight / sum(kernel) for weight in kernel])


# --- the design ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_a_budget_for_all_asks_each_once_with_its_kernel_weight(players, beyond):
    plan = design(players, 2**players - 2 + beyond, seed=0)
    assert plan.complete == len(plan.presence) == 2**players - 2
    assert sorted(number_of(plan.presence).tolist()) == list(range(1, 2**players - 1))
    for row, weight in zip(plan.presence, plan.weights.tolist(), strict=True):
        size = int(row.sum())
        assert weight == pytest.approx(kernel_shares(players)[size - 1] / math.comb(players, size))


@pytest.mark.parametrize(("players", "budget"), [(7, 60), (8, 100), (10, 41), (12, 500), (30, 200), (49, 301)])
def test_coalitions_come_in_pairs_none_twice_within_the_budget(players, budget):
    plan = design(players, budget, seed=3)
    assert len(plan.presence) == budget // 2 * 2
    assert torch.equal(plan.presence[::2], ~plan.presence[1::2])
    assert len(plan.presence.unique(dim=0)) == len(plan.presence)
    assert int(plan.presence.sum(dim=1).min()) > 0
    assert float(plan.weights.sum()) == pytest.approx(1)


def test_sizes_are_completed_from_the_outside_in():
    plan = design(12, 500, seed=0)
    sizes = plan.presence[: plan.complete].sum(dim=1)
    assert torch.bincount(sizes, minlength=13)[[1, 2, 10, 11]].tolist() == [12, 66, 66, 12]
    assert plan.complete == 2 * (12 + 66)
    assert not torch.isin(plan.presence[plan.complete :].sum(dim=1), torch.tensor([1, 2, 10, 11])).any()


def test_drawn_sizes_follow_their_share_of_the_kernel():
    """Over seeds, each size is drawn as often as its share says, within one pair a draw."""
    players, budget = 11, 160
    counts = torch.stack([drawn_sizes(design(players, budget, seed)) for seed in range(100)]).double()
    plan = design(players, budget, 0)
    shares = torch.tensor([0.0, *kernel_shares(players), 0.0], dtype=torch.float64)
    done = plan.presence[: plan.complete].sum(dim=1).unique()
    shares[done] = 0
    expected = shares / shares.sum() * (len(plan.presence) - plan.complete)
    assert (counts - expected).abs().max() <= 2
    torch.testing.assert_close(counts.mean(dim=0), expected, rtol=0, atol=0.25)


def drawn_sizes(plan) -> torch.Tensor:
    return torch.bincount(plan.presence[plan.complete :].sum(dim=1), minlength=plan.presence.shape[1] + 1)


def test_drawn_players_are_equally_likely():
    """Each player sits in about half of the drawn coalitions of a middle size."""
    rows = torch.cat([design(10, 100, seed).presence[20:][::2] for seed in range(200)])
    of_one_size = rows[rows.sum(dim=1) == 3].double()
    assert len(of_one_size) > 1000
    torch.testing.assert_close(of_one_size.mean(dim=0), torch.full((10,), 0.3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(("size", "count"), [(6, 110), (6, 300), (3, 50)])
def test_no_drawn_coalition_is_the_complement_of_another(size, count):
    rows = {frozenset(row) for row in coalitions._distinct(12, size, count, seed=1)}
    others = {frozenset(range(12)) - row for row in rows}
    assert len(rows) == count
    assert not rows & others
    assert {len(row) for row in rows} == {size}


def test_draws_depend_on_the_seed_only():
    one, same, other = (design(20, 200, seed).presence for seed in (4, 4, 5))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_design_cut_short_keeps_complete_sizes_and_the_whole_weight():
    plan = design(12, 500, seed=0)
    part = plan.first(301)
    assert len(part.presence) == len(part.weights) == 300
    assert torch.equal(part.presence, plan.presence[:300])
    assert torch.equal(part.weights[: plan.complete], plan.weights[: plan.complete])
    assert float(part.weights.sum()) == pytest.approx(1)
    assert len(plan.first(7).presence) == plan.complete + 2
    whole = plan.first(500)
    assert torch.equal(whole.weights, plan.weights)


# --- the shares ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [2, 3, 6, 9])
def test_all_coalitions_give_the_shapley_values(players):
    values = game(players)
    plan = design(players, 2**players, seed=0)
    found = shared_out(
        plan.presence, values[number_of(plan.presence)] - values[0], plan.weights, values[-1] - values[0]
    )
    torch.testing.assert_close(found.values, shapley(values), rtol=1e-10, atol=1e-10)
    assert standard_error(found, 1, plan.complete).tolist() == [0.0] * players


@pytest.mark.parametrize("budget", [24, 60, 200])
def test_shares_sum_to_the_total_whatever_the_budget(budget):
    values = game(12)
    plan = design(12, budget, seed=1)
    found = shared_out(
        plan.presence, values[number_of(plan.presence)] - values[0], plan.weights, values[-1] - values[0]
    )
    torch.testing.assert_close(found.values.sum(dim=0), values[-1] - values[0], rtol=1e-12, atol=1e-12)


def test_drawn_shares_lie_near_the_shapley_values():
    """On a game with pairwise interactions, which pairs of coalitions cancel, a few draws are exact."""
    source = torch.Generator().manual_seed(2)
    pairs, single = (torch.randn(shape, generator=source, dtype=torch.float64) for shape in ((12, 12), (12,)))
    present = every_coalition(12).double()
    values = (present @ single + ((present @ pairs) * present).sum(dim=1))[:, None]
    plan = design(12, 100, seed=1)
    found = shared_out(
        plan.presence, values[number_of(plan.presence)] - values[0], plan.weights, values[-1] - values[0]
    )
    torch.testing.assert_close(found.values, shapley(values), rtol=1e-9, atol=1e-9)
    assert float(standard_error(found, 0, plan.complete).max()) < 1e-9


def test_standard_errors_are_the_spread_over_seeds():
    values = game(11, columns=1, seed=4)
    results = []
    for seed in range(150):
        plan = design(11, 160, seed)
        found = shared_out(
            plan.presence, values[number_of(plan.presence)] - values[0], plan.weights, values[-1] - values[0]
        )
        results.append((found.values[:, 0], standard_error(found, 0, plan.complete)))
    shares, errors = map(torch.stack, zip(*results, strict=True))
    ratio = errors.mean(dim=0) / shares.std(dim=0)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=0.25)
    assert abs(float(ratio.mean()) - 1) < 0.08
    torch.testing.assert_close(
        shares.mean(dim=0), shapley(values)[:, 0], rtol=0, atol=4 * float(errors.mean()) / 150**0.5
    )
