"""Rows of the flow: maps at every convolution of NeuroXAI's U-Net, against one gradient of the input."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row
from bench.networks import on, picture, settled
from voxplain.score.networks import deepseg_unet
from voxplain.study.flow_layers import convolutions

SHAPE = (4, 64, 64, 64)
TARGET = "region(1, over='whole')"
METHODS = {"grad_cam": ("Grad-CAM", "1.1 x a gradient of the input"),
           "guided_grad_cam": ("Guided Grad-CAM", "1.1 x a gradient of the input, and a backward")}  # fmt: skip


def rows() -> list[Row]:
    """Both methods of the source's flow."""
    return [
        Row(
            name=f"flow_{name}",
            work=f"{words} at all 26 convolutions",
            network="3D U-Net of NeuroXAI",
            size="1 x " + " x ".join(map(str, SHAPE)),
            build=partial(_build, name),
            goal=goal,
            limit="layers that are read keep their norms, and what comes after them gets a copy of their output",
            repeats=5,
        )
        for name, (words, goal) in METHODS.items()
    ]


def _build(name: str, device: torch.device) -> Contest:
    return flow(device, source_unet(), picture(device, 1, *SHAPE), name)


def source_unet() -> nn.Module:
    """The source's network with norms that scale and shift."""
    torch.manual_seed(0)
    return settled(deepseg_unet(), (4, 32, 32, 32))


def flow(device: torch.device, network: nn.Module, x: Tensor, name: str) -> Contest:
    """All layers at once; beside it the input gradient, by us and by bare torch on the network as it is."""
    model, plain = vx.Model.of(on(network, device)), on(network, device).requires_grad_(False)
    every: Any = replace(vx.method(name), layer=convolutions(model, x))  # type: ignore[call-arg]

    def forward() -> Tensor:
        with torch.no_grad():
            found: Tensor = plain(x)
        return found

    def bare() -> Tensor:
        leaf = x.detach().clone().requires_grad_()
        return torch.autograd.grad(plain(leaf)[:, 1].mean(), leaf)[0]

    different = "another map: what a flow's cost is held against"
    return Contest(
        ours=lambda: every(vx.Score(model, TARGET), x),
        forward=forward,
        peers={
            "input gradient, torch": Rival(make=lambda _: bare, differs=different),
            "input gradient, ours": Rival(
                make=lambda _: lambda: vx.method("gradient")(vx.Score(model, TARGET), x), differs=different
            ),
        },
    )
