"""Integrated gradients written out step by step, per sample."""

import pytest
import torch

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError, OptionError
from voxplain.methods import method
from voxplain.methods.integrated_gradients import IntegratedGradients
from voxplain.ops.baselines import baseline
from voxplain.ops.quadrature import nodes
from voxplain.score.score import Score


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("rule", "fill"), [("gauss_legendre", "mean"), ("midpoint", 0.3), ("trapezoid", "blur")])
def test_the_weighted_mean_of_gradients_on_the_way_times_the_difference(rank, rule, fill):
    module, x = seeded(Awkward, rank, "classification"), batch(rank, count=3)
    score = Score(module, "class_score(2)", chunk=4)
    found = method(f"integrated_gradients(steps=5, rule={rule!r}, baseline={fill!r})")(score, x)
    start = baseline(x, fill)
    for n in range(3):
        total = torch.zeros_like(x[n])
        for point, weight in zip(*nodes(rule, 5), strict=True):
            leaf = (start[n] + point * (x[n] - start[n]))[None].requires_grad_()
            total += weight * torch.autograd.grad(module(leaf)[0, 2], leaf)[0][0]
        torch.testing.assert_close(found.values[n], total * (x[n] - start[n]), rtol=1e-9, atol=1e-12)


def test_the_gap_is_the_sum_of_the_map_less_the_difference_of_the_two_ends():
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(1)"), batch(2)
    found = method("integrated_gradients(steps=3, baseline='minimum')")(score, x)
    ends = score(x) - score(baseline(x, "minimum"))
    torch.testing.assert_close(found.numbers["completeness_gap"], found.values.flatten(1).sum(1) - ends)
    torch.testing.assert_close(found.numbers["score_at_baseline"], score(baseline(x, "minimum")))
    assert found.numbers["completeness_gap"].abs().max() > 0


def test_the_class_is_that_of_the_image_also_where_the_baseline_would_win_another():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    found = method("integrated_gradients(steps=64)")(Score(module, "class_score"), x)
    winners, at_start = module(x).argmax(1), int(module(torch.zeros_like(x[:1])).argmax(1))
    assert (winners != at_start).any()
    ends = (module(x) - module(torch.zeros_like(x))).gather(1, winners[:, None])[:, 0]
    torch.testing.assert_close(found.values.flatten(1).sum(1), ends.detach(), rtol=0, atol=0.05)
    assert torch.equal(found.classes, winners)


def net(rank: int = 2, number: int = 1, **options: object) -> Score:
    return Score(seeded(Awkward, rank, "classification"), f"class_score({number})", **options)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_list_of_baselines_is_the_mean_of_its_maps(rank):
    score, x = net(rank, chunk=4), batch(rank, count=3)
    found = method("integrated_gradients(steps=3, baseline=['blur', 0.3, 'mean'])")(score, x)
    alone = [method(f"integrated_gradients(steps=3, baseline={one!r})")(score, x) for one in ("blur", 0.3, "mean")]
    torch.testing.assert_close(found.values, sum(one.values for one in alone) / 3, rtol=1e-10, atol=1e-13)
    for name in ("score_at_baseline", "completeness_gap"):
        mean = sum(one.numbers[name] for one in alone) / 3
        torch.testing.assert_close(found.numbers[name], mean, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [2, 3])
def test_every_reference_image_is_a_baseline(rank):
    x, reference = batch(rank, count=3), batch(rank, count=2, seed=9)
    found = method("integrated_gradients(steps=4, baseline='reference')")(net(rank, reference=reference), x)
    expected = torch.zeros_like(x)
    for image in reference:
        for point, weight in zip(*nodes("gauss_legendre", 4), strict=True):
            expected += weight / 2 * net(rank).grad(image + point * (x - image)).gradient * (x - image)
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.numbers["score_at_baseline"], net(rank)(reference).mean().expand(3))


def test_references_may_stand_in_a_list():
    x, reference = batch(2), batch(2, count=1, seed=9)
    score = net(reference=reference)
    both = method("integrated_gradients(steps=3, baseline=['zero', 'reference'])")(score, x).values
    zero = method("integrated_gradients(steps=3)")(score, x).values
    other = method("integrated_gradients(steps=3, baseline='reference')")(score, x).values
    torch.testing.assert_close(both, (zero + other) / 2, rtol=1e-10, atol=1e-13)


def test_steps_double_until_the_sum_is_right_each_sample_on_its_own():
    """Mixed classes and baselines of their own: a sample that goes on keeps both when others before it have stopped."""
    score = Score(seeded(Awkward, 2, "classification", seed=3), "class_score")
    x = batch(2, count=6, seed=5) * torch.tensor([0.01, 1, 2, 3, 4, 5.0]).double()[:, None, None, None]
    spec = "integrated_gradients(steps=2, rule='midpoint', tolerance=0.01, max_steps=64, baseline='mean')"
    found = method(spec)(score, x)
    steps, gap = found.numbers["steps"], found.numbers["completeness_gap"].abs()
    bound = 0.01 * (found.score - found.numbers["score_at_baseline"]).abs()
    assert steps[0] < steps.max()
    assert len(found.classes.unique()) > 1
    assert ((gap <= bound) | (steps == 64)).all()
    for n in range(6):
        alone = method(spec)(score, x[n : n + 1])
        assert alone.numbers["steps"] == steps[n]
        torch.testing.assert_close(found.values[n], alone.values[0], rtol=1e-10, atol=1e-13)
        fixed = fixed_steps(score, x[n : n + 1], int(steps[n]))
        torch.testing.assert_close(found.values[n], fixed.values[0], rtol=1e-10, atol=1e-13)
        if steps[n] > 2:
            assert fixed_steps(score, x[n : n + 1], int(steps[n]) // 2).numbers["completeness_gap"].abs() > bound[n]


def fixed_steps(score: Score, x: torch.Tensor, steps: int):
    return method(f"integrated_gradients(steps={steps}, rule='midpoint', baseline='mean')")(score, x)


def test_never_takes_more_than_the_steps_allowed():
    found = method("integrated_gradients(steps=3, tolerance=1e-15, max_steps=11)")(net(), batch(2))
    assert found.numbers["steps"].tolist() == [6, 6]


def test_only_samples_that_miss_the_tolerance_pay_for_more_steps():
    score, x = net(), batch(2, count=2)
    x[1] = 0
    method("integrated_gradients(steps=4, tolerance=1e-15, max_steps=8)")(score, x)
    assert score.ledger.backwards == 2 * 4 + 8


@pytest.mark.parametrize("name", ["integrated_gradients(steps=2, baseline='reference')"])
@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (None, "integrated_gradients: reference images must be given, got none"),
        (torch.zeros(1, 2, 8, 9), r"reference images must have the input's shape \(2, 8, 10\), got \(2, 8, 9\)"),
        (torch.full((1, 2, 8, 10), torch.nan), "reference images must be finite"),
    ],
)
def test_references_that_do_not_fit_are_refused(name, reference, sentence):
    with pytest.raises(InputError, match=sentence):
        method(name)(net(reference=reference), batch(2))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"baseline": []}, "baseline must be at least one"),
        ({"baseline": ["zero", "white"]}, "baseline must be"),
        ({"tolerance": 0.0}, "tolerance must be more than 0"),
        ({"tolerance": 0.1, "steps": 9, "max_steps": 8}, "max_steps must be at least steps"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with pytest.raises(OptionError, match=f"integrated_gradients: {sentence}"):
        IntegratedGradients(**options)
