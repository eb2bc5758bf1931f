"""Guided backpropagation and the deconvolutional network against the papers' definitions, by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import Linear, batch, seeded
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
METHODS = ("guided_backprop", "deconvnet")

every_method = pytest.mark.parametrize("name", METHODS)
ranks = pytest.mark.parametrize("rank", [2, 3])


@ranks
@every_method
def test_equals_the_gradient_where_nothing_rectifies(rank, name):
    x = batch(rank)
    score = Score(seeded(Linear, tuple(x.shape[1:])), "class_score(1)")
    assert torch.equal(method(name)(score, x).values, method("gradient")(score, x).values)


class Single(nn.Module):
    """One activation between weights that are set, so that the signal that comes back to it is known."""

    def __init__(self, function, signal: Tensor) -> None:
        super().__init__()
        self.function, self.signal = function, nn.Parameter(signal)

    def forward(self, x: Tensor) -> Tensor:
        return (self.function(x) * self.signal).flatten(1).sum(1, keepdim=True)


RECTIFIERS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "prelu": lambda x: functional.prelu(x, torch.tensor([0.3, -0.4], dtype=x.dtype)),
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "softplus": functional.softplus,
}
"""Every activation with a definition of its own, and its own derivative by torch."""


@pytest.mark.parametrize("rectifier", RECTIFIERS)
def test_other_rectifiers_follow_the_written_definition(rectifier):
    function, x = RECTIFIERS[rectifier], batch(2) * 4
    signal = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    leaf = x.clone().requires_grad_()
    fired = function(leaf)
    (slope,) = torch.autograd.grad(fired.sum(), leaf)
    score = Score(Single(function, signal), "regression()")
    guided = method("guided_backprop")(score, x)
    deconvolved = method("deconvnet")(score, x).values
    expected = slope * signal * (signal > 0) * (fired > 0)
    torch.testing.assert_close(guided.values, expected.detach(), rtol=1e-12, atol=0)
    assert torch.equal(deconvolved, (signal * (signal > 0)).expand_as(x))
    assert sum(score.ledger.covered.values()) == 1


@every_method
def test_gates_and_softmax_keep_their_derivative(name):
    function = lambda x: torch.sigmoid(x) * functional.softmax(x, 1) + torch.tanh(x)  # noqa: E731
    x = batch(2)
    score = Score(Single(function, torch.ones(x.shape[1:], dtype=x.dtype)), "regression()")
    assert torch.equal(method(name)(score, x).values, method("gradient")(score, x).values)
    assert score.ledger.missed == {"sigmoid": 1, "softmax": 1, "tanh": 1}


@every_method
def test_costs_two_forwards(name):
    torchvision = pytest.importorskip("torchvision")
    model = Model.of(torchvision.models.resnet18(num_classes=3))
    x = torch.randn(1, 3, 32, 32)
    with FlopCounterMode(display=False) as one:
        model(x)
    with FlopCounterMode(display=False) as all_of_it:
        method(name)(Score(model, "class_score(1)"), x)
    assert all_of_it.get_total_flops() == pytest.approx(2 * one.get_total_flops(), rel=1e-6)


@every_method
def test_every_target_of_a_segmentation_and_a_regression(name):
    layers = lambda: nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv3d(4, 2, 1))  # noqa: E731
    module = seeded(layers)
    found = method(name)(Score(module, "region(1, over='whole')"), batch(3)).values
    assert found.shape == batch(3).shape
    assert found.abs().sum() > 0
