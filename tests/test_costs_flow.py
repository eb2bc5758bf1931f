"""What a flow through all convolutions of the source's U-Nets costs, counted against one gradient of the input."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from voxplain.data.image import Image
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.networks import deepseg_unet, deepseg_unet_small
from voxplain.score.target import Region
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.flow_layers import convolutions
from voxplain.study.flow_maps import flowing, layer_maps

TARGET = Region(1, over="whole")
NETWORKS = {26: deepseg_unet, 16: deepseg_unet_small}
"""Convolutions -> the network that has so many."""

CAMS = ("grad_cam", "gated_grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam")

ALL_AT_ONCE = 1.1
"""The promise: maps of all layers for so many times one gradient of the input."""


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        explainer = Explainer(Model.of(NETWORKS[request.param]()))
        values = torch.randn(4, 32, 32, 32).numpy()
    ready = explainer.ready(Image.of(values, Grid((32, 32, 32))))
    layers = convolutions(explainer.model, ready.x)
    assert len(layers) == request.param
    list(layer_maps(explainer, ready, [(TARGET, method("grad_cam"))], layers))  # prepares the network
    return explainer, ready, layers


def operations(case, *specs: str) -> int:
    """Of a flow of these methods."""
    explainer, ready, layers = case
    with FlopCounterMode(display=False) as counted:
        found = list(layer_maps(explainer, ready, [(TARGET, flowing(method(spec))) for spec in specs], layers))
    assert len(found) == len(specs) * len(layers)
    return counted.get_total_flops()


def of_a_gradient(case) -> int:
    explainer, ready, _ = case
    with FlopCounterMode(display=False) as counted:
        explainer.maps(ready, [(TARGET, method("gradient"))])
    return counted.get_total_flops()


@pytest.mark.parametrize("spec", [*CAMS, "gradient", "input_x_gradient"])
def test_all_layers_of_a_method_cost_no_more_than_a_gradient_of_the_input(case, spec):
    assert operations(case, spec) <= ALL_AT_ONCE * of_a_gradient(case)


def test_all_methods_at_all_layers_cost_no_more_together(case):
    assert operations(case, *CAMS, "gradient") <= ALL_AT_ONCE * of_a_gradient(case)


def test_guided_grad_cam_costs_one_backward_more(case):
    backward = of_a_gradient(case) / 2
    assert operations(case, "guided_grad_cam") <= ALL_AT_ONCE * of_a_gradient(case) + backward
    assert operations(case, "grad_cam", "guided_grad_cam") <= ALL_AT_ONCE * of_a_gradient(case) + backward
