"""Parity with Zennit 0.5.1 in float64: its composites and rules on VGG and ResNet.

Zennit drops the epsilon of batch norms when it merges them, so it is given a copy with the norms already folded; its
stabiliser is ours, 1e-6. In ResNet it needs its own canonizer for the residual additions, we do not.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.nets import seeded
from tests.oracle import agreement
from voxplain.methods import method
from voxplain.score.score import Score

pytest.importorskip("zennit")
from zennit import composites, rules
from zennit.attribution import Gradient
from zennit.torchvision import ResNetCanonizer
from zennit.types import AvgPool, Convolution

RELATIVE = 1e-9
"""Float64 sums in another order differ by about 1e-15 a term."""

pytestmark = pytest.mark.filterwarnings("ignore")

LOW, HIGH = -3.0, 3.5


def vgg() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    return seeded(torchvision.models.vgg11, num_classes=3)


def resnet() -> nn.Module:
    torchvision = pytest.importorskip("torchvision")
    return seeded(torchvision.models.resnet18, num_classes=3)


def folded(module: nn.Module) -> nn.Module:
    """A copy of a torchvision ResNet with every batch norm in the convolution before it."""
    twin = copy.deepcopy(module)
    twin.conv1, twin.bn1 = fuse_conv_bn_eval(twin.conv1, twin.bn1), nn.Identity()
    for part in twin.modules():
        if hasattr(part, "conv2"):
            part.conv1, part.bn1 = fuse_conv_bn_eval(part.conv1, part.bn1), nn.Identity()
            part.conv2, part.bn2 = fuse_conv_bn_eval(part.conv2, part.bn2), nn.Identity()
            if part.downsample is not None:
                part.downsample = nn.Sequential(fuse_conv_bn_eval(*part.downsample))
    return twin


def theirs(module: nn.Module, composite: object, x: torch.Tensor, label: int) -> torch.Tensor:
    """Zennit's relevance for one class, its own score as what goes in."""
    chosen = lambda output: output * torch.eye(3, dtype=output.dtype)[[label]]  # noqa: E731
    with Gradient(module, composite) as attributor:
        return attributor(x, chosen)[1].detach()


COMPOSITES = {
    "composite='epsilon_plus'": lambda c: composites.EpsilonPlus(canonizers=c),
    "composite='epsilon_plus_flat'": lambda c: composites.EpsilonPlusFlat(canonizers=c),
    "composite='alpha2_beta1'": lambda c: composites.EpsilonAlpha2Beta1(canonizers=c),
    "composite='alpha2_beta1_flat'": lambda c: composites.EpsilonAlpha2Beta1Flat(canonizers=c),
    f"composite='epsilon_gamma_box', low={LOW}, high={HIGH}": lambda c: composites.EpsilonGammaBox(
        low=LOW, high=HIGH, canonizers=c
    ),
    "composite='epsilon_plus', epsilon=0.5": lambda c: composites.EpsilonPlus(epsilon=0.5, canonizers=c),
    "composite='epsilon_plus', bias=False": lambda c: composites.EpsilonPlus(zero_params="bias", canonizers=c),
    "composite='alpha2_beta1', bias=False": lambda c: composites.EpsilonAlpha2Beta1(zero_params="bias", canonizers=c),
    "composite='preset_a'": lambda c: composites.EpsilonPlus(epsilon=0.1, canonizers=c),
}


@pytest.mark.parametrize("spec", COMPOSITES)
@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_composites(name, spec):
    module = vgg() if name == "vgg" else resnet()
    plain = module if name == "vgg" else folded(module)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = method(f"lrp({spec})")(Score(module, "class_score(1)"), x).values
    made = COMPOSITES[spec]([ResNetCanonizer()] if name == "resnet" else [])
    expected = theirs(plain, made, x, 1)
    agreement.assert_same("lrp", "Zennit", ours, expected, RELATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_float32_is_as_near_to_the_truth_as_zennits(name):
    truths, ours, others = [], [], []
    single = (vgg() if name == "vgg" else resnet()).float()
    wide, narrow = (Score(one, "class_score(1)") for one in (copy.deepcopy(single).double(), single))
    for seed in range(16):
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).double()
        truth = method("lrp(composite='epsilon_plus')")(wide, x).values
        own = method("lrp(composite='epsilon_plus')")(narrow, x.float()).values
        plain = single if name == "vgg" else folded(single)
        made = composites.EpsilonPlus(canonizers=[ResNetCanonizer()] if name == "resnet" else [])
        other = theirs(plain, made, x.float(), 1)
        for found, one in ((truths, truth), (ours, own), (others, other)):
            found.append(one.double() / truth.abs().max())
    agreement.assert_no_further("lrp", "Zennit", *(torch.cat(found) for found in (truths, ours, others)), slack=1.5)


SINGLE = {
    "rules='epsilon'": rules.Epsilon(),
    "rules='epsilon', epsilon=0.01": rules.Epsilon(epsilon=0.01),
    "rules='z_plus'": rules.ZPlus(),
    "rules='alpha_beta', alpha=3.0": rules.AlphaBeta(alpha=3, beta=2),
    "rules='gamma', gamma=0.5": rules.Gamma(gamma=0.5),
    "rules='w2'": rules.WSquare(zero_params="bias"),
    "rules='flat'": rules.Flat(),
}


@pytest.mark.parametrize("spec", SINGLE)
def test_one_rule_for_all_layers(spec):
    """On VGG, whose pooled features are positive, so that no sum depends on how sums are split."""
    module = vgg()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = method(f"lrp({spec})")(Score(module, "class_score(2)"), x).values
    layers = [((Convolution, nn.Linear), SINGLE[spec]), ((nn.ReLU, nn.Dropout), rules.Pass()), (AvgPool, rules.Norm())]
    expected = theirs(module, composites.LayerMapComposite([(kinds, rule) for kinds, rule in layers]), x, 2)
    agreement.assert_same("lrp", "Zennit", ours, expected, RELATIVE)
