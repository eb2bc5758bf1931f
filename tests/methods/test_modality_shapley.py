"""Modality Shapley values against sums over orders, in 2^channels forwards."""

import math
from itertools import combinations, permutations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Awkward, Linear, batch, seeded, target_for
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.ops.baselines import FILLS, baseline
from voxplain.score.model import Model
from voxplain.score.score import Score


def score(rank: int = 2, task: str = "classification", channels: int = 3) -> Score:
    target = "class_score(1)" if task == "classification" else target_for(task)
    return Score(seeded(Awkward, rank, task, channels=channels), target)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def worths(asked: Score, x, cover) -> dict[frozenset[int], torch.Tensor]:
    """Score of one image with each set of channels present."""
    frozen, channels, found = asked.freeze(x)[1], range(x.shape[1]), {}
    for size in range(x.shape[1] + 1):
        for inside in combinations(channels, size):
            image = cover.clone()
            image[:, list(inside)] = x[:, list(inside)]
            found[frozenset(inside)] = frozen(image)[0]
    return found


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("task", ["classification", "segmentation", "regression"])
def test_values_are_mean_gains_over_all_orders(rank, task):
    x = batch(rank, channels=3)
    found = method("modality_shapley(absent=0.4)")(score(rank, task), x)
    assert found.values.shape == x.shape
    for n in range(2):
        worth = worths(score(rank, task), x[n : n + 1], torch.full_like(x[n : n + 1], 0.4))
        total = torch.zeros(3, dtype=torch.float64)
        for order in permutations(range(3)):
            for place, channel in enumerate(order):
                total[channel] += worth[frozenset(order[: place + 1])] - worth[frozenset(order[:place])]
        close(found.numbers["shapley"][n], total / 6)
        close(found.values[n].flatten(1).sum(dim=1), total / 6)
        assert float(found.values[n].flatten(1).std(dim=1).max()) < 1e-12, "each value is spread evenly"


def test_interactions_are_what_two_channels_add_beyond_both_alone():
    x = batch(2, count=1, channels=4)
    found = method("modality_shapley")(score(channels=4), x)
    worth = worths(score(channels=4), x, torch.zeros_like(x))
    table = found.numbers["interactions"][0].tolist()
    for one, other in combinations(range(4), 2):
        rest, total = [n for n in range(4) if n not in (one, other)], 0.0
        for size in range(3):
            for inside in combinations(rest, size):
                gain = worth[frozenset((*inside, one, other))] - worth[frozenset((*inside, one))]
                gain = gain - worth[frozenset((*inside, other))] + worth[frozenset(inside)]
                total += float(gain) * math.factorial(size) * math.factorial(2 - size) / math.factorial(3)
        assert table[one][other] == table[other][one] == pytest.approx(total, abs=1e-12)
    assert [table[n][n] for n in range(4)] == found.numbers["shapley"][0].tolist()


@pytest.mark.parametrize("absent", [*FILLS, -1.5])
def test_the_map_sums_to_the_difference_from_all_absent(absent):
    x = batch(3, channels=3)
    found = method(f"modality_shapley(absent={absent!r})")(score(3), x)
    close(found.values.flatten(1).sum(dim=1), found.score - score(3)(baseline(x, absent)))


def test_on_a_linear_score_each_channel_has_its_share_and_none_interact():
    x = batch(2, channels=3)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("modality_shapley")(Score(module, "class_score(0)"), x)
    shares = (module.weight[0].detach() * x).flatten(2).sum(dim=2)
    close(found.numbers["shapley"], shares)
    close(found.numbers["interactions"], torch.diag_embed(shares))


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("rank", [2, 3])
def test_costs_a_forward_a_coalition(rank, channels):
    model, x = Model.of(seeded(Awkward, rank, "classification", channels=channels)), batch(rank, channels=channels)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    asked = Score(model, "class_score")
    with FlopCounterMode(display=False) as whole:
        method("modality_shapley")(asked, x)
    assert asked.ledger.forwards == 2**channels * len(x)
    assert whole.get_total_flops() / one.get_total_flops() / len(x) == pytest.approx(2**channels, rel=0.02)


@pytest.mark.parametrize("channels", [1, 13])
def test_one_channel_and_too_many_are_refused(channels):
    with pytest.raises(InputError) as caught:
        method("modality_shapley")(score(channels=channels), batch(2, channels=channels))
    assert str(caught.value) == (
        f"modality_shapley: the input must have 2 to 12 channels as players, got {channels}; "
        "use kernel_shap or shapley_sampling for parts of the image"
    )


def test_twelve_channels_are_the_most():
    x = batch(2, count=1, channels=12, side=2)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("modality_shapley")(Score(module, "class_score(1)"), x)
    close(found.numbers["shapley"], (module.weight[1].detach() * x).flatten(2).sum(dim=2))
