"""Excitation backpropagation: the paper's equations unit by unit, the sum, contrast, and layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score.score import Score


class Chain(nn.Module):
    def __init__(self, outputs: int = 3):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2)
        self.head = nn.Linear(4, outputs)

    def forward(self, x):
        self.between = functional.relu(self.first(x))
        x = functional.relu(self.second(self.between))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def matrix(layer: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """A layer's weights (output, input), one column an input voxel."""
    size = given[0].numel()
    with torch.no_grad():
        columns = layer(torch.eye(size, dtype=given.dtype).reshape(size, *given.shape[1:])) - layer(given * 0)
    return columns.flatten(1).T


def slow(module: Chain, x: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Winning probabilities at the first activations and the voxels, by the dense matrix of each layer."""
    size = x[0].numel()
    with torch.no_grad():
        hidden = functional.relu(module.first(x))
        deep = functional.relu(module.second(hidden))
        places = deep[0, 0].numel()
        maps = [matrix(module.first, x), matrix(module.second, hidden)]

        def back(won, weights, given):
            excited = (weights * given.flatten()).clamp(min=0)  # equation 2; voxels may be negative
            total = excited.sum(dim=1, keepdim=True)
            return won @ torch.where(total > 0, excited / total, 0)

        head = module.head.weight[index].clamp(min=0) * deep.mean(dim=(2, 3))[0]
        won = head / head.sum()
        share = deep[0] / deep[0].sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        won = (won[:, None, None] * share).flatten()
        assert len(won) == 4 * places
        hidden_won = back(won, maps[1], hidden)
        voxels = back(hidden_won, maps[0], x)
        assert len(voxels) == size
    return hidden_won.reshape(hidden[0].shape), voxels.reshape(x[0].shape)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_is_the_papers_probability_unit_by_unit(index):
    module, x = seeded(Chain), batch(2, count=1, side=7)
    hidden, voxels = slow(module, x, index)
    score = Score(module, f"class_score({index})")
    # The stabiliser of each division, 1e-6, is what is left between the two.
    torch.testing.assert_close(method("excitation_backprop")(score, x).values[0], voxels, rtol=1e-3, atol=1e-7)
    found = method("excitation_backprop(layer='second')")(score, x)
    assert found.values.shape[1] == 1
    assert found.cells is not None
    assert hidden.sum() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("rank", [2, 3])
def test_sums_to_one_and_does_not_grow_with_the_score(rank):
    module, x = seeded(Awkward, rank, "classification"), batch(rank)
    score = Score(module, "class_score(1)")
    found = method("excitation_backprop")(score, x)
    assert (found.values >= 0).all()
    assert (found.numbers["sum"] <= 1 + 1e-9).all()
    assert (found.numbers["sum"] > 0.5).all()
    with torch.no_grad():
        module.head.weight *= 3
    torch.testing.assert_close(
        method("excitation_backprop")(Score(module, "class_score(1)"), x).values, found.values, rtol=1e-4, atol=1e-9
    )


def test_margin_takes_the_rivals_probability_off():
    module, x = seeded(Chain), batch(2, count=1)
    ours, rivals = (method("excitation_backprop")(Score(module, f"class_score({n})"), x).values for n in (0, 1))
    both = method("excitation_backprop")(Score(module, "margin(0, against=1)"), x)
    torch.testing.assert_close(both.values, ours - rivals, rtol=1e-3, atol=1e-6)
    assert both.quantity.signed


def test_a_class_without_a_neuron_is_refused():
    with pytest.raises(InputError, match="explain class 1"):
        method("excitation_backprop")(Score(seeded(Chain, 1), "class_score(0)"), batch(2))
