"""Guided backpropagation and the deconvolutional network against Captum, which needs each ReLU as a module."""

import pytest
from captum.attr import Deconvolution, GuidedBackprop
from torch import Tensor, nn
from torch.nn import functional

from tests.nets import batch, seeded
from tests.oracle.agreement import assert_same
from voxplain.methods import method
from voxplain.score.score import Score

CONVS, POOLS = {2: nn.Conv2d, 3: nn.Conv3d}, {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class Unique(nn.Module):
    """Every ReLU a module of its own, as Captum needs them."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        conv, pool = CONVS[rank], POOLS[rank]
        self.first, self.second = conv(2, 6, 3, padding=1), conv(6, 6, 3, padding=1)
        self.one, self.two, self.three = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool, self.head = pool(2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.one(self.first(x)))
        x = self.three(x + self.two(self.second(x)))
        return self.head(x.flatten(2).mean(2))


class Other(Unique):
    """The same network with functional, reused and in-place activations."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.first(x), inplace=True))
        y = self.second(x)
        y = self.one(y).add(x)
        y *= 1.0
        return self.head(functional.relu_(y).flatten(2).mean(2))


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("network", [Unique, Other])
def test_equals_captum(rank, name, network):
    module, x = seeded(Unique, rank), batch(rank)
    twin = seeded(network, rank)
    ours = method(name)(Score(twin, "class_score(1)"), x).values
    peer = GuidedBackprop if name == "guided_backprop" else Deconvolution
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        theirs = peer(module).attribute(x.clone().requires_grad_(), target=1).detach()
    assert_same(name, "Captum", ours, theirs, 1e-12)
    assert (ours - method("gradient")(Score(twin, "class_score(1)"), x).values).abs().max() > 0
