"""Integrated gradients written out step by step, per sample."""

import pytest
import torch

from tests.nets import Awkward, batch, seeded
from voxplain.methods import method
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
