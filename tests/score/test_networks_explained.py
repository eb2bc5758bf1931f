"""The source studies' networks under the engine: rules, taps, gradients and the prepared copy, on tiny pictures."""

import pytest
import torch

from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.networks import (
    deepseg_unet,
    deepseg_unet_small,
    grey_resnet,
    pumpkin_net,
    squeezenet_views,
    transfer,
)
from voxplain.score.score import Score

EXACT = 1e-9
"""Share of the largest value by which maps of the prepared copy and of the network as it is may differ in float64."""

CASES = {
    "pumpkin_net": (pumpkin_net, {"bias": 55.0}, (1, 98, 98), "regression"),
    "pumpkin_net with norms": (pumpkin_net, {"batch_norm": True}, (1, 98, 98), "regression"),
    "pumpkin_net with classes": (pumpkin_net, {"classes": 2}, (1, 98, 98), "class_score(1)"),
    "grey_resnet": (grey_resnet, {"size": 65}, (1, 65, 65), "class_score(1)"),
    "squeezenet_views": (squeezenet_views, {"size": 67}, (3, 67, 67), "class_score(1)"),
    "transfer": (transfer, {"backbone": "resnet18", "head": "grade", "size": 96}, (3, 96, 96), "class_score(1)"),
    "transfer, best": (transfer, {"backbone": "resnet18", "head": "best"}, (3, 64, 64), "class_score(1)"),
    "deepseg_unet": (deepseg_unet, {"filters": 2, "channels": 2}, (2, 32, 32, 32), "region(1, over='whole')"),
    "deepseg_unet_small": (deepseg_unet_small, {"channels": 2}, (2, 8, 16, 8), "region(1, over='whole')"),
}
SLOW = {
    "grey_resnet of 50": (grey_resnet, {"depth": 50, "size": 64}, (1, 64, 64), "class_score(1)"),
    "xception": (transfer, {"backbone": "xception"}, (3, 96, 96), "class_score(1)"),
    "densenet201": (transfer, {"backbone": "densenet201"}, (3, 64, 64), "class_score(1)"),
    "resnet50v2": (transfer, {"backbone": "resnet50v2"}, (3, 64, 64), "class_score(1)"),
    "inception_v3": (transfer, {"backbone": "inception_v3"}, (3, 128, 128), "class_score(1)"),
}
METHODS = ("gradient", "grad_cam(relu=False)", "guided_backprop", "lrp", "deep_lift")
ALL = [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def scores(name):
    """The network with statistics of its own in float64, prepared and as it is, and a picture."""
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    build, options, shape, target = (CASES | SLOW)[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build(**options).double()
        for part in module.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 1.5)
        x = torch.rand(1, *shape, dtype=torch.float64)
    model = Model.of(module.eval(), head="regression" if target == "regression" else "auto")
    return [Score(model.run_as(prepared=on), target) for on in (True, False)], x


@pytest.mark.parametrize("name", ALL)
def test_maps_of_the_prepared_copy_are_those_of_the_network(name):
    (prepared, plain), x = scores(name)
    for spec in METHODS:
        found, expected = (method(spec)(score, x).values for score in (prepared, plain))
        largest = expected.abs().max()
        assert largest > 0, spec
        assert (found - expected).abs().max() <= EXACT * largest, spec


@pytest.mark.parametrize(
    "name", ["pumpkin_net", "pumpkin_net with norms", "grey_resnet", "squeezenet_views", "transfer"]
)
def test_incremental_occlusion_equals_whole_passes(name):
    (prepared, _), x = scores(name)
    found, whole = (
        method(f"occlusion(window=24, engine={engine!r})")(prepared, x) for engine in ("incremental", "dense")
    )
    assert whole.values.abs().max() > 0
    assert (found.values - whole.values).abs().max() <= EXACT * float(prepared(x).abs().max())


def test_layers_of_the_unet_are_tapped_by_the_names_of_the_source():
    (prepared, plain), x = scores("deepseg_unet_small")
    names = ["conv3d", *(f"conv3d_{number}" for number in range(1, 15)), "output_layer"]
    found, expected = (score.tap(x, names) for score in (prepared, plain))
    assert [tap.layer for tap in found.taps] == names
    for one, other in zip(found.taps, expected.taps, strict=True):
        assert (one.activation - other.activation).abs().max() <= EXACT * other.activation.abs().max()


def test_the_relevance_of_an_age_sums_to_its_distance_from_the_bias():
    (score, _), x = scores("pumpkin_net")
    relevance = method("lrp")(score, x).values.sum()
    assert torch.allclose(relevance, (score(x)[0] - 55.0).to(relevance.dtype), rtol=1e-4)
