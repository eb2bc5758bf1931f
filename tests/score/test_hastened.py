"""Convolutions of few channels give what torch's own give, forward and back, and are seen as one operation."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.nets import seeded
from voxplain.methods import method
from voxplain.score import hastened
from voxplain.score.execution import AS_IT_IS
from voxplain.score.model import Model
from voxplain.score.rules import DERIVATIVE, recorded
from voxplain.score.score import Score

EXACT = {"rtol": 1e-12, "atol": 1e-12}
"""Sums of at most 7^3 x 5 products of numbers near 1, in another order."""

ONE_DNN = {"rtol": 1e-4, "atol": 1e-4}
"""Sums of about a thousand products of numbers near 1 in single precision."""

SINGLE = {"rtol": 1e-4, "atol": 2e-5}
"""The same in single precision, through two layers."""


def geometries(count: int):
    draw = np.random.default_rng(0)
    for number in range(count):
        rank = 2 + number % 2
        kernel, stride = draw.integers(1, 8, rank), draw.integers(1, 5, rank)
        padding = [int(draw.integers(0, length // 2 + 2)) for length in kernel]
        sides = [int(draw.integers(max(length, 3), 15)) for length in kernel]
        yield int(draw.integers(1, 5)), kernel.tolist(), stride.tolist(), padding, sides


@pytest.mark.parametrize("case", list(geometries(120)), ids=str)
def test_equals_the_convolution_forward_and_back(case):
    channels, kernel, stride, padding, sides = case
    x = torch.randn(2, channels, *sides, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(5, channels, *kernel, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = (torch.conv2d if len(sides) == 2 else torch.conv3d)(x, weight, bias, stride, padding)
    gradient = torch.randn_like(expected)
    (back,) = torch.autograd.grad(expected, x, gradient)
    torch.testing.assert_close(hastened.forward(x.detach(), weight, bias, stride, padding), expected, **EXACT)
    torch.testing.assert_close(hastened.backward(gradient, weight, sides, stride, padding), back, **EXACT)


@pytest.mark.parametrize(("channels", "stride"), [(1, 1), (1, 2), (5, 1), (16, 1), (16, 2)])
@pytest.mark.parametrize("sides", [(25, 26), (9, 10, 11)], ids=len)
def test_small_single_samples_go_to_onednn_and_stay_the_same(sides, channels, stride):
    x = torch.randn(1, channels, *sides, requires_grad=True)
    rank = len(sides)
    weight, bias = torch.randn(6, channels, *[3] * rank), torch.randn(6)
    plain, own = ((torch.conv2d, hastened.conv2d), (torch.conv3d, hastened.conv3d))[rank - 2]
    geometry = (stride,) * rank, (1,) * rank, (1,) * rank, 1
    assert hastened.left_out(x, weight)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        found = own(x, weight, bias, *geometry)
        gradient = torch.randn_like(found)
        (back,) = torch.autograd.grad(found, x, gradient)
    with torch.no_grad():  # whether a gradient is wanted does not change the way there
        assert torch.equal(own(x, weight, bias, *geometry), found)
    assert not {"aten::_slow_conv2d_forward", "aten::slow_conv3d_forward"} & {
        event.key for event in seen.key_averages()
    }
    expected = plain(x, weight, bias, *geometry)
    torch.testing.assert_close(found, expected, **ONE_DNN)
    torch.testing.assert_close(back, torch.autograd.grad(expected, x, gradient)[0], **ONE_DNN)


def test_larger_samples_and_batches_are_not_left_out():
    weight = torch.randn(4, 16, 3, 3, 3)
    assert hastened.left_out(torch.randn(1, 16, 32, 32, 40), weight)
    assert not hastened.left_out(torch.randn(1, 16, 36, 36, 1), weight)
    assert not hastened.left_out(torch.randn(1, 16, 3, 4, 5), weight)
    assert not hastened.left_out(torch.randn(2, 16, 8, 8, 8), weight)
    assert not hastened.left_out(torch.randn(1, 16, 8, 8, 8), torch.randn(4, 16, 5, 5, 5))


class First(nn.Module):
    """A first layer of few channels, and a smooth rest, so that rounding stays rounding."""

    def __init__(self, rank, channels=3, stride=2):
        super().__init__()
        layer = nn.Conv2d if rank == 2 else nn.Conv3d
        self.first = layer(channels, 6, 5, stride=stride, padding=2)
        self.second = layer(6, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.second(torch.tanh(self.first(x)))
        return self.head(torch.tanh(x).flatten(2).mean(2))


def image(rank, channels=3, side=18):
    return torch.randn(2, channels, *[side] * rank, generator=torch.Generator().manual_seed(1))


CASES = list(product((2, 3), (1, 3, 4), (1, 2)))


@pytest.mark.parametrize(("rank", "channels", "stride"), CASES)
@pytest.mark.parametrize("spec", ["gradient", "integrated_gradients(steps=4)", "lrp(composite='epsilon_plus')"])
def test_the_prepared_network_uses_it_and_maps_stay_the_same(rank, channels, stride, spec):
    network, x = seeded(First, rank, channels, stride).float(), image(rank, channels)
    called, original = [], hastened._kernel
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hastened, "_kernel", lambda *given: called.append(1) or original(*given))
        fast = method(spec)(Score(Model.of(network), "class_score(1)"), x)
        assert called
        called.clear()
        plain = method(spec)(Score(Model.of(network, execution=AS_IT_IS), "class_score(1)"), x)
        assert not called
    torch.testing.assert_close(fast.values, plain.values, **SINGLE)


def test_a_tape_of_rules_sees_one_convolution():
    network, x = seeded(First, 3, 4).float(), image(3, 4).requires_grad_()
    hastened.hasten(network)
    with recorded() as tape:
        output = network(x)
    names = []
    with pytest.MonkeyPatch.context() as patch:
        answer = type(tape.current).answer
        patch.setattr(
            type(tape.current),
            "answer",
            lambda met, operation, grads: names.append(operation.name) or answer(met, operation, grads),
        )
        (found,), _ = tape.gradients(DERIVATIVE, output, output[:, 0], [x])
    assert names.count("conv3d") == 2
    torch.testing.assert_close(found, torch.autograd.grad(seeded(First, 3, 4).float()(x)[:, 0].sum(), x)[0], **SINGLE)


def test_who_counts_operations_sees_the_plain_one():
    plain, fast, x = seeded(First, 3, 4).float(), seeded(First, 3, 4).float(), image(3, 4)
    hastened.hasten(fast)

    def cost(network):
        with FlopCounterMode(display=False) as counter:
            network(x.requires_grad_())[:, 0].sum().backward()
        return counter.get_total_flops()

    assert cost(fast) == cost(plain)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(3, 4, 3),
        nn.Conv1d(3, 4, 3),
    ],
    ids=str,
)
def test_other_layers_are_left_alone(layer):
    hastened.hasten(layer)
    assert "forward" not in vars(layer)


def test_windows_of_four_channels_in_3d_are_played_back_exactly():
    network, x = seeded(First, 3, 4, 1).float(), image(3, 4)
    spec = "occlusion(window=6, stride=6, engine='{}')"
    maps = [
        method(spec.format(engine))(Score(Model.of(network), "class_score(1)"), x)
        for engine in ("dense", "incremental")
    ]
    assert any("incremental" in note for note in maps[1].notes)
    torch.testing.assert_close(maps[1].values, maps[0].values, **SINGLE)


def test_maps_of_a_network_with_group_norms_are_as_near_the_truth_as_the_eager_ones():
    nets = pytest.importorskip("monai.networks.nets")
    network, x = seeded(nets.SegResNet, 3, 8, 4, 3).float(), image(3, 4, 24)[:1]
    spec = "region(1, over='whole')"
    truth = method("gradient")(Score(Model.of(copy.deepcopy(network).double()), spec), x.double()).values
    far = [
        float((method("gradient")(Score(Model.of(network, **how), spec), x).values - truth).abs().median())
        for how in ({}, {"execution": AS_IT_IS})
    ]
    assert far[0] <= 3 * far[1]  # channels last it was ten times
