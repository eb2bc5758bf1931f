import pytest
import torch
from torch import nn

from voxplain.errors import InputError
from voxplain.score.networks import NETWORKS, small_cnn_2d, small_cnn_3d, small_regressor, small_unet

SMALL = ("small_cnn_2d", "small_cnn_3d", "small_unet", "small_regressor")


@pytest.mark.parametrize(("make", "space"), [(small_cnn_2d, (13, 20)), (small_cnn_3d, (9, 12, 8))])
def test_a_classifier_gives_one_logit_a_class(make, space):
    network = make(channels=2, classes=3).eval()
    assert network(torch.rand(4, 2, *space)).shape == (4, 3)


@pytest.mark.parametrize("space", [(16, 16), (13, 9), (7, 10, 5)])
def test_a_segmenter_keeps_the_grid_also_with_odd_sides(space):
    network = small_unet(spatial_dims=len(space), channels=2, classes=4).eval()
    assert network(torch.rand(2, 2, *space)).shape == (2, 4, *space)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_regressor_gives_one_number_a_case(spatial_dims):
    network = small_regressor(spatial_dims=spatial_dims).eval()
    assert network(torch.rand(3, 1, *[8] * spatial_dims)).shape == (3, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_table_is_built_without_options(name):
    assert isinstance(NETWORKS[name](), nn.Module)


def test_the_table_names_its_callables():
    assert all(make.__name__ == name for name, make in NETWORKS.items())


def test_the_last_block_sees_a_quarter_of_the_input():
    network = small_cnn_2d(depth=4).eval()
    assert network.blocks(torch.rand(1, 1, 32, 24)).shape[2:] == (8, 6)


def test_the_width_doubles_from_block_to_block():
    assert small_cnn_3d(width=4, depth=3).head.in_features == 16


def test_every_level_of_the_segmenter_reaches_the_output():
    network = small_unet(width=2, depth=2)
    network(torch.rand(2, 1, 16, 16)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_fine_detail_of_the_segmenter_takes_the_short_way():
    network = small_unet(depth=1).eval()

    class Silent(nn.Module):
        def forward(self, x):
            return torch.zeros(x.shape[0], 16, *(n // 2 for n in x.shape[2:]))

    network.down[0] = Silent()
    dark, bright = network(torch.zeros(1, 1, 8, 8)), network(torch.ones(1, 1, 8, 8))
    assert not torch.allclose(dark, bright)


@pytest.mark.parametrize("name", SMALL)
def test_can_be_exported(name):
    network = NETWORKS[name]().eval()
    x = torch.rand(2, 1, *([8] * (3 if name.endswith("3d") else 2)))
    assert torch.allclose(torch.export.export(network, (x,)).module()(x), network(x), atol=1e-5)


def test_refuses_a_strange_number_of_axes():
    with pytest.raises(InputError, match="spatial_dims must be 2 or 3, got 4"):
        small_unet(spatial_dims=4)


def test_refuses_an_empty_width():
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        small_cnn_2d(width=0)
