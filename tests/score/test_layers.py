"""The layer that is chosen when nobody named one, and how a layer's output is caught."""

from collections import namedtuple
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.score.layers import automatic_layer
from voxplain.score.model import Model
from voxplain.score.score import Score


def chosen(module: nn.Module, *shape: int, maps: bool = False, output: str | None = None) -> str:
    model = Model.of(module, output=output)
    return automatic_layer(model, torch.rand(1, *shape, device=model.device), maps)


# --- networks of others: one number a class ------------------------------------------------------------------------

TORCHVISION = [
    ("resnet18", {}, "layer4"),
    ("resnet18", {"num_classes": 512}, "layer4"),  # as many classes as channels: still no class map
    ("vgg11", {}, "features.19"),
    ("alexnet", {}, "features.11"),
    ("squeezenet1_0", {}, "features"),  # not the map of classes after it
    ("squeezenet1_1", {"num_classes": 512}, "features"),
    ("densenet121", {}, "features"),
    ("mobilenet_v2", {}, "features"),
    ("mobilenet_v3_small", {}, "features"),
    ("efficientnet_b0", {}, "features"),
    ("convnext_tiny", {}, "features"),
    ("shufflenet_v2_x0_5", {}, "conv5"),
    ("googlenet", {"aux_logits": False, "init_weights": False}, "inception5b"),
    ("swin_t", {}, "permute"),  # the only place where its channels come first
]


@pytest.mark.parametrize(("name", "options", "layer"), TORCHVISION, ids=str)
def test_torchvision_classifiers(name, options, layer):
    models = pytest.importorskip("torchvision").models
    with torch.device("meta" if name in LARGE else "cpu"):
        module = getattr(models, name)(**{"num_classes": 3, **options}).eval()
    assert chosen(module, 3, 96, 96) == layer


LARGE = ("vgg11", "alexnet", "swin_t", "convnext_tiny")
"""Networks whose weights would take longer to draw than the rest of the test."""


def test_densenet_of_monai_in_3d():
    nets = pytest.importorskip("monai.networks.nets")
    module = nets.DenseNet(3, 1, 2, init_features=4, growth_rate=2, block_config=(1, 1)).eval()
    assert chosen(module, 1, 32, 32, 32) == "class_layers.relu"


def test_resnet_of_monai_in_3d():
    nets = pytest.importorskip("monai.networks.nets")
    module = nets.ResNet("basic", [1, 1, 1, 1], [2, 2, 4, 4], n_input_channels=1, num_classes=2).eval()
    assert chosen(module, 1, 32, 32, 32) == "layer4"


# --- networks of others: a map of classes --------------------------------------------------------------------------


def unet(nets):
    return nets.UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2)), (1, 16, 16, 16), (4, 4, 4)


def basic_unet(nets):
    return nets.BasicUNet(2, 1, 2, features=(4, 4, 8, 8, 16, 4)), (1, 32, 32), (2, 2)


def dynamic_unet(nets):
    return nets.DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 16]), (1, 32, 32), (8, 8)


def seg_resnet(nets):
    return nets.SegResNet(3, 8, in_channels=1, out_channels=2), (1, 16, 16, 16), (2, 2, 2)


def attention_unet(nets):
    return nets.AttentionUnet(2, 1, 2, [4, 8, 16], [2, 2]), (1, 32, 32), (8, 8)


def unetr(nets):
    options = {"feature_size": 4, "hidden_size": 32, "mlp_dim": 32, "num_heads": 2, "spatial_dims": 2}
    return nets.UNETR(1, 2, (64, 64), **options), (1, 64, 64), (4, 4)


@pytest.mark.parametrize("build", [unet, basic_unet, dynamic_unet, seg_resnet, attention_unet, unetr])
def test_segmenters_are_read_at_their_bottleneck(build):
    module, shape, coarsest = build(pytest.importorskip("monai.networks.nets"))
    x = torch.rand(1, *shape)
    score = Score(Model.of(module), "region(1, over='whole')", chunk=1)
    found = method("grad_cam(relu=False)")(score, x)
    assert tuple(found.values.shape[2:]) == coarsest
    assert found.values.abs().sum() > 0


def test_the_map_of_classes_is_not_the_bottleneck():
    """DeepLab enlarges its answer from the coarsest resolution: the last coarse layer is the answer itself."""
    models = pytest.importorskip("torchvision").models.segmentation
    module = models.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3).eval()
    assert chosen(module, 3, 64, 64, maps=True) == "classifier.3"


def test_an_auxiliary_head_that_the_answer_does_not_depend_on_is_not_chosen():
    models = pytest.importorskip("torchvision").models.segmentation
    module = models.fcn_resnet50(weights=None, weights_backbone=None, num_classes=3, aux_loss=True).eval()
    assert chosen(module, 3, 64, 64, maps=True, output="out") == "classifier.2"
    assert chosen(module, 3, 64, 64, maps=True, output="aux") == "aux_classifier.2"


# --- awkward networks ----------------------------------------------------------------------------------------------


class Head(nn.Module):
    """Some layers, the mean over space, a linear layer."""

    def __init__(self, *layers: nn.Module, channels: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 2)

    def forward(self, x):
        return self.head(self.features(x).flatten(2).mean(2))


@pytest.mark.parametrize(
    "last",
    [
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(3),
        nn.AdaptiveMaxPool2d(3),
    ],
    ids=lambda last: type(last).__name__,
)
def test_pooling_at_the_end_is_left_out_also_as_the_end_of_a_container(last):
    assert chosen(Head(nn.Conv2d(1, 4, 3), nn.ReLU(), last), 1, 16, 16) == "features.1"


@pytest.mark.parametrize(
    "last",
    [nn.Dropout(), nn.Dropout2d(), nn.Identity(), nn.ZeroPad2d(1), nn.ReflectionPad2d(1), nn.Softmax(1), nn.Sigmoid()],
    ids=lambda last: type(last).__name__,
)
def test_what_only_passes_on_is_left_out(last):
    sides = 16 if "Pad" in type(last).__name__ else 14
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), last, nn.Flatten(), nn.Linear(4 * sides * sides, 2))
    assert chosen(module, 1, 16, 16) == "1"


def test_functional_activations_and_pooling_are_no_layers():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(1, 4, 3)
            self.two = nn.Conv2d(4, 6, 3)
            self.head = nn.Linear(6, 2)

        def forward(self, x):
            x = functional.max_pool2d(functional.relu(self.one(x)), 2)
            return self.head(functional.adaptive_avg_pool2d(functional.relu(self.two(x)), 1).flatten(1))

    assert chosen(Functional(), 1, 16, 16) == "two"


def test_the_order_of_running_decides_not_the_order_of_writing():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.last = nn.Conv2d(3, 4, 3)
            self.first = nn.Conv2d(1, 3, 3)

        def forward(self, x):
            return self.head(self.last(self.first(x)).mean((2, 3)))

    assert chosen(Backwards(), 1, 16, 16) == "last"


def test_a_layer_that_runs_twice_is_never_chosen():
    assert chosen(seeded(Awkward, 2, "classification").float(), 2, 8, 10) == "second"


def test_a_layer_that_runs_for_another_output_is_never_chosen():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Conv2d(1, 4, 3)
            self.head = nn.Linear(4, 2)
            self.side = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))

        def forward(self, x):
            x = self.trunk(x)
            return {"out": self.head(x.mean((2, 3))), "side": self.side(x)}

    model, x = Model.of(Two(), output="out"), torch.rand(1, 1, 16, 16)
    assert automatic_layer(model, x, maps=False) == "trunk"
    assert automatic_layer(replace(model, output="side"), x, maps=False) == "side.1"


def test_a_single_convolution_before_a_linear_layer_is_no_patch_embedding():
    assert chosen(Head(nn.Conv2d(1, 4, 3)), 1, 16, 16) == "features"
    assert chosen(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2)), 1, 16, 16) == "0"


def test_a_class_map_that_is_only_averaged_is_left_out():
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert chosen(module, 1, 16, 16) == "1"


def test_a_network_without_places_is_told_in_one_sentence():
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(InputError, match=r"^this model has no layer that gives a map over the image"):
        method("grad_cam")(Score(module, "class_score(0)"), torch.rand(1, 1, 8, 8))


def test_a_network_without_layers_is_told_in_the_same_sentence():
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    with pytest.raises(InputError, match=r"^this model has no layer"):
        method("grad_cam")(Score(Bare(), "class_score(0)"), torch.rand(1, 2, 8, 8))


def test_a_chosen_layer_is_said_and_a_named_one_is_not():
    score, x = Score(seeded(Awkward, 2, "classification"), "class_score(0)"), batch(2)
    assert method("grad_cam")(score, x).notes == ("layer 'second' was chosen automatically",)
    assert method("grad_cam(layer='second')")(score, x).notes == ()


# --- catching ------------------------------------------------------------------------------------------------------

Named = namedtuple("Named", ["maps", "rest"])


class Gives(nn.Module):
    """A convolution that gives its map in some container."""

    def __init__(self, give):
        super().__init__()
        self.inner = nn.Conv2d(1, 4, 3)
        self.give = give

    def forward(self, x):
        return self.give(self.inner(x))


class Takes(nn.Module):
    """Reads the map out of the container again."""

    def __init__(self, give, take):
        super().__init__()
        self.block = Gives(give)
        self.take = take
        self.unused = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.take(self.block(x)).flatten(2).mean(2))


def tapped(module: nn.Module, *layers: str):
    return Score(module, "class_score(0)").tap(torch.rand(2, 1, 8, 8), layers).taps


@pytest.mark.parametrize(
    ("give", "take"),
    [
        (lambda y: (y, 1), lambda found: found[0]),
        (lambda y: (y, y * 2), lambda found: found[0] + 0 * found[1]),
        (lambda y: Named(y, None), lambda found: found.maps),
    ],
)
def test_the_first_of_a_tuple_is_the_layers_map_and_the_network_runs_on(give, take):
    module = Takes(give, take)
    outer, inner = tapped(module, "block", "block.inner")
    assert torch.equal(outer.activation, inner.activation)
    torch.testing.assert_close(outer.gradient, inner.gradient)
    assert outer.gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("give", "kind"), [(lambda y: {"maps": y}, "dict"), (lambda y: [y], "list"), (lambda y: (None, y), "NoneType")]
)
def test_a_layer_that_gives_no_tensor_is_told_by_its_kind(give, kind):
    module = Takes(give, lambda found: found["maps"] if isinstance(found, dict) else found[-1])
    with pytest.raises(InputError, match=rf"^layer 'block' must give a tensor to be tapped, got {kind}$"):
        tapped(module, "block")
    assert torch.isfinite(Score(module, "class_score(0)")(torch.rand(1, 1, 8, 8))).all()


@pytest.mark.parametrize(
    ("layer", "times"), [("act", "runs 2 times"), ("norm", "runs 2 times"), ("unused", "does not")]
)
def test_a_layer_that_runs_never_or_twice_is_told(layer, times):
    module = seeded(Awkward, 2, "classification")
    module.unused = nn.Conv2d(1, 1, 1)
    with pytest.raises(InputError, match=rf"^layer '{layer}' {times}.* so it has no single map; name another layer$"):
        method(f"grad_cam(layer={layer!r})")(Score(module, "class_score(0)"), batch(2))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_layer_without_space_is_told_with_what_is_wanted(rank):
    axes = "rows, columns" if rank == 2 else "i, j, k"
    with pytest.raises(
        InputError, match=rf"^layer 'head' gives \(2, 3\), which is no map .*\(batch, channel, {axes}\)$"
    ):
        method("grad_cam(layer='head')")(Score(seeded(Awkward, rank, "classification"), "class_score(0)"), batch(rank))


class Last(nn.Module):
    """Works with channels last between two permutations."""

    def __init__(self, rank: int, stride: tuple[int, ...], width: int):
        super().__init__()
        self.stem = {2: nn.Conv2d, 3: nn.Conv3d}[rank](1, width, stride, stride)
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.mix(self.stem(x).movedim(1, -1)).flatten(1, -2).mean(1))


@pytest.mark.parametrize(
    ("space", "stride", "width", "shape"),
    [
        ((32, 36), (4, 4), 24, r"\(2, 8, 9, 24\)"),
        ((32, 36), (4, 4), 99, r"\(2, 8, 9, 99\)"),
        ((8, 32, 32), (2, 8, 8), 64, r"\(2, 4, 4, 4, 64\)"),
    ],
)
def test_channels_last_in_places_that_cannot_be_followed_are_told_and_never_chosen(space, stride, width, shape):
    class Lost(Last):
        def forward(self, x):
            return super().forward(x.flip(2))

    module, x = Lost(len(space), stride, width), torch.rand(2, 1, *space)
    with pytest.raises(InputError, match=rf"^layer 'mix' gives {shape} with its channels last"):
        Score(module, "class_score(0)").tap(x, ["mix"])
    with pytest.raises(InputError, match=r"has no layer that gives a map"):
        method("grad_cam")(Score(module, "class_score(0)"), x)


def test_a_map_larger_than_the_image_is_not_taken_for_channels_last():
    module = Head(nn.Upsample(scale_factor=2), nn.Conv2d(1, 4, 3))
    assert chosen(module, 1, 16, 16) == "features"


def test_flat_voxels_and_thin_maps_are_not_taken_for_channels_last():
    class Thin(nn.Module):
        def __init__(self):
            super().__init__()
            self.thin = nn.Conv3d(1, 3, 3, stride=(1, 1, 4), padding=1)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.thin(x.flip(2)).flatten(2).mean(2))

    (tap,) = Score(Thin(), "class_score(0)").tap(torch.rand(1, 1, 16, 16, 16), ["thin"]).taps
    assert tap.activation.shape == (1, 3, 16, 16, 4)
    assert not tap.cells.measured


def test_several_layers_are_caught_in_one_pass_each_with_its_own_gradient():
    module, x = seeded(Awkward, 3, "classification"), batch(3)
    score = Score(module, "class_score(1)")
    together = score.tap(x, ["first", "second", "drop"]).taps
    assert [tap.layer for tap in together] == ["first", "second", "drop"]
    for tap in together:
        (alone,) = score.tap(x, [tap.layer]).taps
        assert torch.equal(tap.activation, alone.activation)
        torch.testing.assert_close(tap.gradient, alone.gradient, rtol=1e-12, atol=1e-15)
        assert tap.cells == alone.cells


def test_the_gradient_is_that_of_the_score_by_the_activation():
    """Against finite differences of the rest of the network."""
    module, x = seeded(Awkward, 2, "classification"), batch(2, count=1)
    (tap,) = Score(module, "class_score(2)").tap(x, ["second"]).taps

    def rest(change):
        handle = module.second.register_forward_hook(lambda part, inputs, output: output + change)
        with torch.no_grad():
            value = float(module(x)[0, 2])
        handle.remove()
        return value

    step = torch.zeros_like(tap.activation)
    step[0, 3, 2, 1] = 1e-6
    slope = (rest(step) - rest(-step)) / 2e-6
    assert slope == pytest.approx(float(tap.gradient[0, 3, 2, 1]), rel=1e-5, abs=1e-9)


def test_an_activation_is_kept_as_it_was_before_what_follows_changed_it():
    module, x = seeded(Awkward, 2, "classification"), batch(2)
    (tap,) = Score(module, "class_score(0)").tap(x, ["first"]).taps
    assert torch.equal(tap.activation, module.first(x).detach())
