"""In single precision our maps lie no further from the truth (our float64 maps) than the peers' do.

ReLU inputs near zero move any float32 gradient, ours and theirs alike; so several networks and images count together.
"""

import pytest
import torch
from captum.attr import (
    Deconvolution,
    DeepLift,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from torch import nn

from tests.nets import batch, seeded
from tests.oracle.agreement import assert_no_further
from voxplain.methods import method
from voxplain.score.score import Score

pytestmark = pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning")

SLACK = 1.5
"""Both errors are rounding in the same sums, taken in different orders: neither is always the smaller."""


class Plain(nn.Module):
    """Convolutions and ReLU modules used once each, as the peers need them."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.features = nn.Sequential(
            conv(2, 16, 3, padding=1), norm(16), nn.ReLU(), conv(16, 16, 3, padding=1), nn.ReLU(),
            conv(16, 16, 3, padding=1, stride=2), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.features(x).flatten(2).mean(2))


PEERS = {
    "gradient": lambda net, x: Saliency(net).attribute(x, target=1, abs=False),
    "input_x_gradient": lambda net, x: InputXGradient(net).attribute(x, target=1),
    "integrated_gradients(steps=16)": lambda net, x: IntegratedGradients(net).attribute(x, target=1, n_steps=16),
    "guided_backprop": lambda net, x: GuidedBackprop(net).attribute(x, target=1),
    "deconvnet": lambda net, x: Deconvolution(net).attribute(x, target=1),
    "deep_lift": lambda net, x: DeepLift(net).attribute(x, target=1),
    "occlusion(window=4)": lambda net, x: Occlusion(net).attribute(
        x, sliding_window_shapes=(2, *[4] * (x.ndim - 2)), strides=(2, *[4] * (x.ndim - 2)), target=1
    ),
    "grad_cam(layer='features.4')": lambda net, x: LayerGradCam(net, net.features[4]).attribute(
        x, target=1, relu_attributions=True
    ),
}


@pytest.mark.parametrize("spec", sorted(PEERS))
def test_float32_is_as_near_to_the_truth_as_captums(spec):
    truths, ours, theirs = [], [], []
    for rank in (2, 3):
        for seed in (0, 1, 2):
            module, x = seeded(Plain, rank, seed=seed), batch(rank, side=12, seed=seed)
            truth = method(spec)(Score(module, "class_score(1)"), x).values
            single, narrow = module.float(), x.float()
            own = method(spec)(Score(single, "class_score(1)"), narrow).values
            other = PEERS[spec](single, narrow.clone().requires_grad_()).detach()
            for found, one in ((truths, truth), (ours, own), (theirs, other)):
                found.append((one.double() / truth.abs().max())[:, : truth.shape[1]].flatten())
    name = method(spec).name
    assert_no_further(name, "Captum", *(torch.cat(found) for found in (truths, ours, theirs)), slack=SLACK)
