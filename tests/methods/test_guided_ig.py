"""Guided integrated gradients: its law, the straight line as a limit, the algorithm step by step, bad input, cost."""

import math

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from tests.test_costs import SLACK, forwards
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.methods.guided_ig import GuidedIG
from voxplain.ops.guided_path import Stretch, advanced
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])


def explained(rank: int, spec: str, count: int = 2, **options: object):
    x = batch(rank, count=count, side=6)
    score = Score(seeded(Awkward, rank, "classification"), "class_score(1)", **options)
    return method(spec)(score, x), score, x


@ranks
def test_adds_up(rank):
    found, score, x = explained(rank, "guided_ig(steps=150, baseline=0.2)")
    ends = score(x) - score(torch.full_like(x, 0.2))
    torch.testing.assert_close(found.values.flatten(1).sum(1), ends, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.numbers["completeness_gap"], found.values.flatten(1).sum(1) - ends)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score(torch.full_like(x, 0.2)))


@ranks
def test_a_linear_score_is_weight_times_difference_whatever_the_path(rank):
    x = batch(rank, side=6)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("guided_ig(steps=7, max_distance=1.0, baseline=0.7)")(Score(module, "class_score(0)"), x)
    torch.testing.assert_close(found.values, module.weight[0].detach() * (x - 0.7), rtol=1e-9, atol=1e-12)


def test_without_freedom_it_is_the_left_riemann_sum_on_the_straight_line():
    found, score, x = explained(2, "guided_ig(steps=9, max_distance=0.0)")
    total = sum(score.grad(x * n / 9).gradient for n in range(9)) / 9
    torch.testing.assert_close(found.values, total * x, rtol=1e-9, atol=1e-12)


def test_freedom_changes_the_path():
    near = explained(2, "guided_ig(steps=9, max_distance=0.0)")[0].values
    assert (explained(2, "guided_ig(steps=9, max_distance=1.0)")[0].values - near).abs().max() > 1e-3


def test_an_image_that_is_its_own_baseline_gets_zeros():
    score = Score(seeded(Awkward, 2, "classification"), "class_score(1)")
    x = torch.cat([torch.zeros(1, 2, 6, 8, dtype=torch.float64), batch(2, count=1, side=6)])
    found = method("guided_ig(steps=4)")(score, x)
    assert (found.values[0] == 0).all()
    assert found.values[1].abs().sum() > 0


def written_out(x, gradient_at, steps, fraction, distance):
    """The algorithm as the reference describes it, coordinate by coordinate in plain Python, from zero."""
    z, total = [0.0] * len(x), [0.0] * len(x)
    length = sum(map(abs, x))
    for step in range(1, steps + 1):
        slope = gradient_at(z)
        size = [abs(value) for value in slope]
        low, high = max(step / steps - distance, 0.0), min(step / steps + distance, 1.0)
        before = list(z)
        while True:
            z = [low * end if end and now / end < low else now for now, end in zip(z, x, strict=True)]
            left = sum(abs(end - now) for now, end in zip(z, x, strict=True)) - length * (1 - step / steps)
            if abs(left) < 1e-9:
                break
            size = [math.inf if now == high * end else s for now, end, s in zip(z, x, size, strict=True)]
            limit = sorted(size)[math.floor(fraction * (len(x) - 1))]
            chosen = [n for n, s in enumerate(size) if s <= limit and s < math.inf]
            room = sum(abs(high * x[n] - z[n]) for n in chosen)
            part = min(1.0, left / room) if room else 1.0
            for n in chosen:
                z[n] = high * x[n] if part == 1.0 else z[n] + part * (high * x[n] - z[n])
            if part < 1.0:
                break
        total = [sofar + (now - then) * s for sofar, now, then, s in zip(total, z, before, slope, strict=True)]
    return total


@pytest.mark.parametrize(("fraction", "distance"), [(0.25, 0.02), (0.5, 1.0), (0.1, 0.3), (1.0, 0.1)])
def test_equals_the_algorithm_written_out(fraction, distance):
    found, score, x = explained(2, f"guided_ig(steps=8, fraction={fraction}, max_distance={distance})", count=1)
    slope = lambda z: score.grad(x.new_tensor(z).reshape(x.shape)).gradient.flatten().tolist()  # noqa: E731
    expected = written_out(x.flatten().tolist(), slope, 8, fraction, distance)
    torch.testing.assert_close(found.values.flatten(), x.new_tensor(expected), rtol=1e-9, atol=1e-12)


def test_a_step_leaves_exactly_the_distance_that_is_left_on_the_straight_line():
    generator = torch.Generator().manual_seed(3)
    start, end, slope = (torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(3))
    end[:3] = start[:3]
    stretch, point = Stretch(start, end), start
    for step in range(1, 11):
        point = advanced(stretch, point, slope, step / 10, 0.25, 0.15)
        left = (end - point).abs().sum() / (end - start).abs().sum()
        assert left == pytest.approx(1 - step / 10, abs=1e-9)
        progress = stretch.progress(point, still=step / 10)
        assert (progress >= step / 10 - 0.15 - 1e-12).all()
        assert (progress <= step / 10 + 0.15 + 1e-12).all()


def test_smallest_gradients_go_first():
    start, end = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    slope = torch.tensor([3.0, -0.1, 0.2, -5.0], dtype=torch.float64)
    point = advanced(Stretch(start, end), start, slope, 0.5, 0.25, 1.0)
    torch.testing.assert_close(point, torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64))


def test_single_precision_networks_keep_a_double_path():
    x = batch(2, side=6).float()
    found = method("guided_ig(steps=20)")(Score(seeded(Awkward, 2, "classification").float(), "class_score(1)"), x)
    truth = explained(2, "guided_ig(steps=20)")[0].values
    assert found.values.dtype == torch.float32
    assert (found.values.double() - truth).norm() <= 0.05 * truth.norm()


@ranks
def test_costs_two_a_step_and_the_two_ends(rank):
    assert forwards("guided_ig(steps=4)", rank) == pytest.approx(2 * 4 + 2, abs=SLACK)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "guided_ig: steps must be at least 1, got 0"),
        ({"fraction": 0.0}, "guided_ig: fraction must be more than 0 and at most 1, got 0.0"),
        ({"max_distance": 1.5}, "guided_ig: max_distance must be in 0..1, got 1.5"),
        ({"baseline": "white"}, "baseline"),
    ],
)
def test_refuses_in_one_sentence(options, sentence):
    with pytest.raises(OptionError, match=sentence.replace("(", r"\(")):
        GuidedIG(**options)
