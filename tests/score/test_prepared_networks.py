"""Prepared networks of torchvision, timm and MONAI: the same maps in float64, and no worse ones in float32."""

import statistics

import pytest
import torch
from torch import nn

from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score

EXACT = 1e-9
"""Share of the largest value (of the score, where a map subtracts scores) by which float64 maps may differ."""

FORWARD = 1e-5
"""Share of the largest output by which float32 outputs may differ."""

WORSE = 1.1
"""Both float32 gradients lie where the signs of small pre-activations put them, which is chance: a tenth either way."""

CASES = 12

METHODS = (
    "gradient", "integrated_gradients(steps=2)", "smoothgrad(samples=2)", "grad_cam(relu=False)", "full_grad",
    "guided_backprop", "lrp", "deep_lift", "occlusion(window=24)",
)  # fmt: skip

NETWORKS = {
    "torchvision.resnet18": (20, (3, 64, 64)),
    "torchvision.densenet121": (59, (3, 64, 64)),
    "torchvision.mobilenet_v2": (52, (3, 64, 64)),
    "torchvision.efficientnet_b0": (49, (3, 64, 64)),
    "timm.legacy_xception": (40, (3, 64, 64)),
    "timm.regnety_002": (44, (3, 64, 64)),
    "monai.resnet18": (20, (1, 32, 32, 32)),
    "monai.densenet121": (59, (1, 32, 32, 32)),
    "monai.unet": (6, (1, 32, 32, 32)),
    "torchvision.swin_t": (0, (3, 64, 64)),
    "timm.vit_tiny_patch16_224": (0, (3, 224, 224)),
}
"""Network -> norms that are folded, and the shape of one image."""


def built(name: str) -> nn.Module:
    home, _, kind = name.partition(".")
    if home == "torchvision":
        module = pytest.importorskip("torchvision").models.get_model(kind)
    elif home == "timm":
        module = pytest.importorskip("timm").create_model(kind)
    else:
        nets = pytest.importorskip("monai.networks.nets")
        three = {"spatial_dims": 3}
        if kind == "resnet18":
            module = nets.resnet18(**three, n_input_channels=1, num_classes=3)
        elif kind == "densenet121":
            module = nets.DenseNet121(**three, in_channels=1, out_channels=3)
        else:
            sizes = {"channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 1}
            module = nets.UNet(**three, in_channels=1, out_channels=3, norm="BATCH", **sizes)
    return module


def used(name: str) -> nn.Module:
    """The network as after training: norms that keep signals alive, with statistics and weights of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = built(name)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        for part in norms:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
            part.momentum = 1.0
        if norms:
            module.train()(torch.randn(2, *NETWORKS[name][1]))  # measures the statistics
        for part in norms:
            part.running_mean += 0.3 * part.running_var.sqrt() * torch.randn(part.num_features)
            part.running_var *= torch.empty(part.num_features).uniform_(0.5, 2)
    return module.eval()


def image(shape, seed=0):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scores(name, dtype):
    target = "region(1, over='whole')" if name == "monai.unet" else "class_score(1)"
    module = used(name).to(dtype)
    return [Score(Model.of(module).run_as(prepared=on), target) for on in (True, False)]


@pytest.mark.slow
@pytest.mark.parametrize("spec", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_the_same_in_float64(name, spec):
    folded, shape = NETWORKS[name]
    prepared, plain = scores(name, torch.float64)
    found, expected = (method(spec)(score, image(shape)) for score in (prepared, plain))
    largest = max(float(expected.values.abs().max()), float(expected.score.abs()) if "occlusion" in spec else 0.0)
    assert float((found.values - expected.values).abs().max()) <= EXACT * largest
    assert largest > 0 or folded == 0
    if spec != "full_grad":  # reads the network's own norms
        assert bool(prepared.model.remarks) == (folded > 0)
        assert prepared.model.remarks[:1] == (
            (f"{folded} batch norms ran as part of the layer before, which changes rounding only",) if folded else ()
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_the_same_in_float32(name):
    prepared, plain = scores(name, torch.float32)
    x = image(NETWORKS[name][1]).float()
    found, expected = prepared.output(x), plain.output(x)
    assert float((found - expected).abs().max()) <= FORWARD * float(expected.abs().max())


@pytest.mark.slow
def test_several_layers_read_at_once_are_the_same():
    prepared, plain = scores("torchvision.resnet18", torch.float64)
    layers = ["layer1.0.conv1", "layer2.1.bn2", "layer3", "layer4.1", "conv1"]
    found, expected = (score.tap(image((3, 64, 64)), layers) for score in (prepared, plain))
    for one, other in zip(found.taps, expected.taps, strict=True):
        for a, b in ((one.activation, other.activation), (one.gradient, other.gradient)):
            assert float((a - b).abs().max()) <= EXACT * float(b.abs().max())


@pytest.mark.slow
def test_float32_gradients_are_no_further_from_the_truth_than_those_of_the_network_as_it_is():
    name, shape = "torchvision.resnet18", (3, 64, 64)
    prepared, plain = scores(name, torch.float32)
    _, truth = scores(name, torch.float64)
    away = {True: [], False: []}
    for seed in range(CASES):
        x = image(shape, seed).float()
        exact = truth.grad(x.double()).gradient
        for on, score in ((True, prepared), (False, plain)):
            away[on].append(float((score.grad(x).gradient - exact).norm() / exact.norm()))
    assert statistics.median(away[True]) <= WORSE * statistics.median(away[False])
