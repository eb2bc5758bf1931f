"""Rows of layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run, same
from bench.floor import Layout
from bench.networks import on, picture, resnet18, resnet50

CLASS = 1
BATCH = 4
NETWORKS = {"ResNet-18": resnet18, "ResNet-50": resnet50}
COMPOSITES: dict[str, tuple[str, Callable[[Any, Any], object]]] = {
    "epsilon_plus": ("", lambda library, canonizers: library.EpsilonPlus(canonizers=canonizers)),
    "alpha2_beta1": ("", lambda library, canonizers: library.EpsilonAlpha2Beta1(canonizers=canonizers)),
    "epsilon_gamma_box": (
        ", low=0.0, high=1.0",
        lambda library, canonizers: library.EpsilonGammaBox(low=0.0, high=1.0, canonizers=canonizers),
    ),
}


def rows() -> list[Row]:
    """Three composites on two networks."""
    return [
        Row(
            name=f"lrp_{name}_{label.lower().replace('-', '')}",
            work=f"LRP {name.replace('_', '-')}",
            network=label,
            size=f"{BATCH} x 3 x 224 x 224",
            build=lambda device, name=name, network=network: relevance(
                device, network(), picture(device, BATCH, 3, 224, 224), name
            ),
            goal="2 x Zennit",
            repeats=3,
        )
        for label, network in NETWORKS.items()
        for name in COMPOSITES
    ]


def relevance(device: torch.device, network: nn.Module, x: Tensor, name: str) -> Contest:
    """One composite; Zennit gets the network with its norms folded, as it would drop their epsilon."""
    options, composite = COMPOSITES[name]
    model, method = vx.Model.of(on(network, device)), vx.method(f"lrp(composite={name!r}{options})")
    plain = on(network, device)
    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({CLASS})"), x),
        forward=lambda: plain(x[:1]),
        peers={
            "Zennit": Rival(
                make=lambda last: _zennit(network, x, composite, Layout(last, len(x))),
                settings=(False, True),
                knob="channels last",
                package="zennit",
                compared=same,
            )
        },
    )


def _zennit(network: nn.Module, x: Tensor, composite: Callable[[Any, Any], object], layout: Layout) -> Run:
    """Zennit's attributor, registered once; its rules are told nothing of residual sums but by its own canonizer."""
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    twin = norms_folded(on(network, x.device))
    if layout.last:
        twin = twin.to(memory_format=torch.channels_last)
    attributor = Gradient(twin, composite(composites, [ResNetCanonizer()]))
    attributor.__enter__()
    classes = twin.fc.out_features

    def chosen(output: Tensor) -> Tensor:
        return output * torch.eye(classes, device=output.device)[[CLASS]]

    return lambda: attributor(layout.laid(x), chosen)[1]


def norms_folded(network: nn.Module) -> nn.Module:
    """A ResNet of torchvision, still of its own class, with each norm in the convolution before it."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for part in network.modules():
        numbers = [number for number in ("1", "2", "3") if hasattr(part, f"conv{number}")]
        for number in numbers:
            fused = fuse_conv_bn_eval(getattr(part, f"conv{number}"), getattr(part, f"bn{number}"))
            setattr(part, f"conv{number}", fused)
            setattr(part, f"bn{number}", nn.Identity())
        if getattr(part, "downsample", None) is not None:
            part.downsample = nn.Sequential(fuse_conv_bn_eval(*part.downsample))
    return network
