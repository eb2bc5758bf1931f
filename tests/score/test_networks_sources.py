"""The networks of the five source studies: their sizes, heads, frozen parts and starting weights."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from voxplain.errors import FileError, InputError, MissingExtra, OptionError, TrustError
from voxplain.ops.relabel import FewRelabelled
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.networks import (
    deepseg_unet,
    deepseg_unet_small,
    grey_resnet,
    pumpkin_net,
    squeezenet_views,
    transfer,
)
from voxplain.score.networks_transfer import timm_backbone
from voxplain.score.prediction import prediction

BUILD = {
    "pumpkin_net": (pumpkin_net, {"bias": 55.0}),
    "grey_resnet": (grey_resnet, {"size": 64}),
    "transfer": (transfer, {"backbone": "resnet50v2", "size": 64}),
    "squeezenet_views": (squeezenet_views, {"size": 67}),
    "deepseg_unet_small": (deepseg_unet_small, {}),
}


@pytest.fixture(autouse=True)
def _hub():
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")


def numbers(module, *, trained=False):
    """Parameters of a module, of those that are trained alone where asked for."""
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad or not trained)


def statistics(module):
    """Means and variances that its norms keep."""
    return sum(value.numel() for name, value in module.named_buffers() if name.endswith(("_mean", "_var")))


def test_the_same_seed_gives_the_same_network():
    for build, options in BUILD.values():
        twins = []
        for _ in range(2):
            with torch.random.fork_rng():
                torch.manual_seed(4)
                twins.append(build(**options).state_dict())
        assert all(torch.equal(twins[0][name], twins[1][name]) for name in twins[0])


# --- the pumpkins' network -------------------------------------------------------------------------------------------


def test_pumpkin_net_has_the_parameters_of_the_source():
    assert numbers(pumpkin_net()) == 60_593


def test_its_maps_have_the_sizes_of_keras_same_padding():
    x, sides = torch.rand(1, 1, 98, 98), []
    for name, layer in pumpkin_net().features.named_children():
        x = layer(x)
        sides += [x.shape[2]] if name.startswith("pool") else []
    assert sides == [49, 25, 13, 7, 4]


def test_it_begins_at_the_mean_of_the_target():
    network = pumpkin_net(bias=51.5).eval()
    assert network(torch.zeros(1, 1, 98, 98)).item() == 51.5
    assert all(not part.bias.any() for part in network.modules() if isinstance(part, nn.Conv2d))


def test_its_batch_norms_stand_before_the_convolutions():
    kinds = [type(part).__name__ for part in pumpkin_net(batch_norm=True).features]
    assert kinds[:4] == ["BatchNorm2d", "Conv2d", "ReLU", "SameMaxPool"]
    assert kinds.count("BatchNorm2d") == 5


def test_its_two_class_variant_has_no_last_bias():
    network = pumpkin_net(classes=2).eval()
    assert network.head.bias is None
    assert network(torch.rand(3, 1, 98, 98)).shape == (3, 2)


def test_it_says_which_pictures_it_reads():
    with pytest.raises(InputError, match=r"pumpkin_net reads one channel of 98 x 98 pixels, got \(1, 64, 64\)$"):
        pumpkin_net()(torch.rand(1, 1, 64, 64))
    with pytest.raises(InputError, match=r"bias must be left out with classes"):
        pumpkin_net(classes=2, bias=3.0)
    with pytest.raises(InputError, match=r"classes must be at least 2, or left out for an age, got 1"):
        pumpkin_net(classes=1)


# --- the muscles' network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "width"), [(18, 512), (50, 2048)])
def test_grey_resnet_ends_in_a_linear_head_over_six_by_six_places(depth, width):
    network = grey_resnet(depth=depth)
    assert [type(part).__name__ for part in network.head] == ["Conv2d", "Flatten", "Linear"]
    assert network.head.conv.weight.shape == (width, width, 2, 2)
    assert network.head.fc.in_features == width * 36
    assert network.eval()(torch.rand(1, 1, 224, 224)).shape == (1, 2)


def test_only_its_head_is_trained():
    network = grey_resnet(size=64)
    assert numbers(network, trained=True) == numbers(network.head)
    assert numbers(grey_resnet(size=64, frozen=False), trained=True) == numbers(network)


def test_it_needs_224_pixels_unless_told_otherwise():
    with pytest.raises(InputError, match=r"one channel of 224 x 224 pixels, got \(1, 200, 224\); prepare the pictures"):
        grey_resnet()(torch.rand(1, 1, 200, 224))
    assert grey_resnet(size=64).eval()(torch.rand(1, 1, 64, 64)).shape == (1, 2)


def test_its_first_kernel_is_a_sum_over_colours_at_random_too():
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.manual_seed(2)
        coloured = resnet18()
        torch.manual_seed(2)
        grey = grey_resnet(size=64)
    assert torch.equal(grey.backbone.conv1.weight, coloured.conv1.weight.sum(1, keepdim=True))


def test_its_first_kernel_is_the_sum_over_the_colours_of_the_file(tmp_path):
    from torchvision.models import resnet18

    coloured = resnet18().eval()
    save_file({f"module.{name}": value for name, value in coloured.state_dict().items()}, tmp_path / "w.safetensors")
    network = grey_resnet(size=64, pretrained=str(tmp_path / "w.safetensors")).eval()
    x = torch.rand(1, 1, 64, 64)
    first = coloured.conv1(x.expand(1, 3, 64, 64))
    assert torch.allclose(network.backbone.conv1(x), first, atol=1e-5)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, coloured.layer4[1].conv2.weight)
    assert network.origin.startswith("the backbone starts from 'w.safetensors' and the head from random weights")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 34}, "depth must be 18 or 50, got 34"),
        ({"size": 32}, "size must be at least 33"),
        ({"classes": 0}, "classes"),
    ],
)
def test_grey_resnet_refuses(options, words):
    with pytest.raises(InputError, match=words):
        grey_resnet(**options)


# --- transfer classifiers --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_low_xception_has_the_parameters_of_the_study():
    network = transfer(backbone="xception", head="low", hidden=256, classes=3)
    assert numbers(network) + statistics(network) == 21_386_795
    assert numbers(network, trained=True) == 525_315


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "features"),
    [("xception", 2048), ("inception_v3", 2048), ("resnet50", 2048), ("densenet201", 1920), ("resnet50v2", 2048)],
)
def test_every_backbone_of_the_studies_answers(backbone, features):
    network = transfer(backbone=backbone, classes=4).eval()
    assert network.head[2].in_features == features
    assert network(torch.rand(1, 3, 96, 96)).shape == (1, 4)


def test_the_best_model_trains_everything_and_has_three_layers_with_dropout():
    network = transfer(backbone="resnet18", head="best", hidden=64)
    kinds = [type(part).__name__ for part in network.head]
    assert (kinds.count("Linear"), kinds.count("Dropout")) == (3, 3)
    assert [part.out_features for part in network.head if isinstance(part, nn.Linear)] == [64, 32, 3]
    assert numbers(network, trained=True) == numbers(network)


def test_the_grade_head_pools_three_by_three_places_apart():
    network = transfer(backbone="resnet50v2", head="grade", classes=2).eval()
    assert network.head[2].in_features == 8192
    assert network.head[4].p == 0.5
    assert network(torch.rand(1, 3, 224, 224)).shape == (1, 2)
    with pytest.raises(InputError, match=r"'grade' needs a last map of 3 x 3 or more, got 2 x 2; raise size$"):
        transfer(backbone="resnet18", head="grade", size=64)


def test_a_frozen_backbone_may_be_freed():
    assert numbers(transfer(backbone="resnet18"), trained=True) == 512 * 256 + 256 + 256 * 3 + 3
    freed = transfer(backbone="resnet18", frozen=False)
    assert numbers(freed, trained=True) == numbers(freed)


def test_torchvision_weights_of_a_classifier_start_the_backbone_of_timm(tmp_path):
    from torchvision.models import resnet18

    torch.save({"state_dict": resnet18().state_dict()}, tmp_path / "w.pt")
    network = transfer(backbone="resnet18", channels=1, pretrained=str(tmp_path / "w.pt"))
    held = torch.load(tmp_path / "w.pt", weights_only=True)["state_dict"]
    assert torch.equal(network.backbone.conv1.weight, held["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(network.backbone.layer3[0].bn1.running_var, held["layer3.0.bn1.running_var"])


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(timm_backbone("resnet34", 3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w.pt' do not fit the model: \d+ unexpected"):
        transfer(backbone="resnet18", pretrained=str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "xceptoin"}, "unknown backbone 'xceptoin'; did you mean 'xception'"),
        ({"backbone": "hf-hub:someone/net"}, "unknown backbone"),
        ({"head": "top"}, "unknown head 'top'; choose from"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
    ],
)
def test_transfer_refuses(options, words):
    with pytest.raises((InputError, OptionError), match=words):
        transfer(**options)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"timm.*voxplain\[hub\]"):
        transfer()


# --- the chest views' network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "side"), [("1_0", 13), ("1_1", 14)])
def test_the_pooling_of_squeezenet_is_replaced_by_a_linear_layer_over_the_class_map(version, side):
    network = squeezenet_views(version=version).eval()
    assert network.backbone(torch.rand(1, 3, 227, 227)).shape == (1, 1000, side, side)
    assert network.head[1].in_features == 1000 * side**2
    assert network(torch.rand(1, 3, 227, 227)).shape == (1, 2)


def test_squeezenet_starts_from_its_real_weights(data_folder):
    path = data_folder / "weights" / "squeezenet1_0_imagenet.npz"
    model = load_model(f"squeezenet_views(version='1_0', size=99, pretrained={str(path)!r})")
    assert model.notices == (f"the backbone starts from {path.name!r} and the head from random weights",)
    with pytest.raises(InputError, match=r"do not fit the model"):
        squeezenet_views(version="1_1", pretrained=str(path))


def test_squeezenet_says_which_pictures_it_reads():
    with pytest.raises(InputError, match=r"three channels of 227 x 227 pixels, got \(3, 224, 224\)"):
        squeezenet_views()(torch.rand(1, 3, 224, 224))
    with pytest.raises(InputError, match=r"version must be '1_0' or '1_1', got '2'"):
        squeezenet_views(version="2")


# --- the tumours' network --------------------------------------------------------------------------------------------


def test_deepseg_lists_26_convolutions_in_the_order_they_run():
    network, ran = deepseg_unet(filters=1).eval(), []
    names = {part: name for name, part in network.named_modules() if isinstance(part, nn.Conv3d)}
    for part in names:
        part.register_forward_hook(lambda part, *_: ran.append(names[part]))
    network(torch.rand(1, 4, 32, 32, 32))
    assert ran == list(names.values()) == ["conv3d", *(f"conv3d_{n}" for n in range(1, 25)), "output_layer"]


def test_deepseg_has_about_2_6_million_parameters():
    assert round(numbers(deepseg_unet()) / 1e6, 1) == 2.6
    assert numbers(deepseg_unet_small()) < 200_000


def test_deepseg_can_stay_narrow_in_the_same_26_convolutions():
    network = deepseg_unet(widest=16).eval()
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv3d)]
    # Down and up: 8 channels in the first level, 16 in the four others.
    down, up = [8, 8, *[16] * 8], [*[16] * 12, 8, 8, 8]
    assert [part.out_channels for part in convolutions] == [*down, *up, 4]
    assert numbers(network) == 148_572
    assert network(torch.rand(1, 4, 32, 32, 32)).shape == (1, 4, 32, 32, 32)
    with pytest.raises(InputError, match=r"^deepseg_unet: widest must be at least 1, got 0$"):
        deepseg_unet(widest=0)


def test_its_skips_carry_what_goes_into_a_level():
    network = deepseg_unet(channels=3, filters=4, depth=2)
    # Levels take 3 and 4 channels; on the way up these stand beside what comes from below.
    assert network.conv3d_5.in_channels == 8 + 4
    assert network.conv3d_8.in_channels == 4 + 3


def test_its_even_kernels_are_padded_behind():
    network = deepseg_unet(channels=1, classes=2, filters=1, depth=1).eval()
    for part in network.modules():
        if isinstance(part, nn.Conv3d):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    seen = []
    network.conv3d_2.weight.data[0, 0, 1, 1, 1] = 1.0  # takes the next voxel of every axis
    network.conv3d_2.register_forward_hook(lambda part, inputs, output: seen.append(output))
    network.dropout.register_forward_hook(lambda *_: torch.arange(8.0).reshape(1, 1, 2, 2, 2))
    network(torch.rand(1, 1, 4, 4, 4))
    assert seen[0].flatten().tolist() == [7, 0, 0, 0, 0, 0, 0, 0]


def test_deepseg_says_which_sides_it_needs():
    with pytest.raises(InputError, match=r"multiples of 8, got \(16, 20, 16\); prepare with .*pad_multiple=8$"):
        deepseg_unet_small()(torch.rand(1, 4, 16, 20, 16))


def test_it_carries_the_relabelling_of_few_enhancing_voxels():
    assert deepseg_unet_small().postprocess == FewRelabelled(label=3, to=1, fewer_than=200)
    assert deepseg_unet_small(classes=2).postprocess is None


# --- starting weights ------------------------------------------------------------------------------------------------


def test_without_a_file_the_weights_are_random_and_said_to_be():
    assert load_model("grey_resnet(size=64)").notices == (
        "no --weights were given, so the network's weights are random",
    )
    assert grey_resnet(size=64).origin == "no pretrained=FILE was given, so the backbone starts from random weights"


def test_weights_of_the_whole_network_go_over_the_backbone(tmp_path):
    save_file(grey_resnet(size=64).state_dict(), tmp_path / "w.safetensors")
    model = load_model("grey_resnet(size=64)", weights=tmp_path / "w.safetensors")
    assert model.notices == ()


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("https://example.org/w.pt", OptionError, "nothing is downloaded"),
        ("none.pt", FileError, "weights 'none.pt' does not exist"),
        ("w.txt", FileError, "must end in one of"),
    ],
)
def test_a_start_that_is_no_local_file_is_refused(tmp_path, monkeypatch, name, error, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.txt").write_text("no weights")
    with pytest.raises(error, match=words):
        load_model(f"grey_resnet(size=64, pretrained={name!r})")


def test_a_pickled_start_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(TrustError, match=r"would run its own code when loaded"):
        grey_resnet(size=64, pretrained=str(tmp_path / "w.pt"))


def test_few_enhancing_voxels_of_a_prediction_are_called_necrosis():
    model = Model.of(deepseg_unet_small(), head="softmax")
    output = torch.zeros(1, 4, 12, 12, 12)
    output[:, 0] = 1
    output[:, 3, :5, :5, :7] = 2  # 175 voxels
    output[:, 3, 6, 6, 6] = 2
    assert prediction(output, model).scores == (12**3 - 176, 176, 0, 0)
    output[:, 3, :5, :5, :8] = 2  # 200 and one
    assert prediction(output, model).scores == (12**3 - 201, 0, 0, 201)
