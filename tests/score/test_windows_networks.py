"""Windows played back in parts on the networks of torchvision, timm and MONAI give what whole forwards give."""

import pytest
import torch
from torch import nn

from tests.score.test_windows import CLOSE, CLOSE_SINGLE, both, holds, image, tiles

pytestmark = pytest.mark.slow

torchvision = pytest.importorskip("torchvision")


def lively(build, seed: int = 0) -> nn.Module:
    """A float64 network whose signals neither die out nor overflow on the way, so that each window matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build().double().eval()
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.reset_running_stats()
                part.weight.data.uniform_(0.7, 1.3)
                part.bias.data.normal_(0, 0.2)
    return module


def settled(module, x):
    """The network with batch statistics of one noisy image, as training would have left them."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        module(torch.cat([x, x.flip(2), x.roll(5, 3)]))
    return module.eval()


PLANAR = """
    resnet18 vgg11 densenet121 squeezenet1_1 mobilenet_v2 mobilenet_v3_small efficientnet_b0 googlenet inception_v3
    shufflenet_v2_x1_0 regnet_y_400mf mnasnet0_5 convnext_tiny resnext50_32x4d
""".split()  # noqa: SIM905 - a list of words


@pytest.mark.parametrize("name", PLANAR)
def test_torchvision(name):
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    x = image((1, 3, 95, 90))
    network = settled(lively(lambda: torchvision.models.get_model(name, weights=None, **extra)), x)
    places = tiles((95, 90), (16, 9))
    holds(network, x, [*places[:2], places[17], places[22], places[-8], *places[-2:]])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xception41", {}),
        ("resnet26", {"output_stride": 8}),
        ("resnext26ts", {}),
        ("hrnet_w18_small", {}),
        ("dla34", {}),
        ("repvgg_a0", {}),
        ("darknet21", {}),
        ("resnetblur18", {}),
        ("res2net50_26w_4s", {}),
        ("convnextv2_atto", {}),
    ],
)
def test_timm(name, options):
    timm = pytest.importorskip("timm")
    x = image((1, 3, 96, 96))
    network = settled(lively(lambda: timm.create_model(name, **options)), x)
    places = tiles((96, 96), (16, 9))
    holds(network, x, [*places[:2], places[17], places[22], *places[-2:]])


def volumes():
    nets = pytest.importorskip("monai.networks.nets")
    return {
        "resnet18": (lambda: nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=3), "class_score(1)"),
        "resnet10, shortcut A": (
            lambda: nets.resnet10(spatial_dims=3, n_input_channels=1, num_classes=3, shortcut_type="A"),
            "class_score(1)",
        ),
        "densenet121": (lambda: nets.DenseNet121(3, 1, 3), "class_score(1)"),
        "unet, batch": (lambda: nets.UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=2, norm="batch"), "region(1)"),
        "unet, instance": (lambda: nets.UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=2), "region(1)"),
        "basic unet": (lambda: nets.BasicUNet(3, 1, 2, (4, 4, 8, 8, 8, 4), norm="batch"), "region(1)"),
        "segresnet": (lambda: nets.SegResNet(3, init_filters=8, in_channels=1, out_channels=2), "region(1)"),
        "segresnet, batch": (
            lambda: nets.SegResNet(3, init_filters=8, in_channels=1, out_channels=2, norm="batch"),
            "region(1)",
        ),
        "dynunet": (
            lambda: nets.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], norm_name="batch", filters=[4, 8, 8]),
            "region(1)",
        ),
        "senet": (lambda: nets.SEResNet50(spatial_dims=3, in_channels=1, num_classes=3), "class_score(1)"),
        "efficientnet": (
            lambda: nets.EfficientNetBN("efficientnet-b0", spatial_dims=3, in_channels=1, num_classes=3),
            "class_score(1)",
        ),
    }


@pytest.mark.parametrize("name", volumes())
def test_monai(name):
    build, target = volumes()[name]
    side = 32
    x = image((1, 1, side, side, side))
    network = settled(lively(build), x)
    places = tiles((side,) * 3, (8, 7, 9))
    few = [places[0], places[3], places[len(places) // 2 + 7], places[-1]]
    holds(network, x, few, target=target if target[0] == "c" else "region(1, over='whole')")


@pytest.mark.parametrize("size", [64, 127])
def test_single_precision_of_resnet(size):
    x = image((1, 3, size, size), dtype=torch.float32)
    network = settled(lively(torchvision.models.resnet18), x.double()).float()
    dense, found, score, _ = both(network, x, tiles((size, size), (16, 16), (12, 12)))
    assert score.ledger.fallbacks == []
    assert float((dense - found).abs().max()) <= CLOSE_SINGLE * float(dense.abs().max())


def test_every_residue_of_resnet():
    x = image((1, 3, 72, 72))
    network = settled(lively(torchvision.models.resnet18), x)
    places = [(slice(n, n + 5), slice(40 - n, 45 - n)) for n in range(33)]
    holds(network, x, places, close=CLOSE)
