"""Ablation-CAM: each channel zeroed by hand, the closed form where all that follows is linear, tokens, and the cost."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import KINDS, Awkward, batch, seeded, target_for
from voxplain.methods.ablation_cam import AblationCam
from voxplain.score.model import Model
from voxplain.score.score import Score


def close(found, expected, rtol=1e-10, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def by_hand(module, score, x, layer):
    """Map (1, *cells) of one sample: the network run once more for each channel, which a hook sets to zero."""
    (tap,) = score.tap(x, [layer]).taps
    clean, frozen = score.freeze(x)
    cam = torch.zeros_like(tap.activation[:, :1])
    part = frozen.model.module.get_submodule(layer)
    for channel in range(tap.activation.shape[1]):
        mask = torch.ones(tap.activation.shape[1], dtype=x.dtype)
        mask[channel] = 0
        mask = mask.reshape(-1, *[1] * (x.ndim - 2))
        handle = part.register_forward_hook(lambda m, i, o, mask=mask: o * mask)
        cam += (clean - frozen(x)) * tap.activation[:, channel : channel + 1]
        handle.remove()
    return cam


@pytest.mark.parametrize(("rank", "task"), KINDS)
@pytest.mark.parametrize("layer", ["second", "first", "drop"])
def test_a_channel_weighs_the_fall_of_the_score_without_it(rank, task, layer):
    module, x = seeded(Awkward, rank, task), batch(rank)
    found = AblationCam(layer=layer, relu=False)(Score(module, target_for(task)), x).values
    for n in range(len(x)):
        close(found[n : n + 1], by_hand(module, Score(module, target_for(task)), x[n : n + 1], layer))


def test_layers_with_and_without_the_closed_form_come_together():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    score = Score(module, "class_score")
    found = AblationCam(layer=("drop", "second"), relu=False)(score, x)
    (second,) = found.siblings
    assert len(found.classes.unique()) > 1
    linear, played = found.notes
    assert linear == "all after layer 'drop' is linear: what each channel adds was read from its gradient"
    for one in (found, second):
        alone = AblationCam(layer=one.layer, relu=False)(score, x)
        close(one.values, alone.values)
    assert played.startswith("each channel ran on from layer 'second': 0.00")
    assert AblationCam(layer="second")(score, x).notes == (played,)


def test_the_class_stays_that_of_the_whole_image_also_where_a_channel_decides():
    module, x = seeded(Awkward, 2, "classification", seed=3), batch(2, count=6, seed=5) * 3
    found = AblationCam(layer="second", relu=False)(Score(module, "class_score"), x)
    for n, winner in enumerate(module(x).argmax(1).tolist()):
        fixed = Score(module, f"class_score({winner})")
        close(found.values[n : n + 1], by_hand(module, fixed, x[n : n + 1], "second"))


@pytest.mark.parametrize("rank", [2, 3])
def test_weights_before_pooling_and_a_linear_layer_sum_to_the_score_less_the_bias(rank):
    module, x = seeded(Awkward, rank, "classification"), batch(rank)
    score = Score(module, "class_score(1)")
    (tap,) = score.tap(x, ["drop"]).taps
    means = tap.activation.flatten(2).mean(2)
    weights = module.head.weight[1].detach() * means
    close(weights.sum(1), score(x) - module.head.bias[1].detach())
    expected = (weights.reshape(*weights.shape, *[1] * rank) * tap.activation).sum(1, keepdim=True)
    close(AblationCam(layer="drop", relu=False)(score, x).values, expected)


def test_a_negative_score_does_not_turn_the_map_upside_down():
    """The paper's division by the score would: a constant added to the logit must not change the map."""
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    before = AblationCam(layer="second", relu=False)(Score(module, "class_score(1)"), x)
    with torch.no_grad():
        module.head.bias[1] -= 100
    after = AblationCam(layer="second", relu=False)(Score(module, "class_score(1)"), x)
    assert (before.score > -50).all()
    assert (after.score < -50).all()
    close(after.values, before.values, atol=1e-11)


class Tuple(nn.Module):
    """A layer that gives a tuple, and a ReLU in place behind it."""

    def __init__(self):
        super().__init__()
        self.pair = self.Pair()
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3)

        def forward(self, x):
            return self.conv(x), x.mean()

    def forward(self, x):
        features, mean = self.pair(x)
        return self.head(self.act(features).flatten(2).mean(2) + mean)


def test_a_layer_that_gives_a_tuple_is_ablated_in_its_first_part():
    module, x = seeded(Tuple), batch(2)
    whole = AblationCam(layer="pair", relu=False)(Score(module, "class_score(0)"), x).values
    close(whole, AblationCam(layer="pair.conv", relu=False)(Score(module, "class_score(0)"), x).values)


class Tokens(nn.Module):
    """A patch embedding, a class token, and a block on rows of tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(2, 4, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.block, self.norm, self.head = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        rows = self.embed(x).flatten(2).transpose(1, 2)
        rows = torch.cat([self.token.expand(len(x), -1, -1), rows], 1)
        rows = self.block(rows)
        mixed = (rows @ rows.transpose(1, 2)).softmax(2) @ rows
        return self.head(self.norm(mixed)[:, 0])


def test_channels_of_tokens_are_zeroed_at_the_places_of_the_map_only():
    module, x = seeded(Tokens), batch(2)[:, :, :, :8]
    score = Score(module, "class_score(1)")
    found = AblationCam(layer="block", relu=False)(score, x).values
    assert found.shape == (2, 1, 4, 4)
    (tap,) = score.tap(x, ["block"]).taps
    expected = torch.zeros_like(found)
    for channel in range(4):

        def hook(m, i, o, channel=channel):
            o = o.clone()
            o[:, 1:, channel] = 0
            return o

        handle = module.block.register_forward_hook(hook)
        expected += (score(x) - module(x)[:, 1].detach()).reshape(-1, 1, 1, 1) * tap.activation[:, [channel]]
        handle.remove()
    close(found, expected)


def test_channels_that_are_zero_anyway_are_not_run():
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    with torch.no_grad():
        for part in (module.first.weight, module.first.bias):
            part[2] = 0
    score = Score(module, "class_score(0)")
    found = AblationCam(layer="first", relu=False)(score, x).values
    assert score.ledger.forwards == 2 * (3 + 5) + 1
    close(found[:1], by_hand(module, Score(module, "class_score(0)"), x[:1], "first"))
    with torch.no_grad():
        module.first.weight.zero_()
        module.first.bias.zero_()
    assert AblationCam(layer="first")(Score(module, "class_score(0)"), x).values.abs().max() == 0


def test_it_works_on_modules_of_its_own():
    """While channels are zeroed, other passes through the user's prepared network see nothing of it."""
    model, x = Model.of(seeded(Awkward, 2, "classification")), batch(2)
    clean, seen = model(x), []

    class Spying(Score):
        def stream(self, count, make, **options):
            for piece in super().stream(count, make, **options):
                seen.append(torch.equal(model(x), clean))
                yield piece

    AblationCam(layer="second")(Spying(model, "class_score(0)", chunk=5), x)
    assert len(seen) > 1
    assert all(seen)
    assert not any(part._forward_hooks for part in model.module.modules())


def test_weights_are_not_copied_for_it():
    model = Model.of(seeded(Awkward, 2, "classification"))
    used = []

    class Spying(Score):
        def stream(self, count, make, **options):
            used.extend(self.model.module.parameters())
            return super().stream(count, make, **options)

    AblationCam(layer="second")(Spying(model, "class_score(0)"), batch(2))
    assert {id(part) for part in used} == {id(part) for part in model.module.parameters()}


# --- cost ----------------------------------------------------------------------------------------------------------


def forwards(layer, rank=2, module=None):
    model, x = Model.of(module or seeded(Awkward, rank, "classification")), batch(rank, count=3)
    with FlopCounterMode(display=False) as one:
        model(x[:1])
    with FlopCounterMode(display=False) as whole:
        AblationCam(layer=layer)(Score(model, "class_score"), x)
    return whole.get_total_flops() / one.get_total_flops() / 3


@pytest.mark.parametrize("rank", [2, 3])
def test_the_closed_form_costs_one_forward(rank):
    assert forwards("drop", rank) == pytest.approx(1.0, abs=0.02)


def test_elsewhere_it_costs_what_follows_the_layer_a_channel():
    # The clean scores, the tap and the recording of each of 3 samples, and one channel that is looked at.
    assert forwards("second") == pytest.approx(3 + 1 / 3, abs=0.05)


class Hidden(nn.Module):
    """A network whose way depends on values, so that it cannot be followed."""

    def __init__(self):
        super().__init__()
        self.inner = seeded(Awkward, 2, "classification")

    def forward(self, x):
        output = self.inner(x)
        return output if output.mean().item() > -1e9 else -output


def test_where_it_cannot_be_followed_it_costs_a_forward_a_channel():
    cost = forwards("inner.second", module=Hidden())
    assert 2 + 6 < cost < 3 + 6 + 0.2  # a recording that failed may have taken another
