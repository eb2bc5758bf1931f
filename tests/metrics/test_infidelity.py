import numpy as np
import pytest
import torch

from tests.metrics.linear import ask, linear, noise, value, weights
from tests.nets import Awkward, batch, seeded
from voxplain.errors import OptionError
from voxplain.metrics import metric
from voxplain.score.score import Score

kinds = pytest.mark.parametrize("kind", ["patch", "noise"])
ranks = pytest.mark.parametrize("rank", [2, 3])


class Seen(torch.nn.Module):
    """A linear score that keeps what it was shown."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.shown = inner, []

    def forward(self, x):
        if x.device.type == "cpu":  # not where only shapes are looked at
            self.shown.append(x.clone())
        return self.inner(x)


def watched(spec, x, *maps, rank=2):
    """What the metric found, the perturbed images, and the score they were shown to."""
    seen = Seen(seeded(Awkward, rank, "classification").eval())
    score = Score(seen, "class_score(1)", chunk=5)
    seen.shown.clear()
    found = metric(spec)(score, x, maps)
    shown = torch.cat(score.model.module.shown)
    return found, shown[1:], score


@ranks
@kinds
@pytest.mark.parametrize("scaled", [True, False])
def test_the_gradient_of_a_linear_score_is_faithful(rank, kind, scaled):
    score, x, _ = linear(rank)
    found = value(f"infidelity(perturbation='{kind}', scaled={scaled})", score, x, weights(score))
    assert found == pytest.approx(0, abs=1e-20)


@ranks
def test_contributions_of_a_linear_score_are_faithful_to_patches(rank):
    score, x, worth = linear(rank)
    assert value("infidelity(reading='contribution', scaled=False)", score, x, worth) == pytest.approx(0, abs=1e-20)


@ranks
@kinds
def test_a_blank_map_gets_the_mean_square_of_the_falls(rank, kind):
    score, x, worth = linear(rank)
    found = ask(f"infidelity(perturbation='{kind}', scaled=False)", score, x, torch.zeros_like(worth))[0]
    assert found.value == found.chance
    assert found.chance > 0


@kinds
def test_equals_the_definition_over_the_perturbations_that_were_shown(kind):
    x = batch(2, count=1)
    values = noise(x[0], 1)[0]
    found, shown, score = watched(f"infidelity(perturbation='{kind}', scaled=False, samples=12)", x, values)
    change = x - shown
    expected = ((change * values).flatten(1).sum(1) - (score(x) - score(shown))).square().mean()
    assert len(shown) == 12
    assert found[0].value == pytest.approx(float(expected))


@ranks
def test_every_patch_is_cut_from_the_clean_image_and_not_from_the_last_one(rank):
    """Quantus alters what the steps before left; Yeh's expectation asks for perturbations on their own."""
    x = batch(rank, count=1, side=8)
    _, shown, _ = watched("infidelity(side=3, samples=16)", x, noise(x[0], 1)[0], rank=rank)
    gone = (shown != x).any(1)
    assert gone.flatten(1).sum(1).tolist() == [3**rank] * 16


def test_patches_are_solid_squares_at_many_places():
    x = batch(2, count=1, side=8)
    _, shown, _ = watched("infidelity(side=3, samples=400)", x, noise(x[0], 1)[0])
    gone = (shown != x).any(1)
    corners = {tuple(one.nonzero().amin(0).tolist()) for one in gone}
    assert all((one.nonzero().amax(0) - one.nonzero().amin(0) == 2).all() for one in gone)
    assert corners == {(i, j) for i in range(6) for j in range(8)}  # 8 x 10 voxels, to the last row and column


def test_without_a_side_a_patch_is_a_quarter_of_the_image():
    x = batch(2, count=1, side=8)  # 8 x 10
    _, shown, _ = watched("infidelity(samples=4)", x, noise(x[0], 1)[0])
    assert (shown != x).any(1).flatten(1).sum(1).tolist() == [2 * 2] * 4


def test_noise_is_a_share_of_each_channels_own_deviation():
    x = batch(2, count=1, side=20)
    x[:, 1] *= 50
    _, shown, _ = watched("infidelity(perturbation='noise', noise=0.3, samples=20)", x, noise(x[0], 1)[0])
    spread = (shown - x).std((0, 2, 3)) / x.std((0, 2, 3), correction=0)
    torch.testing.assert_close(spread, torch.full_like(spread, 0.3), rtol=0.05, atol=0)


def test_the_unit_of_a_map_does_not_count_when_scaled():
    score, x, worth = linear()
    values = weights(score) + noise(worth, 1)[0]
    one, other = (ask("infidelity", score, x, factor * values)[0] for factor in (1, 250))
    assert one.value == pytest.approx(other.value)
    assert one.numbers["scale"] == pytest.approx(250 * other.numbers["scale"])


def test_scaling_is_the_best_there_is():
    score, x, worth = linear()
    values = weights(score) + noise(worth, 1)[0]
    best = ask("infidelity", score, x, values)[0]
    factors = best.numbers["scale"] * np.array([0.9, 0.99, 1.01, 1.1])
    assert all(value("infidelity(scaled=False)", score, x, float(f) * values) > best.value for f in factors)


def test_a_map_that_points_the_wrong_way_is_no_better_than_a_blank_one():
    score, x, _ = linear()
    found = ask("infidelity", score, x, -weights(score))[0]
    assert found.value == found.chance


def test_a_map_of_one_channel_counts_for_all_of_them():
    score, x, worth = linear()
    one = noise(worth[:1], 1)[0]
    spec = "infidelity(scaled=False)"
    assert value(spec, score, x, one) == pytest.approx(value(spec, score, x, one.expand_as(worth)))


def test_sums_over_noise_are_refused():
    told = "infidelity: reading must be 'gradient' with perturbation='noise', got 'contribution'"
    with pytest.raises(OptionError, match=told):
        metric("infidelity(perturbation='noise', reading='contribution')")
