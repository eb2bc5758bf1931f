"""Laws that need no second implementation: completeness, and the linear model in closed form."""

import pytest
import torch

from tests.nets import Awkward, Linear, batch, seeded
from voxplain.methods import method
from voxplain.score.score import Score

ranks = pytest.mark.parametrize("rank", [2, 3])


def linear(rank: int):
    x = batch(rank)
    return seeded(Linear, tuple(x.shape[1:])), x


@ranks
def test_gradient_of_a_linear_score_is_its_weights(rank):
    module, x = linear(rank)
    found = method("gradient")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.values, module.weight[1].detach().expand_as(x), rtol=1e-12, atol=0)


@ranks
@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint", "trapezoid"])
def test_integrated_gradients_of_a_linear_score_are_weight_times_difference(rank, rule):
    module, x = linear(rank)
    found = method(f"integrated_gradients(steps=2, rule='{rule}', baseline=0.7)")(Score(module, "class_score(0)"), x)
    torch.testing.assert_close(found.values, module.weight[0].detach() * (x - 0.7), rtol=1e-12, atol=1e-14)


@ranks
@pytest.mark.parametrize("fill", ["zero", "mean", "minimum", "blur", 0.3])
def test_integrated_gradients_add_up(rank, fill):
    module, x = seeded(Awkward, rank, "classification"), batch(rank)
    found = method(f"integrated_gradients(steps=200, rule='midpoint', baseline={fill!r})")(
        Score(module, "class_score(2)"), x
    )
    total = found.values.flatten(1).sum(1)
    difference = found.score - found.numbers["score_at_baseline"]
    # 200 midpoints over a ReLU network: each kink costs at most one cell of the quadrature.
    torch.testing.assert_close(total, difference, rtol=0, atol=2e-3)
    torch.testing.assert_close(found.numbers["completeness_gap"], total - difference, rtol=0, atol=1e-12)


def test_gauss_legendre_is_exact_on_a_polynomial_where_midpoints_are_not():
    class Cube(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (self.weight * x).pow(3).flatten(1).sum(1, keepdim=True)

    x = batch(2)
    exact = method("integrated_gradients(steps=2)")(Score(Cube().double(), "regression()"), x)
    torch.testing.assert_close(exact.values, x**3, rtol=1e-12, atol=1e-12)
    rough = method("integrated_gradients(steps=2, rule='midpoint')")(Score(Cube().double(), "regression()"), x)
    assert (rough.values - x**3).abs().max() > 1e-2


@ranks
def test_occlusion_of_a_linear_score_is_the_share_of_each_window(rank):
    module, x = linear(rank)
    found = method("occlusion(window=3, fill=0.5)")(Score(module, "class_score(1)"), x)
    share = module.weight[1].detach() * (x - 0.5)
    corner = (slice(None), slice(None), *[slice(0, 3)] * rank)
    expected = share[corner].flatten(1).sum(1)
    torch.testing.assert_close(
        found.values[corner].flatten(1), expected[:, None].expand(-1, 3**rank), rtol=1e-9, atol=1e-11
    )


@ranks
def test_tiling_windows_of_a_linear_score_sum_to_the_difference(rank):
    module, x = linear(rank)
    found = method("occlusion(window=3)")(Score(module, "class_score(1)"), x)
    total = (found.values / _window_sizes(x.shape[2:], 3)).flatten(1).sum(1)
    torch.testing.assert_close(total, (module(x) - module(torch.zeros_like(x)))[:, 1].detach(), rtol=1e-9, atol=1e-10)


def _window_sizes(space, side):
    sizes = torch.ones(tuple(space), dtype=torch.float64)
    for axis, length in enumerate(space):
        along = torch.tensor([min(side, length - n // side * side) for n in range(length)], dtype=torch.float64)
        sizes *= along.reshape([-1 if a == axis else 1 for a in range(len(space))])
    return sizes


@ranks
def test_grad_cam_before_pooling_and_a_linear_layer_is_the_class_activation_map(rank):
    """There Grad-CAM sums to the score less the bias (Selvaraju et al., section 3.1)."""
    module, x = seeded(Awkward, rank, "classification"), batch(rank)
    found = method("grad_cam(layer='drop', relu=False)")(Score(module, "class_score(1)"), x)
    expected = (module(x)[:, 1] - module.head.bias[1]).detach()
    torch.testing.assert_close(found.values.flatten(1).sum(1), expected, rtol=1e-10, atol=1e-12)
