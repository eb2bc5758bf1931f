"""Parity of the CAM relatives with pytorch-grad-cam, before it scales its maps, in float64, 2D and 3D."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.nets import batch, seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.score.score import Score

pytest.importorskip("pytorch_grad_cam")

RELATIVE = 1e-9
"""Float64 sums in another order differ by about 1e-15 a term; a thousandfold of a thousand terms is still far below."""


class Doubled:
    """NumPy whose float32 is float64: the library rounds its maps and ablated scores to float32."""

    def __getattr__(self, name):
        return np.float64 if name == "float32" else getattr(np, name)


@pytest.fixture
def unrounded(monkeypatch):
    for module in ("ablation_cam", "utils.svd_on_activations"):
        monkeypatch.setattr(f"pytorch_grad_cam.{module}.np", Doubled())


def raw(name, module, layer, x, index):
    """Its map (batch, *cells) as the class of that name makes it, and its activations; no scaling, no cut."""
    library = pytest.importorskip("pytorch_grad_cam")
    target = library.utils.model_targets.ClassifierOutputTarget(index)
    cam = getattr(library, name)(model=module, target_layers=[module.get_submodule(layer)])
    try:
        outputs = cam.activations_and_grads(x)
        if cam.uses_gradients:
            outputs[:, index].sum().backward(retain_graph=True)
        activations = cam.activations_and_grads.activations[0].detach().numpy()
        gradients = cam.activations_and_grads.gradients[0].numpy() if cam.uses_gradients else None
        asked = (x, module.get_submodule(layer), [target] * len(x), activations, gradients)
        return cam.get_cam_image(*asked, False), activations, lambda: cam.get_cam_weights(*asked)
    finally:
        cam.activations_and_grads.release()


def resnet_2d():
    torchvision = pytest.importorskip("torchvision")
    return seeded(torchvision.models.resnet18, num_classes=3), batch(2, channels=3, side=40), "layer2"


def resnet_3d():
    nets = pytest.importorskip("monai.networks.nets")
    options = {"layers": [1, 1, 1, 1], "block_inplanes": [8, 16, 16, 32], "spatial_dims": 3, "n_input_channels": 1}
    return seeded(nets.ResNet, block="basic", num_classes=3, **options), batch(3, channels=1, side=20), "layer2"


networks = pytest.mark.parametrize("build", [resnet_2d, resnet_3d])


def ours(name, module, layer, x, index):
    return method(f"{name}(layer={layer!r}, relu=False)")(Score(module, f"class_score({index})"), x)


def assert_same(method_name, found, theirs):
    agreement.assert_same(method_name, "pytorch-grad-cam", found, torch.as_tensor(theirs)[:, None])


@networks
@pytest.mark.parametrize(
    ("name", "their_name"), [("grad_cam", "GradCAM"), ("hires_cam", "HiResCAM"), ("layer_cam", "LayerCAM")]
)
def test_grad_cam_hires_cam_and_layer_cam(build, name, their_name):
    module, x, layer = build()
    theirs, _, _ = raw(their_name, module, layer, x, 1)
    assert_same(name, ours(name, module, layer, x, 1).values, theirs)


@networks
def test_xgrad_cam(build):
    """It adds 1e-7 to each sum of activations; we add nothing."""
    module, x, layer = build()
    _, activations, weights = raw("XGradCAM", module, layer, x, 0)
    space = tuple(range(2, x.ndim))
    sums = activations.sum(space)
    exact = weights() * np.where(sums > 0, (sums + 1e-7) / np.where(sums > 0, sums, 1), 0)
    theirs = np.einsum("nk,nk...->n...", exact, activations)
    assert_same("xgrad_cam", ours("xgrad_cam", module, layer, x, 0).values, theirs)


class Faint(nn.Module):
    """Activations a million times smaller and gradients as many times larger: their product stays of the order of 1."""

    def __init__(self, rank):
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[rank]
        self.first, self.layer, self.second = conv(1, 6, 3, stride=2), nn.Identity(), conv(6, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.layer(self.first(x).relu() * 1e-6)
        return 100 * self.head(self.second(x * 1e6).relu().flatten(2).mean(2))


@pytest.mark.parametrize("rank", [2, 3])
def test_grad_cam_pp(rank):
    """It adds 1e-6 to each denominator, which swamps small gradients; with large ones that constant vanishes."""
    module, x = seeded(Faint, rank), batch(rank, channels=1, side=12)
    (tap,) = Score(module, "class_score(2)").tap(x, ["layer"]).taps
    product = tap.activation.flatten(2).sum(2)[..., None] * tap.gradient.flatten(2)
    assert 0.1 < product.max() < 10, "both terms of the denominator must count"
    theirs, _, _ = raw("GradCAMPlusPlus", module, "layer", x, 2)
    assert_same("grad_cam_pp", ours("grad_cam_pp", module, "layer", x, 2).values, theirs)


@networks
@pytest.mark.usefixtures("unrounded")
def test_eigen_cam_up_to_the_sign_that_it_leaves_to_chance(build):
    module, x, layer = build()
    theirs, _, _ = raw("EigenCAM", module, layer, x, 0)
    found = ours("eigen_cam", module, layer, x, 0).values
    signs = np.sign((theirs * found[:, 0].numpy()).reshape(len(x), -1).sum(1))
    assert_same("eigen_cam", found, theirs * signs.reshape(-1, *[1] * (x.ndim - 2)))


@pytest.mark.slow
@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(("layer", "closed"), [("layer1", False), ("layer4", True)])
def test_ablation_cam_in_2d(layer, closed):
    """It divides by the score; in 3D it fails. Its zeroing is the paper's where the least activation is zero."""
    torchvision = pytest.importorskip("torchvision")
    module, x = seeded(torchvision.models.resnet18, num_classes=3), batch(2, channels=3, side=24)
    theirs, activations, _ = raw("AblationCAM", module, layer, x, 1)
    assert activations.min() == 0
    found = ours("ablation_cam", module, layer, x, 1)
    assert any("is linear" in note for note in found.notes) is closed
    assert_same("ablation_cam", found.values, theirs * found.score.numpy()[:, None, None])


@pytest.mark.usefixtures("unrounded")
def test_ablation_cam_of_a_negative_score_is_not_upside_down():
    """pytorch-grad-cam divides by the score: where a logit is negative, what holds it up comes out as negative."""
    module, x = seeded(Small), batch(2, channels=1)
    with torch.no_grad():
        module.head.bias -= 50
    theirs, _, _ = raw("AblationCAM", module, "act", x, 1)
    found = ours("ablation_cam", module, "act", x, 1)
    assert (found.score < 0).all()
    assert_same("ablation_cam", found.values, theirs * found.score.numpy()[:, None, None])
    assert (np.sign(theirs) == -np.sign(found.values[:, 0].numpy())).all()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.head = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.act(self.first(x)).flatten(2).amax(2))
