"""CAMs of a token network against pytorch-grad-cam, whose target layer and reshaping are given by hand."""

import pytest
import torch
from torch import Tensor

from tests.nets import seeded
from voxplain.methods import method
from voxplain.score.layers import automatic_layer
from voxplain.score.model import Model
from voxplain.score.score import Score

peer = pytest.importorskip("pytorch_grad_cam")
timm = pytest.importorskip("timm")

IMAGE = torch.randn(2, 3, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def vit() -> torch.nn.Module:
    options = {"img_size": (32, 48), "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
    return seeded(timm.create_model, "deit_tiny_distilled_patch16_224", **options)


def unrolled(tokens: Tensor) -> Tensor:
    """Without class and distillation token, on the grid of 2 x 3 patches."""
    return tokens[:, 2:].reshape(len(tokens), 2, 3, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("name", "theirs"), [("grad_cam", "GradCAM"), ("hires_cam", "HiResCAM")])
def test_maps_before_scaling_are_equal(name, theirs):
    module = vit()
    targets = [peer.utils.model_targets.ClassifierOutputTarget(2)] * 2
    with getattr(peer, theirs)(module, [module.blocks[-1].norm1], reshape_transform=unrolled) as cam:
        cam(IMAGE, targets)
        caught = cam.activations_and_grads
        activation, gradient = (part[0].double().numpy() for part in (caught.activations, caught.gradients))
        raw = torch.from_numpy(cam.get_cam_image(IMAGE, None, targets, activation, gradient, eigen_smooth=False))
    layer = automatic_layer(Model.of(module), IMAGE, maps=False)
    assert layer == "blocks.1.norm1"
    ours = method(f"{name}(relu=False)")(Score(module, "class_score(2)"), IMAGE)
    torch.testing.assert_close(ours.values[:, 0], raw, rtol=1e-9, atol=1e-9 * float(raw.abs().max()))
