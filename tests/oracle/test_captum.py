"""Parity with Captum in float64, on networks of torchvision and MONAI in 2D and 3D."""

import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, LayerGradCam, Occlusion, Saliency

from tests.nets import seeded
from tests.oracle.agreement import assert_same
from voxplain.methods import method
from voxplain.score.score import Score


def resnet_2d():
    torchvision = pytest.importorskip("torchvision")
    return seeded(torchvision.models.resnet18, num_classes=3), (2, 3, 64, 48), "layer3"


def resnet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    options = {"layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 16, 32], "spatial_dims": 3, "n_input_channels": 1}
    return seeded(nets.ResNet, block="basic", num_classes=3, **options), (2, 1, 24, 20, 22), "layer2"


def densenet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    options = {"init_features": 8, "growth_rate": 4, "block_config": (2, 2, 2)}
    return (
        seeded(nets.DenseNet, spatial_dims=3, in_channels=2, out_channels=3, **options),
        (2, 2, 32, 32, 24),
        "features.norm5",
    )


networks = pytest.mark.parametrize("build", [resnet_2d, resnet_3d, densenet_3d])


def inputs(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.fixture
def unrounded(monkeypatch):
    """Captum rounds quadrature weights and occlusion maps to float32; lifted, it computes in float64 throughout."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@networks
def test_gradient(build):
    module, shape, _ = build()
    x = inputs(shape)
    ours = method("gradient")(Score(module, "class_score(1)"), x).values
    theirs = Saliency(module).attribute(x.clone().requires_grad_(), target=1, abs=False)
    assert_same("gradient", "Captum", ours, theirs.detach())


@networks
@pytest.mark.usefixtures("unrounded")
def test_integrated_gradients(build):
    module, shape, _ = build()
    x = inputs(shape)
    ours = method("integrated_gradients(steps=6, baseline=0.2)")(Score(module, "class_score(2)"), x)
    theirs, gap = IntegratedGradients(module).attribute(
        x, torch.full_like(x, 0.2), target=2, n_steps=6, method="gausslegendre", return_convergence_delta=True
    )
    assert_same("integrated_gradients", "Captum", ours.values, theirs)
    assert_same("integrated_gradients", "Captum", ours.numbers["completeness_gap"], gap)


@networks
@pytest.mark.parametrize(("window", "stride"), [(16, 16), (12, 8)])
@pytest.mark.usefixtures("unrounded")
def test_occlusion_with_overlaps_and_cut_windows(build, window, stride):
    module, shape, _ = build()
    x = inputs(shape)
    ours = method(f"occlusion(window={window}, stride={stride}, fill=0.5)")(Score(module, "class_score(0)"), x)
    sides = (shape[1], *[min(window, side) for side in shape[2:]])
    hops = (shape[1], *[min(stride, side) for side in shape[2:]])
    theirs = Occlusion(module).attribute(x, sides, hops, baselines=0.5, target=0, perturbations_per_eval=4)
    assert_same("occlusion", "Captum", ours.values, theirs[:, :1])


@networks
def test_grad_cam_at_layer_resolution(build):
    module, shape, layer = build()
    x = inputs(shape)
    ours = method(f"grad_cam(layer={layer!r})")(Score(module, "class_score(1)"), x)
    theirs = LayerGradCam(module, module.get_submodule(layer)).attribute(x, target=1, relu_attributions=True)
    assert_same("grad_cam", "Captum", ours.values, theirs.detach())


@networks
@pytest.mark.usefixtures("unrounded")
def test_region_ablation(build):
    module, shape, _ = build()
    x = inputs(shape)
    labels = torch.randint(0, 6, shape[2:], generator=torch.Generator().manual_seed(2))
    score = Score(module, "class_score(1)", segments=labels[None])
    ours = method("region_ablation(include_zero=True, fill=0.3)")(score, x).values
    theirs = FeatureAblation(module).attribute(x, baselines=0.3, target=1, feature_mask=labels[None, None])
    assert_same("region_ablation", "Captum", ours.expand_as(x), theirs)
