"""Blur integrated gradients: its law, closed form, the sum written out with SciPy, millimetres, bad input, cost."""

from itertools import pairwise

import pytest
import torch
from scipy import ndimage

from tests.nets import Awkward, Linear, batch, seeded
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.methods.blur_ig import BlurIG
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])


def net(rank: int, **options: object) -> Score:
    return Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)


def blurred(x: torch.Tensor, sigma, mode: str = "reflect") -> torch.Tensor:
    sigmas = [sigma] * (x.ndim - 2) if isinstance(sigma, float) else sigma
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), [0, 0, *sigmas], mode=mode))


@ranks
@pytest.mark.parametrize("border", ["reflect", "nearest", "constant"])
def test_adds_up(rank, border):
    x, score = batch(rank), net(rank)
    found = method(f"blur_ig(steps=100, max_sigma=3.0, border={border!r})")(score, x)
    at_start = score(blurred(x, 3.0, border))
    torch.testing.assert_close(found.values.flatten(1).sum(1), score(x) - at_start, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.numbers["score_at_baseline"], at_start)
    gap = found.values.flatten(1).sum(1) - (score(x) - at_start)
    torch.testing.assert_close(found.numbers["completeness_gap"], gap)


@ranks
def test_a_linear_score_is_weight_times_what_the_blur_took_away(rank):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("blur_ig(steps=3, max_sigma=2.0)")(Score(module, "class_score(0)"), x)
    expected = module.weight[0].detach() * (x - blurred(x, 2.0))
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-12)


@ranks
@pytest.mark.parametrize(("spacing", "power"), [("quadratic", 2), ("linear", 1)])
def test_equals_the_sum_written_out(rank, spacing, power):
    x, score = batch(rank, count=3), net(rank, chunk=4)
    found = method(f"blur_ig(steps=5, max_sigma=2.5, spacing={spacing!r})")(score, x)
    width = [2.5 * (n / 10) ** power for n in range(11)]
    total = torch.zeros_like(x)
    for n in range(0, 10, 2):
        change = blurred(x, width[n]) - blurred(x, width[n + 2])
        total += score.grad(blurred(x, width[n + 1])).gradient * change
    torch.testing.assert_close(found.values, total, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("spacing", "power"), [("quadratic", 2), ("linear", 1)])
def test_a_difference_equals_its_sum_written_out(spacing, power):
    x, score = batch(2), net(2)
    found = method(f"blur_ig(steps=4, max_sigma=2.5, difference=0.01, spacing={spacing!r})")(score, x)
    width = [2.5 * (n / 4) ** power for n in range(5)]
    total = torch.zeros_like(x)
    for here, there in pairwise(width):
        slope = (blurred(x, here) - blurred(x, here + 0.01)) / 0.01
        total += score.grad(blurred(x, here)).gradient * slope * (there - here)
    torch.testing.assert_close(found.values, total, rtol=1e-9, atol=1e-12)


def test_millimetres_make_the_blur_round_in_the_patient():
    x, score = batch(3), net(3, spacing_mm=(1.0, 0.5, 2.0))
    found = method("blur_ig(steps=2, max_sigma_mm=2.0)")(score, x)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score(blurred(x, (2.0, 4.0, 1.0))))
    assert "2 x 4 x 1 voxels" in found.notes[0]


def test_a_difference_follows_the_width_along_every_axis():
    x, score = batch(3), net(3, spacing_mm=(1.0, 0.5, 2.0))
    fine = method("blur_ig(steps=400, max_sigma_mm=1.0)")(score, x).values
    rough = method("blur_ig(steps=400, max_sigma_mm=1.0, difference=0.001)")(score, x).values
    assert (rough - fine).norm() <= 0.03 * fine.norm()


def test_left_out_the_blur_ends_at_a_quarter_of_the_longest_side():
    x, score = batch(2, side=12), net(2)
    found = method("blur_ig(steps=2)")(score, x)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score(blurred(x, 14 / 4)))


@ranks
def test_costs_two_a_step_and_the_two_ends(rank):
    """Counted in passes: on a network this small the blur's own products would show among the operations."""
    score = net(rank)
    method("blur_ig(steps=4)")(score, batch(rank, count=3))
    assert (score.ledger.forwards, score.ledger.backwards) == (3 * (4 + 2), 3 * 4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"max_sigma": 0.0}, "max_sigma must be more than 0"),
        ({"max_sigma_mm": -1.0}, "max_sigma_mm must be more than 0"),
        ({"max_sigma": 1.0, "max_sigma_mm": 1.0}, "max_sigma must be left out with max_sigma_mm"),
        ({"difference": 0.0}, "difference must be more than 0"),
        ({"border": "wrap"}, "border must be one of"),
        ({"spacing": "cubic"}, "spacing must be one of"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=f"blur_ig: {sentence}"):
        BlurIG(**options)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
def test_millimetres_need_a_grid_in_mm(spacing):
    with pytest.raises(OptionError, match="max_sigma_mm needs a grid in mm"):
        method("blur_ig(max_sigma_mm=2.0)")(net(2, spacing_mm=spacing), batch(2))
