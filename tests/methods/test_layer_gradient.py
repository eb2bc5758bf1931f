"""The gradient at a layer, by its definition, and what is said of maps of layers that are zero everywhere."""

import pytest
import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from voxplain.methods import method
from voxplain.methods.cam import BLANK
from voxplain.score.score import Score
from voxplain.types import Quantity


@pytest.mark.parametrize("rank", [2, 3])
def test_it_is_the_sum_of_magnitudes_over_the_channels_of_a_layer(rank):
    module, x = seeded(Awkward, rank, "classification"), batch(rank)
    kept = []
    handle = module.second.register_forward_hook(lambda part, given, output: kept.append(output) or output.clone())
    scores = module(x.clone().requires_grad_())[:, 1]
    handle.remove()
    (gradient,) = torch.autograd.grad(scores.sum(), kept[0])
    found = method("layer_gradient(layer='second')")(Score(module, "class_score(1)"), x)
    torch.testing.assert_close(found.values, gradient.abs().sum(dim=1, keepdim=True), rtol=1e-10, atol=1e-13)
    assert (found.layer, found.quantity, found.unit) == ("second", Quantity.SALIENCY, "logits per activation")
    assert not any(note.startswith(BLANK) for note in found.notes)


def test_layers_come_as_siblings():
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    first = method("layer_gradient(layer=['first', 'second'])")(score, x)
    (second,) = first.siblings
    for one in (first, second):
        alone = method(f"layer_gradient(layer='{one.layer}')")(score, x)
        torch.testing.assert_close(one.values, alone.values)


def one_channel(weight: float) -> nn.Module:
    """The image itself as a layer, then its mean times a weight."""
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        module[0].weight[:], module[3].weight[:] = 1.0, torch.tensor([[0.0], [weight]])
    return module


X = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[-1.0, -2.0], [3.0, 4.0]]]])
"""Two pictures, of which only the second has something below zero."""


def blank(spec: str, weight: float, x: torch.Tensor = X) -> list[str]:
    found = method(spec)(Score(one_channel(weight), "class_score(1)"), x)
    return [note.removeprefix(BLANK) for note in found.notes if note.startswith(BLANK)]


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "guided_grad_cam", "xgrad_cam"])
def test_a_map_that_relu_cuts_whole_says_so_once_for_a_batch(name):
    (reason,) = blank(f"{name}(layer='0')", -1.0)
    assert reason == "the weighted sum of channels is nowhere above zero, and relu=True cuts the rest"
    assert blank(f"{name}(layer='0', relu=False)", -1.0) == []
    assert blank(f"{name}(layer='0')", 1.0) == []


def test_a_layer_without_a_say_and_a_dead_one_are_told():
    assert blank("grad_cam(layer='0')", 0.0) == ["the score's gradient is zero"]
    assert blank("layer_gradient(layer='0')", 0.0) == ["the score's gradient is zero"]
    assert blank("grad_cam(layer='0')", 1.0, 0 * X) == ["all activations are zero"]
    assert blank("layer_cam(layer='0')", -1.0) == ["no place has both activation and weight"]
