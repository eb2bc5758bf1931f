"""Sensitivity-n and faithfulness correlation, which ask about random sets."""

import numpy as np
import pytest
import torch

from tests.metrics.linear import ask, linear, noise, value, weights
from tests.nets import Awkward, batch, seeded
from voxplain.errors import OptionError
from voxplain.metrics import metric
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])
BOTH = pytest.mark.parametrize("name", ["sensitivity_n", "faithfulness_correlation"])


@ranks
@BOTH
def test_is_1_where_each_voxel_holds_what_it_adds_to_a_linear_score(rank, name):
    score, x, worth = linear(rank)
    assert value(name, score, x, worth) == pytest.approx(1)
    assert value(name, score, x, -3 * worth) == pytest.approx(-1)


@BOTH
def test_asks_against_what_stands_for_removed_voxels(name):
    score, x, _ = linear()
    assert value(f"{name}(imputer=0.7)", score, x, weights(score) * (x[0] - 0.7)) == pytest.approx(1)


@BOTH
def test_blocks_of_a_linear_score_add_up_too(name):
    score, x, worth = linear()
    assert value(f"{name}(patch=2)", score, x, worth) == pytest.approx(1)


@BOTH
def test_maps_that_know_nothing_get_0_on_average(name):
    score, x, worth = linear(2, side=8)
    found = ask(name, score, x, *noise(worth, 100))
    values = np.array([one.value for one in found])
    assert found[0].chance == 0
    assert abs(values.mean()) < 4 * values.std() / 10


def test_the_correlation_is_that_over_the_sets_that_were_shown():
    shown = []

    class Seen(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = seeded(Awkward, 2, "classification")

        def forward(self, images):
            if images.device.type == "cpu":  # not where only shapes are looked at
                shown.append(images.clone())
            return self.inner(images)

    x, score = batch(2, count=1), Score(Seen(), "class_score(0)", chunk=3)
    values = noise(x[0], 1)[0]
    shown.clear()
    (found,) = metric("faithfulness_correlation(share=0.25, samples=20)")(score, x, [values])
    images = torch.cat(shown)[1:]
    gone = (images == 0).all(1)
    assert gone.flatten(1).sum(1).tolist() == [round(0.25 * gone[0].numel())] * 20
    assert len({tuple(one.flatten().tolist()) for one in gone}) == 20
    sums, falls = (gone * values.sum(0)).flatten(1).sum(1), score(x) - score(images)
    assert found.value == pytest.approx(np.corrcoef(sums, falls)[0, 1])


def test_sensitivity_n_is_the_mean_over_sizes_of_the_faithfulness_correlation():
    score, x, worth = linear()
    values = worth + noise(worth, 1)[0]
    found = ask("sensitivity_n(shares=[0.1, 0.5], samples=30)", score, x, values)[0]
    each = [value(f"faithfulness_correlation(share={n}, samples=30)", score, x, values) for n in (0.1, 0.5)]
    assert found.value == pytest.approx(np.mean(each))
    assert found.curves["correlation"].values == pytest.approx(each)
    assert found.curves["correlation"].at == (0.1, 0.5)


@BOTH
def test_does_not_apply_to_a_flat_map(name):
    score, x, worth = linear()
    found = ask(name, score, x, torch.full_like(worth, 0.1))[0]
    assert (found.value, found.reason) == (None, "the map's sums or the score are the same for all sets")


@BOTH
def test_does_not_apply_to_a_score_that_never_changes(name):
    score, x, worth = linear()
    with torch.no_grad():
        score.model.module.weight.zero_()
    assert ask(name, score, x, worth)[0].reason == "the map's sums or the score are the same for all sets"


def test_the_seed_draws_the_sets():
    score, x, worth = linear()
    values = worth + noise(worth, 1)[0]
    name = "faithfulness_correlation"
    own, run = value(f"{name}(seed=3)", score, x, values), value(name, linear(seed=3)[0], x, values)
    assert own == run
    assert own != value(f"{name}(seed=4)", score, x, values)


def test_one_block_for_the_whole_image_is_refused():
    score, x, worth = linear()
    with pytest.raises(OptionError, match="patch must leave at least two blocks in the image, got 99"):
        ask("sensitivity_n(patch=99)", score, x, worth)


@pytest.mark.parametrize(
    "spec", ["faithfulness_correlation(share=1)", "sensitivity_n(shares=[0.0])", "sensitivity_n(shares=[])"]
)
def test_sizes_between_nothing_and_everything_are_asked_for(spec):
    with pytest.raises(OptionError, match="between 0 and 1"):
        metric(spec)
