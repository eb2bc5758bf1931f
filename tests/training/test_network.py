"""The network of a recipe: outputs put in, born by the recipe's seed, started from files and target means."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from voxplain.errors import InputError, OptionError, TrustError
from voxplain.score.callables import load_callable
from voxplain.training.network import network_spec, new_network
from voxplain.training.recipe import Recipe

CLASSIFY = Recipe(task="classification", network="small_cnn_2d(width=4)")
MEASURE = Recipe(task="regression", network="pumpkin_net", loss="squared", target_bias=True)


@pytest.mark.parametrize(("network", "spec"), [
    ("small_cnn_2d(width=4)", "small_cnn_2d(width=4, classes=3)"),
    ("small_cnn_2d(classes=3)", "small_cnn_2d(classes=3)"),
    ("pumpkin_net", "pumpkin_net(classes=3)"),
    ("torchvision.models:resnet18", "torchvision.models:resnet18(num_classes=3)"),
    ("timm.create_model('resnet10t')", "timm:create_model('resnet10t', num_classes=3)"),
    ("grey_resnet(depth=18, pretrained='w.npz')", "grey_resnet(depth=18, classes=3)"),
])  # fmt: skip
def test_the_number_of_classes_is_put_in(network, spec):
    assert network_spec(replace(CLASSIFY, network=network), 3) == spec


@pytest.mark.parametrize(("network", "spec"), [
    ("pumpkin_net", "pumpkin_net"),
    ("small_regressor(width=4)", "small_regressor(width=4, outputs=1)"),
    ("torchvision.models:resnet18", "torchvision.models:resnet18(num_classes=1)"),
])  # fmt: skip
def test_a_regression_has_one_output(network, spec):
    assert network_spec(replace(MEASURE, network=network), 1) == spec


def test_another_number_of_outputs_than_the_data_have_is_told():
    with pytest.raises(
        OptionError, match=r"network must have 3 outputs for these data, got 'small_cnn_2d\(classes=2\)'"
    ):
        network_spec(replace(CLASSIFY, network="small_cnn_2d(classes=2)"), 3)


def test_the_seed_decides_the_weights_and_the_caller_s_state_stays():
    state = torch.get_rng_state()
    one, again, other = (new_network(CLASSIFY, "small_cnn_2d", seed=seed).head.weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("network", ["torchvision.models:squeezenet1_1(num_classes=2)", "small_cnn_2d"])
def test_the_recipe_s_seed_reaches_networks_of_every_package(network):
    first = [next(new_network(CLASSIFY, network, seed=seed).parameters()) for seed in (1, 2)]
    assert not torch.equal(*first)


def test_the_target_bias_begins_at_the_mean():
    assert new_network(MEASURE, "pumpkin_net", 51.5).head.bias.item() == 51.5
    assert new_network(replace(MEASURE, target_bias=False), "pumpkin_net", 51.5).head.bias.item() == 0
    with pytest.raises(OptionError, match="target_bias needs a network whose last layer is linear"):
        new_network(MEASURE, "small_unet", 1.0)


def test_a_backbone_starts_from_a_local_file(tmp_path):
    module = load_callable("small_cnn_2d").module
    save_file({name: value + 1 for name, value in module.state_dict().items()}, tmp_path / "w.safetensors")
    recipe = replace(CLASSIFY, backbone=str(tmp_path / "w.safetensors"))
    started = new_network(recipe, "voxplain.score.networks:small_cnn_2d")
    assert torch.equal(started.head.bias, module.head.bias + 1)


def test_code_of_others_is_not_run():
    with pytest.raises(TrustError, match="network 'os:getcwd' would run 'os'"):
        network_spec(replace(CLASSIFY, network="os:getcwd"), 2)


def test_unknown_options_of_a_network_are_told():
    with pytest.raises((OptionError, InputError), match="widht"):
        new_network(CLASSIFY, "small_cnn_2d(widht=3)")
