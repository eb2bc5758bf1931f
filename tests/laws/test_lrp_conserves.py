"""Relevance is conserved: what reaches the image and what the operations kept for themselves is the score.

`unaccounted` adds up what every operation says that it kept, so a rule that loses relevance in silence is caught.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.nets import KINDS, Awkward, seeded, target_for
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.score import Score

EXACT = 1e-9
"""Float64 sums of some thousand terms, as a share of the score."""

ROUNDING = 1e-14
"""Of the relevance in flight: on transformers epsilon's small denominators let 1e8 flow, and as much back, for a score
of 5; some dozen roundings of that are left in the books."""

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def image(shape: tuple[int, ...], background: bool) -> Tensor:
    """Noise, or noise in the middle of a zero background."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    if not background:
        return x
    inside = torch.zeros(shape[2:], dtype=torch.float64)
    inside[tuple(slice(side // 4, 3 * side // 4) for side in shape[2:])] = 1
    return x * inside


class UNetLike(nn.Module):
    """Instance norm, PReLU, transposed convolution, skip by concatenation, interpolation, residual."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        conv, norm = CONV[rank], INSTANCE[rank]
        self.down = nn.Sequential(conv(1, 4, 3, stride=2, padding=1), norm(4), nn.PReLU())
        self.unit = nn.Sequential(conv(4, 4, 3, padding=1), norm(4, affine=True), nn.PReLU(4))
        self.up = nn.Sequential(TRANSPOSED[rank](8, 4, 3, stride=2, padding=1, output_padding=1), norm(4), nn.ELU())
        self.head = conv(5, 3, 1)
        self.mode = LINEAR[rank]

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        high = self.unit(low)
        high += low
        wide = functional.interpolate(
            functional.avg_pool2d(x, 2) if x.ndim == 4 else functional.avg_pool3d(x, 2), x.shape[2:], mode=self.mode
        )
        return self.head(torch.cat([self.up(torch.cat([low, high], 1)), wide], 1))


class Excited(nn.Module):
    """Padding by hand, depthwise convolution, SiLU, squeeze-and-excitation, group norm, GELU, max pooling."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        conv = CONV[rank]
        self.stem, self.depthwise = conv(1, 8, 3), conv(8, 8, 3, groups=8, padding=1, bias=False)
        self.gate = nn.Sequential(nn.Linear(8, 2), nn.SiLU(), nn.Linear(2, 8), nn.Sigmoid())
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        rank = x.ndim - 2
        x = functional.silu(self.stem(functional.pad(x, (1, 1) * rank)), inplace=True)
        x = functional.gelu(self.norm(self.depthwise(x))) + x
        x = x * self.gate(x.flatten(2).mean(2)).reshape(*x.shape[:2], *[1] * rank)
        pool = functional.max_pool2d if rank == 2 else functional.max_pool3d
        return self.head(pool(x, 2).flatten(2).mean(2))


class Attentive(nn.Module):
    """Patch embedding, class token, position embedding, layer norm, attention, tanh at the head."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.patches = CONV[rank](1, 8, 4, stride=4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 2**rank + 1, 8))
        self.one, self.two = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 8))
        self.head = nn.Sequential(nn.Linear(8, 3), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        y = self.one(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.feed(self.two(x))
        return self.head(x.mean(1))


NETWORKS = {
    "unet": (UNetLike, "region(1, over='whole')"),
    "excited": (Excited, "class_score(1)"),
    "attentive": (Attentive, "class_score(1)"),
}

RULES = [
    "composite='epsilon_plus'",
    "composite='epsilon_plus_flat'",
    "composite='epsilon_gamma_box'",
    "composite='alpha2_beta1'",
    "composite='alpha2_beta1_flat'",
    "composite='preset_a', bias='library'",
    "composite='preset_a_flat', bias=False",
    "rules='epsilon', epsilon=0.01",
    "rules='z_plus'",
    "rules='alpha_beta', alpha=3.0, spread=True",
    "rules='gamma'",
    "rules='w2'",
    "rules='flat', spread=True",
    "rules='z_box'",
]

ranks = pytest.mark.parametrize("rank", [2, 3])
grounds = pytest.mark.parametrize("background", [False, True], ids=["noise", "background"])


def scored(name: str, rank: int) -> Score:
    build, target = NETWORKS[name]
    return Score(seeded(build, rank), target)


def assert_conserved(score: Score, x: Tensor, spec: str) -> None:
    """The books are even; where nothing may be absorbed, nothing is."""
    found = method(spec)(score, x)
    size = float(found.score.abs().sum())
    if size == 0:
        return
    assert torch.isfinite(found.values).all()
    flowing = float(found.values.double().abs().sum())
    assert found.numbers["unaccounted"] <= EXACT * max(1.0, size) + ROUNDING * flowing
    assert found.values.abs().sum() > 0
    if "bias=False, spread=True" in spec:
        torch.testing.assert_close(found.numbers["relevance_sum"], found.score, rtol=0, atol=EXACT)


@ranks
@grounds
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", RULES)
def test_the_books_are_even(rank, background, name, options):
    assert_conserved(scored(name, rank), image((2, 1, *[8] * rank), background), f"lrp({options})")


@ranks
@grounds
@pytest.mark.parametrize("name", NETWORKS)
def test_spread_relevance_is_never_absorbed(rank, background, name):
    assert_conserved(
        scored(name, rank), image((2, 1, *[8] * rank), background), "lrp(rules='z_plus', bias=False, spread=True)"
    )


def test_a_zero_background_absorbs_much_unless_it_is_spread():
    """The trap: instance norm gives background voxels values, and behind them nothing accounts for their relevance."""
    found = method("lrp(rules='z_plus', bias=False)")(scored("unet", 3), image((1, 1, 8, 8, 8), True))
    assert float(found.numbers["absorbed"] / found.score) > 0.05


@pytest.mark.parametrize(("rank", "task"), KINDS)
def test_awkward_networks(rank, task):
    score = Score(seeded(Awkward, rank, task, channels=1), target_for(task))
    for options in ("bias=False, spread=True", "spread=False"):
        assert_conserved(score, image((2, 1, *[8] * rank), False), f"lrp(rules='z_plus', {options})")


# --- the zoo ----------------------------------------------------------------------------------------------------------


def monai(build: str, *arguments: object, **options: object) -> nn.Module:
    nets = pytest.importorskip("monai.networks.nets")
    return seeded(getattr(nets, build), *arguments, **options)


def torchvision(build: str, **options: object) -> nn.Module:
    return seeded(getattr(pytest.importorskip("torchvision").models, build), num_classes=3, **options)


def timm(build: str) -> nn.Module:
    return seeded(pytest.importorskip("timm").create_model, build, num_classes=3)


CLASS, WHOLE = "class_score(1)", "region(1, over='whole')"


def medical(rank: int) -> dict[str, tuple[object, tuple[int, ...], str]]:
    """The networks of MONAI that the field uses, small where they let us."""
    sides, outputs = [32] * rank, {"in_channels": 1, "out_channels": 3}
    vit = {
        "img_size": sides,
        "patch_size": [8] * rank,
        "hidden_size": 24,
        "mlp_dim": 48,
        "num_layers": 2,
        "num_heads": 2,
    }
    swin = {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    unet = {"channels": (4, 8, 16), "strides": (2, 2), "num_res_units": 2}
    segresnet = {"init_filters": 8, "blocks_down": (1, 2), "blocks_up": (1,)}
    return {
        "resnet18": (lambda: monai("resnet18", spatial_dims=rank, n_input_channels=1, num_classes=3), sides, CLASS),
        "densenet121": (lambda: monai("DenseNet121", spatial_dims=rank, **outputs), sides, CLASS),
        "unet": (lambda: monai("UNet", spatial_dims=rank, **outputs, **unet), sides, WHOLE),
        "segresnet": (lambda: monai("SegResNet", spatial_dims=rank, **outputs, **segresnet), sides, WHOLE),
        "efficientnet": (
            lambda: monai(
                "EfficientNetBN", "efficientnet-b0", pretrained=False, spatial_dims=rank, in_channels=1, num_classes=3
            ),
            sides,
            CLASS,
        ),
        "vit": (
            lambda: monai("ViT", in_channels=1, spatial_dims=rank, classification=True, num_classes=3, **vit),
            sides,
            CLASS,
        ),
        "swinunetr": (lambda: monai("SwinUNETR", spatial_dims=rank, **outputs, **swin), [*sides[:-1], 64], WHOLE),
    }


ZOO = {
    f"monai {name} {rank}D": (build, (1, 1, *sides), target)
    for rank in (2, 3)
    for name, (build, sides, target) in medical(rank).items()
}
ZOO |= {
    f"torchvision {name}": (lambda name=name: torchvision(name), (1, 3, 32, 32), CLASS)
    for name in ("resnet18", "densenet121", "vgg11", "vgg11_bn", "swin_t", "mobilenet_v3_small", "convnext_tiny")
}
ZOO["torchvision squeezenet1_1"] = (lambda: torchvision("squeezenet1_1"), (1, 3, 64, 64), CLASS)
ZOO["torchvision vit_b_16"] = (lambda: torchvision("vit_b_16", image_size=32), (1, 3, 32, 32), CLASS)
ZOO["timm xception"] = (lambda: timm("xception"), (1, 3, 64, 64), CLASS)


def zoo_score(name: str) -> tuple[Score, tuple[int, ...]]:
    """A network in which no weight is left at zero (class tokens, heads), as in a trained one."""
    build, shape, target = ZOO[name]
    module = build()
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            if not weight.any():
                weight.copy_(0.1 * torch.randn(weight.shape, generator=draws, dtype=weight.dtype))
    return Score(Model.of(module, output="0" if "monai vit" in name else None), target), shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@grounds
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_conserves(name, background):
    score, shape = zoo_score(name)
    x = image(shape, background)
    for options in ("bias=False", "bias=False, spread=True"):
        assert_conserved(score, x, f"lrp(rules='z_plus', {options})")
    assert_conserved(score, x, "lrp(composite='epsilon_plus_flat')")
