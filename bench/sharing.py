"""The row of many methods asked together about one volume, against the sum of their single runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, flat
from bench.networks import on, picture, resnet18_3d
from voxplain.score.meeting import together

CLASS = 1
SPECS = (
    "gradient",
    "input_x_gradient",
    "guided_backprop",
    "deconvnet",
    "lrp(composite='epsilon_plus')",
    "lrp(composite='alpha2_beta1')",
    "lrp(composite='epsilon_gamma_box', low=0.0, high=1.0)",
    *(f"{name}(layer='layer4')" for name in ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam")),
)


def rows() -> list[Row]:
    """One volume of a usual size."""
    return [
        Row(
            name="together_3d",
            work="Gradient, input x gradient, guided backprop, deconvnet, three LRP composites and five CAMs together",
            network="3D ResNet-18",
            size="1 x 1 x 64^3",
            build=lambda device: all_together(device, resnet18_3d(), picture(device, 1, 1, 64, 64, 64)),
            goal="0.6 of the sum of single runs (1.67 x)",
            limit="0.53 by operations; ways back by rules share nothing, and take more time for as many operations",
            repeats=3,
        )
    ]


def all_together(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """Twelve methods in one meeting, and one after the other."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    methods = [vx.method(spec) for spec in SPECS]
    made = lambda: vx.Score(model, f"class_score({CLASS})")  # noqa: E731
    at_once = lambda: together([(made(), partial(_map, one, x)) for one in methods])  # noqa: E731
    singly = lambda _: lambda: [_map(one, x, made()) for one in methods]  # noqa: E731
    return Contest(
        ours=at_once,
        forward=lambda: plain(x),
        peers={"Voxplain, one by one": Rival(make=singly, compared=_joined)},
    )


def _map(method: Any, x: Tensor, score: vx.Score) -> Any:
    return method(score, x)


def _joined(ours: Any, theirs: Any) -> tuple[Tensor, Tensor]:
    """All maps in one row each, every one as a share of its largest value."""
    one, other = ([flat(part).flatten() for part in maps] for maps in (ours, theirs))
    sizes = [part.abs().max() for part in other]
    return tuple(torch.cat([part / size for part, size in zip(maps, sizes, strict=True)]) for maps in (one, other))
