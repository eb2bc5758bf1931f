"""What follows a layer, played alone on the networks of torchvision and MONAI, gives what whole forwards give."""

import pytest
import torch

from tests.score.test_suffix import holds
from tests.score.test_windows_networks import lively, settled

pytestmark = pytest.mark.slow

torchvision = pytest.importorskip("torchvision")

SOME = 3
"""Channels that are enough to tell a wrong way."""


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4", "layer3.0.conv1"]),
        ("densenet121", ["features.denseblock3", "features.denseblock4.denselayer3"]),
        ("vgg11", ["features.10", "features.18"]),
        ("mobilenet_v2", ["features.10", "features.18"]),
        ("squeezenet1_1", ["features.7", "features.12"]),
    ],
)
def test_torchvision(monkeypatch, name, layers):
    x = noise(2, 3, 64, 64)
    network = settled(lively(lambda: torchvision.models.get_model(name, weights=None)), x)
    for layer in layers:
        holds(monkeypatch, network, x, layer, some=SOME)


def test_layers_of_tokens(monkeypatch):
    x = noise(2, 3, 64, 64)
    rows = lively(lambda: torchvision.models.VisionTransformer(64, 8, 4, 4, 64, 128))
    torch.nn.init.normal_(rows.heads.head.weight)
    for layer in ("encoder.layers.encoder_layer_1", "encoder.layers.encoder_layer_3.ln_1"):
        holds(monkeypatch, rows, x, layer, some=SOME)
    windows = lively(lambda: torchvision.models.swin_t(weights=None))
    for layer in ("features.1", "features.5.2", "features.7"):
        holds(monkeypatch, windows, x, layer, some=SOME)


@pytest.mark.parametrize(
    ("build", "layers", "target"),
    [
        (lambda nets: nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=3), ["layer2"], "class_score(1)"),
        (lambda nets: nets.DenseNet121(3, 1, 3), ["features.denseblock2"], "class_score(1)"),
        (
            lambda nets: nets.UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=2),
            ["model.0", "model.1.submodule.0", "model.1"],
            "region(1, over='whole')",
        ),
        (lambda nets: nets.SegResNet(3, 8, 1, 2), ["down_layers.1", "up_layers.0"], "region(1, over='whole')"),
    ],
)
def test_monai(monkeypatch, build, layers, target):
    nets = pytest.importorskip("monai.networks.nets")
    x = noise(2, 1, 32, 32, 32)
    network = settled(lively(lambda: build(nets)), x)
    for layer in layers:
        holds(monkeypatch, network, x, layer, target, some=SOME)
