import pytest
import torch
from scipy.stats import kendalltau

from tests.metrics.linear import ask, linear, value
from tests.nets import Awkward, batch, seeded
from voxplain.methods import method
from voxplain.score.score import Score

NAME = "modality_importance"


def painted(x, numbers):
    """A map whose channels sum to these numbers."""
    return torch.stack([torch.full(x.shape[2:], n / x[0, 0].numel(), dtype=torch.float64) for n in numbers])


@pytest.mark.parametrize("rank", [2, 3])
def test_is_1_where_channels_are_ranked_as_the_model_does(rank):
    score, x, worth = linear(rank, channels=4)
    shares = worth.flatten(1).sum(1)
    positive = painted(x, (shares - shares.min() + 1).tolist())
    opposite = painted(x, (shares.max() - shares + 1).tolist())
    assert [one.value for one in ask(NAME, score, x, positive, opposite)] == pytest.approx([1, -1])


def test_shapley_values_are_those_of_the_method():
    module, x = seeded(Awkward, 2, "classification", 4), batch(2, count=1, channels=4)
    score = Score(module, "class_score(0)")
    found = ask(NAME, score, x, batch(2, count=1, channels=4, seed=3)[0])[0]
    expected = method("modality_shapley")(score, x).numbers["shapley"][0]
    assert found.numbers["shapley"] == pytest.approx(expected.tolist())


def test_is_kendalls_tau_b_with_the_positive_sums():
    score, x, worth = linear(channels=5)
    values = batch(2, count=1, channels=5, side=5, seed=8)[0]
    values[3] = values[1]
    found = ask(NAME, score, x, values)[0]
    sums = values.clamp_min(0).flatten(1).sum(1)
    assert found.numbers["sums"] == pytest.approx(sums.tolist())
    expected = kendalltau(worth.flatten(1).sum(1).numpy(), sums.numpy(), variant="b").statistic
    assert found.value == pytest.approx(expected)


def test_negative_values_do_not_count():
    score, x, _ = linear(channels=3)
    values = painted(x, [1.0, 2.0, 3.0])
    lowered = values.clone()
    lowered[:, 0, 0] = -1000
    raised = values.clone()
    raised[:, 0, 0] = 0
    assert value(NAME, score, x, lowered) == value(NAME, score, x, raised)


def test_does_not_apply_to_maps_without_channels_of_their_own():
    score, x, worth = linear(channels=3)
    of_one, own = ask(NAME, score, x, worth[:1], worth)
    assert (of_one.value, of_one.reason) == (None, "the map has no channels of its own")
    assert own.value is not None


@pytest.mark.parametrize("channels", [1, 13])
def test_does_not_apply_to_images_of_one_or_too_many_channels(channels):
    score, x, worth = linear(channels=channels, side=2)
    assert ask(NAME, score, x, worth)[0].reason == f"the image must have 2 to 12 channels, it has {channels}"


def test_does_not_apply_where_all_channels_are_worth_the_same():
    score, x, _ = linear(channels=3)
    found = ask(NAME, score, x, painted(x, [1.0, 1.0, 1.0]))[0]
    assert (found.value, found.reason) == (None, "all channels of the map or of the model are worth the same")
    assert len(found.numbers["shapley"]) == 3
