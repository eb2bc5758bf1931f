"""Input x gradient: closed form on a linear score, conservation where the network has no offsets, cost."""

import pytest
import torch
from torch import nn

from tests.nets import CONV, Awkward, Linear, batch, seeded
from tests.test_costs import SLACK, forwards
from voxplain.methods import method
from voxplain.score.score import Score
from voxplain.types import Quantity

ranks = pytest.mark.parametrize("rank", [2, 3])


@ranks
def test_a_linear_score_is_shared_out_voxel_by_voxel(rank):
    x = batch(rank)
    module = seeded(Linear, tuple(x.shape[1:]))
    found = method("input_x_gradient")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.values, module.weight[1].detach() * x, rtol=1e-12, atol=0)
    from_zero = (module(x) - module(torch.zeros_like(x)))[:, 1].detach()
    torch.testing.assert_close(found.values.flatten(1).sum(1), from_zero, rtol=1e-10, atol=1e-11)


@ranks
def test_sums_to_the_score_of_a_relu_network_without_offsets(rank):
    """Such a network is homogeneous: f(x) = <x, gradient> (Euler)."""

    class Homogeneous(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = CONV[rank](2, 4, 3, bias=False)
            self.head = nn.Linear(4, 3, bias=False)

        def forward(self, x):
            return self.head(self.conv(x).relu().flatten(2).mean(2))

    module, x = seeded(Homogeneous), batch(rank)
    found = method("input_x_gradient")(Score(module, "class_score(2)"), x)
    torch.testing.assert_close(found.values.flatten(1).sum(1), module(x)[:, 2].detach(), rtol=1e-10, atol=1e-12)


def test_is_in_units_of_the_score_and_no_derivative():
    found = method("input_x_gradient")(Score(seeded(Awkward, 2, "classification"), "class_score"), batch(2))
    assert found.quantity is Quantity.RELEVANCE
    assert not found.derivative
    assert "per" not in found.unit


@ranks
def test_costs_two(rank):
    assert forwards("input_x_gradient", rank) == pytest.approx(2.0, abs=SLACK)
