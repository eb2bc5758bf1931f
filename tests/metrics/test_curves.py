"""Deletion, insertion, AOPC, ABPC, delta AUPC and monotonicity, which share their curves."""

import numpy as np
import pytest
import torch

from tests.metrics.linear import ask, linear, noise, value, weights
from tests.nets import Awkward, batch, seeded
from voxplain.errors import OptionError
from voxplain.metrics import metric
from voxplain.score.score import Score

CURVES = ("deletion", "insertion", "morf_aopc", "lerf_aopc", "abpc", "delta_aupc", "monotonicity")
ranks = pytest.mark.parametrize("rank", [2, 3])


def removed_in_order(score, x, values, steps, fill, *, least=False, patch=None):
    """Scores while the largest (or least) voxels of a map are replaced, one image after another, with NumPy's order."""
    order = np.argsort(values.sum(0).flatten().numpy() * (1 if least else -1), kind="stable")
    scores = []
    for step in range(steps + 1):
        image = x.clone()
        gone = order[: round(step * len(order) / steps)]
        image.flatten(2)[0][:, gone] = fill.flatten(2)[0][:, gone]
        scores.append(float(score(image)[0]))
    return np.array(scores)


@ranks
def test_deletion_is_the_area_while_the_largest_are_removed(rank):
    score, x, worth = linear(rank)
    expected = removed_in_order(score, x, worth, 6, torch.zeros_like(x))
    found = ask("deletion(steps=6)", score, x, worth)[0]
    assert found.value == pytest.approx(np.trapezoid(expected, dx=1 / 6))
    assert found.curves["removed"].values == pytest.approx(expected)
    assert found.curves["removed"].at == pytest.approx(np.linspace(0, 1, 7))


@ranks
def test_insertion_is_the_area_while_the_largest_are_put_back(rank):
    score, x, worth = linear(rank)
    expected = removed_in_order(score, torch.full_like(x, 0.3), worth, 7, x)
    found = ask("insertion(steps=7, imputer=0.3)", score, x, worth)[0]
    assert found.value == pytest.approx(np.trapezoid(expected, dx=1 / 7))
    assert found.curves["put back"].values == pytest.approx(expected)


def test_insertion_begins_blurred():
    assert metric("insertion").imputer == "blur"


@ranks
def test_morf_aopc_is_the_mean_fall_with_the_first_step(rank):
    score, x, worth = linear(rank)
    scores = removed_in_order(score, x, worth, 6, torch.zeros_like(x))
    assert value("morf_aopc(steps=6)", score, x, worth) == pytest.approx(np.mean(scores[0] - scores))


@ranks
def test_lerf_aopc_removes_the_least_first(rank):
    score, x, worth = linear(rank)
    scores = removed_in_order(score, x, worth, 6, torch.zeros_like(x), least=True)
    assert value("lerf_aopc(steps=6)", score, x, worth) == pytest.approx(np.mean(scores[0] - scores))


@ranks
def test_abpc_is_the_area_between_both_orders(rank):
    score, x, worth = linear(rank)
    most, least = (removed_in_order(score, x, worth, 6, torch.zeros_like(x), least=last) for last in (False, True))
    expected = np.trapezoid(least, dx=1 / 6) - np.trapezoid(most, dx=1 / 6)
    assert value("abpc(steps=6)", score, x, worth) == pytest.approx(expected)


@ranks
def test_delta_aupc_is_the_mean_random_area_less_the_own_one(rank):
    score, x, worth = linear(rank)
    found = ask("delta_aupc(steps=6, permutations=3)", score, x, worth)[0]
    areas = found.numbers["random_areas"]
    own = value("deletion(steps=6)", score, x, worth)
    assert len(set(areas)) == 3
    assert found.value == pytest.approx(np.mean(areas) - own)
    drawn = np.trapezoid(found.curves["random order"].values, dx=1 / 6)
    assert drawn == pytest.approx(np.mean(areas))


def test_random_orders_of_a_linear_score_lie_around_the_straight_line():
    """Every voxel falls at a time uniform in 0..1, so that the mean curve runs straight from f(x) to f(0)."""
    score, x, worth = linear(2, side=9)
    areas = np.array(ask("delta_aupc(steps=10, permutations=200)", score, x, worth)[0].numbers["random_areas"])
    middle = float((score(x) + score(torch.zeros_like(x)))[0]) / 2
    assert abs(areas.mean() - middle) < 4 * areas.std() / 200**0.5


@ranks
def test_monotonicity_is_the_share_of_steps_that_do_not_fall_on_the_way_back(rank):
    score, x, worth = linear(rank)
    scores = removed_in_order(score, x, worth, 6, torch.zeros_like(x))[::-1]
    assert value("monotonicity(steps=6)", score, x, worth) == pytest.approx(np.mean(np.diff(scores) >= 0))


def test_a_map_that_never_errs_about_a_positive_linear_score_is_monotone():
    score, x, worth = linear()
    positive = x.abs() * weights(score).sign()  # every voxel speaks for the class
    assert value("monotonicity(steps=8)", score, positive, worth.abs()) == 1.0
    assert value("monotonicity(steps=8)", score, -positive, worth.abs()) == 0.0


@ranks
@pytest.mark.parametrize("name", [name for name in CURVES if name != "monotonicity"])
def test_no_map_beats_what_each_voxel_adds(rank, name):
    score, x, worth = linear(rank)
    options = {"insertion": "(steps=12, imputer='zero')"}.get(name, "(steps=12)")
    found = [one.value for one in ask(name + options, score, x, worth, *noise(worth, 20))]
    sign = 1 if metric(name).better == "higher" else -1
    assert all(sign * found[0] > sign * other for other in found[1:])


@pytest.mark.parametrize("name", ["abpc", "delta_aupc"])
def test_maps_that_know_nothing_get_the_chance_level(name):
    score, x, worth = linear(2, side=8)
    found = ask(f"{name}(steps=8)", score, x, *noise(worth, 200))
    values = np.array([one.value for one in found])
    own_error = found[0].numbers.get("random_areas", [0.0])
    spread = (values.var() / len(values) + np.var(own_error) / len(own_error)) ** 0.5
    assert abs(values.mean() - found[0].chance) < 4 * spread


@pytest.mark.parametrize("name", CURVES)
def test_the_opposite_map_walks_the_other_way(name):
    score, x, worth = linear()
    if name == "abpc":
        assert value("abpc", score, x, -worth) == pytest.approx(-value("abpc", score, x, worth))
    if name == "morf_aopc":
        assert value("morf_aopc", score, x, -worth) == pytest.approx(value("lerf_aopc", score, x, worth))
    if name == "insertion":
        back = value("insertion(imputer='zero')", score, x, worth)
        assert back == pytest.approx(value("deletion", score, x, -worth))


@pytest.mark.parametrize("name", CURVES)
def test_only_the_order_of_the_values_counts(name):
    score, x, worth = linear(channels=1)
    same = (worth.abs() + 1).log() * worth.sign() * 3 + 7
    assert value(name, score, x, same) == pytest.approx(value(name, score, x, worth))


def test_channels_are_ranked_together_and_not_one_by_one():
    score, x, worth = linear()
    summed = worth.sum(0, keepdim=True)
    assert value("deletion(steps=5)", score, x, summed) == value("deletion(steps=5)", score, x, worth)


def test_all_channels_of_a_voxel_are_removed_together():
    seen = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, images):
            if images.device.type == "cpu":  # not where only shapes are looked at
                seen.append((images == 0).clone())
            return self.weight * images.flatten(1).sum(1, keepdim=True)

    x = batch(2, count=1, channels=4)
    metric("deletion(steps=3)")(Score(Watched(), "regression()"), x, noise(x[0], 1))
    gone = torch.cat(seen)
    assert torch.equal(gone.any(1), gone.all(1))
    assert gone.any()


def test_absolute_ranks_the_size_of_the_net_value():
    score, x, worth = linear()
    expected = value("deletion", score, x, worth.sum(0, keepdim=True).abs())
    assert value("deletion(sign='absolute')", score, x, worth) == expected
    assert value("deletion", score, x, worth) != expected


def test_blocks_are_removed_whole_by_the_sum_of_their_values():
    score, x, worth = linear(2, channels=1, side=6)  # 6 x 8 voxels: 2 x 3 blocks of 3 x 3, the last ones cut
    corners = [(i, j) for i in (0, 3) for j in (0, 3, 6)]
    sums = [float(worth[0, i : i + 3, j : j + 3].sum()) for i, j in corners]
    image, expected = x.clone(), [float(score(x)[0])]
    for number in np.argsort(sums)[::-1]:
        i, j = corners[number]
        image[..., i : i + 3, j : j + 3] = 0
        expected.append(float(score(image)[0]))
    found = ask("deletion(steps=6, patch=3)", score, x, worth)[0]
    assert found.curves["removed"].values == pytest.approx(expected)


def test_steps_beyond_the_number_of_voxels_repeat_the_scores():
    score, x, worth = linear(2, channels=1, side=2)  # 2 x 4 voxels
    found = ask("deletion(steps=16)", score, x, worth)[0].curves["removed"].values
    assert len(found) == 17
    assert len(set(np.round(found, 12))) == 9


def test_equal_values_do_not_favour_the_top_of_the_image():
    """Half the voxels tie: the score of the upper ones must not fall before that of the lower ones."""

    class Halves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, images):
            upper, lower = images[:, 0, :16].mean((1, 2)), images[:, 0, 16:].mean((1, 2))
            return self.weight * torch.stack([upper, lower], 1)

    x, values = torch.ones(1, 1, 32, 32, dtype=torch.float64), torch.zeros(1, 32, 32)
    values[0, 0, 0] = 1
    upper, lower = (value("deletion", Score(Halves(), f"class_score({n})"), x, values) for n in (0, 1))
    assert abs(upper - lower) < 0.05


def test_a_flat_map_ranks_nothing():
    score, x, worth = linear()
    for found in ask("deletion", score, x, torch.zeros_like(worth), torch.full_like(worth, 0.1)):
        assert (found.value, found.reason) == (None, "the map is the same everywhere, so that it ranks nothing")


def test_the_class_is_that_of_the_clean_image():
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=1)
    winner = int(module(x).argmax())
    free = metric("deletion")(Score(module, "class_score"), x, noise(x[0], 1))
    fixed = metric("deletion")(Score(module, f"class_score({winner})"), x, noise(x[0], 1))
    assert free == fixed


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("deletion(steps=0)", "deletion: steps must be at least 1, got 0"),
        ("abpc(patch=0)", "abpc: patch must be at least 1, got 0"),
        ("insertion(imputer='average')", "insertion: imputer must be a finite number or one of 'zero'"),
        ("delta_aupc(permutations=0)", "delta_aupc: permutations must be at least 1, got 0"),
        ("morf_aopc(seed=-1)", "morf_aopc: seed must be at least 0, got -1"),
        ("morf_aopc(mirror_axis=-1)", "morf_aopc: mirror_axis must be at least 0, got -1"),
        ("road(shares=[0.5, 1.0])", "road: shares must be between 0 and 1"),
    ],
)
def test_refuses_in_words(spec, told):
    with pytest.raises(OptionError, match=told):
        metric(spec)
