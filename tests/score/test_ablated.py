"""Scores without one channel of a layer: what is left out, and what is left alone."""

import torch
from torch import nn

from tests.nets import Awkward, batch, seeded
from voxplain.score.ablated import ablated
from voxplain.score.score import Score


def without_each(module, x, layer, index=0):
    score = Score(module, f"class_score({index})")
    values, frozen = score.freeze(x)
    (tap,) = frozen.tap(x, [layer]).taps
    return ablated(frozen, x, tap, values).values, values, tap


class Passed(nn.Module):
    """A layer that hands on its very input, which another branch uses too."""

    def __init__(self):
        super().__init__()
        self.first, self.layer, self.head = nn.Conv2d(2, 3, 3), nn.Identity(), nn.Linear(3, 2)

    def forward(self, x):
        features = self.first(x)
        return self.head((self.layer(features).tanh() + 2 * features).flatten(2).mean(2))


def test_only_what_the_layer_hands_on_is_changed():
    module, x = seeded(Passed), batch(2)
    found, _, tap = without_each(module, x, "layer")
    features = tap.activation
    for channel in range(3):
        kept = torch.ones(3, 1, 1, dtype=x.dtype)
        kept[channel] = 0
        expected = module.head(((features * kept).tanh() + 2 * features).flatten(2).mean(2))[:, 0].detach()
        torch.testing.assert_close(found[:, channel], expected, rtol=1e-12, atol=1e-14)


def test_a_channel_that_is_zero_leaves_the_clean_score():
    module, x = seeded(Awkward, 3, "classification"), batch(3)
    with torch.no_grad():
        module.first.weight[4], module.first.bias[4] = 0, 0
    found, values, tap = without_each(module, x, "first", 2)
    assert torch.equal(found[:, 4], values)
    assert (found[:, :4] != values[:, None]).all()
    assert found.shape == tap.activation.shape[:2]
    assert found.dtype == torch.float64


def test_the_network_can_be_asked_again_as_it_was():
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    score = Score(module, "class_score(1)")
    before = score(x)
    for _ in range(2):
        (tap,) = score.tap(x, ["second"]).taps
        first, second = (ablated(score.freeze(x)[1], x, tap, before).values for _ in range(2))
        assert torch.equal(first, second)
    assert torch.equal(score(x), before)
