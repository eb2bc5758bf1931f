import pytest
import torch

from tests.metrics.linear import ask, linear, value, weights
from voxplain.methods import method


@pytest.mark.parametrize("rank", [2, 3])
def test_is_0_for_what_each_voxel_adds_and_1_for_nothing(rank):
    score, x, worth = linear(rank)
    full, blank = ask("completeness", score, x, worth, torch.zeros_like(worth))
    assert full.value == pytest.approx(0, abs=1e-12)
    assert (blank.value, blank.chance) == (1.0, 1.0)


def test_is_the_gap_as_a_share_of_what_there_is_to_explain():
    score, x, worth = linear()
    due = float(worth.sum())
    found = ask("completeness", score, x, worth - 0.25 * due / worth.numel(), -worth)
    assert [one.value for one in found] == pytest.approx([0.25, 2])
    assert found[0].numbers == {"sum": pytest.approx(0.75 * due), "due": pytest.approx(due)}


def test_asks_against_the_chosen_baseline():
    score, x, _ = linear()
    worth = weights(score) * (x[0] - x[0].mean((1, 2), keepdim=True))
    assert value("completeness(imputer='mean')", score, x, worth) == pytest.approx(0, abs=1e-12)
    assert value("completeness", score, x, worth) > 0.01


def test_holds_integrated_gradients_to_their_law():
    score, x, _ = linear()
    found = method("integrated_gradients(steps=2)")(score, x).values[0]
    assert value("completeness", score, x, found) == pytest.approx(0, abs=1e-12)


def test_does_not_apply_where_nothing_is_left_to_explain():
    score, x, worth = linear()
    found = ask("completeness", score, torch.zeros_like(x), worth)[0]
    assert (found.value, found.reason) == (None, "the score is the same with nothing left of the image")
