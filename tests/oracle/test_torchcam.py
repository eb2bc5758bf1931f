"""Parity of Grad-CAM, LayerCAM and Score-CAM with torch-cam, not normalised, in float64, 2D and 3D."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.nets import batch, seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.score.score import Score

RELATIVE = 1e-9
"""Float64 sums in another order differ by about 1e-15 a term; a thousandfold of a thousand terms is still far below."""

methods = pytest.importorskip("torchcam.methods")
core = pytest.importorskip("torchcam.methods.core")


def resnet_2d():
    torchvision = pytest.importorskip("torchvision")
    return seeded(torchvision.models.resnet18, num_classes=3), batch(2, channels=3, side=40), "layer2"


def resnet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    options = {"layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 16, 32], "spatial_dims": 3, "n_input_channels": 1}
    return seeded(nets.ResNet, block="basic", num_classes=3, **options), batch(3, channels=1, side=20), "layer2"


class Even(nn.Module):
    """Cells of two voxels a side that tile the input, as torch-cam takes them to."""

    def __init__(self, rank):
        super().__init__()
        self.halve = {2: nn.Conv2d, 3: nn.Conv3d}[rank](2, 5, 2, stride=2)
        self.act, self.head = nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.act(self.halve(x)).flatten(2).mean(2).tanh())


def theirs(name, module, layer, x, index):
    """Its raw map (batch, 1, *cells), cut below zero."""
    with getattr(methods, name)(module, layer, input_shape=tuple(x.shape[1:])) as extractor:
        scores = module(x)
        (found,) = extractor(index, scores, normalized=False)
    return found.detach()[:, None]


def ours(spec, module, x, index):
    return method(spec)(Score(module, f"class_score({index})"), x).values


def assert_same(method_name, found, expected):
    agreement.assert_same(method_name, "torchcam", found, expected)


@pytest.mark.parametrize("build", [resnet_2d, resnet_3d])
@pytest.mark.parametrize(("name", "their_name"), [("grad_cam", "GradCAM"), ("layer_cam", "LayerCAM")])
def test_grad_cam_and_layer_cam(build, name, their_name):
    module, x, layer = build()
    assert_same(name, ours(f"{name}(layer={layer!r})", module, x, 1), theirs(their_name, module, layer, x, 1))


def test_grad_cam_pp_of_torchcam_loses_its_denominator():
    """torch-cam 0.5 divides a copy (`alpha[mask].div_(...)`), so that its alphas stay the squared gradients."""
    module, x = seeded(Even, 2), batch(2)
    (tap,) = Score(module, "class_score(0)").tap(x, ["act"]).taps
    squared = (tap.gradient**2 * tap.gradient.relu()).sum((2, 3), keepdim=True)
    expected = (squared * tap.activation).sum(1, keepdim=True).relu()
    assert agreement.relative_gap(theirs("GradCAMpp", module, "act", x, 0), expected) <= agreement.RELATIVE
    ours_undivided = ours("grad_cam_pp(layer='act')", module, x, 0)
    assert not torch.allclose(ours_undivided / ours_undivided.max(), expected / expected.max(), rtol=1e-2)


@pytest.mark.parametrize("rank", [2, 3])
def test_score_cam(rank, monkeypatch):
    """It scales the coarse channel to 0..1, with 1e-8 in the denominator; we, as the paper, the enlarged one."""
    module, x = seeded(Even, rank), batch(rank, side=6)[..., : 8 if rank == 2 else 6]
    mode = {2: "bilinear", 3: "trilinear"}[rank]

    def exact(channels, dimensions, eps=0.0):
        wide = functional.interpolate(channels, x.shape[2:], mode=mode, align_corners=False).flatten(2)
        low, high = (part.reshape(*part.shape, *[1] * rank) for part in (wide.amin(2), wide.amax(2)))
        return (channels - low) / (high - low)

    monkeypatch.setattr(core._CAM, "_normalize", staticmethod(exact))
    expected = theirs("ScoreCAM", module, "act", x, 2)
    assert_same("score_cam", ours("score_cam(layer='act', weights='softmax')", module, x, 2), expected)
