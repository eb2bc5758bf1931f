"""Rows of the activation maps that ask the model about every channel: Ablation-CAM and Score-CAM."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.cams import halves, pytorch_grad_cam_scaled, top_class
from bench.contest import Contest, Rival, Row, Run, same
from bench.floor import Layout, folded, layouts
from bench.networks import on, picture, resnet18

LAYER = "layer4"
AT_ONCE = (16, 64)
SIDES = ((112, False), (224, True))


def rows() -> list[Row]:
    """Both at the last block, of a small and a usual picture."""
    return [
        Row(
            name=name + ("_full" if long else ""),
            work=f"{label}, last block, 512 channels",
            network="ResNet-18",
            size=f"1 x 3 x {side} x {side}",
            build=lambda device, build=build, side=side: build(device, resnet18(), picture(device, 1, 3, side, side)),
            goal=goal,
            limit=""
            if name == "ablation_cam"
            else "512 forwards are the same for all, and bare torch is 1.2 x as fast",
            repeats=3,
            long=long,
        )
        for name, label, build, goal in (
            ("ablation_cam", "Ablation-CAM", ablation_cam, "50 x pytorch-grad-cam"),
            ("score_cam", "Score-CAM", score_cam, "1.5 x the fastest of pytorch-grad-cam and torchcam"),
        )
        for side, long in SIDES
    ]


def ablation_cam(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """What the score loses without each channel: one backward, as all that follows the layer is linear."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    label = top_class(plain, x)
    method = vx.method(f"ablation_cam(layer={LAYER!r})")
    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({label})"), x),
        forward=lambda: plain(x),
        peers={
            "pytorch-grad-cam": Rival(
                make=lambda count: _pytorch_grad_cam("AblationCAM", network, x, label, count),
                settings=AT_ONCE,
                knob="batch_size",
                package="pytorch_grad_cam",
                compared=pytorch_grad_cam_scaled,
                differs="divides the falls by the score and scales maps to 0..1; ours was treated alike",
            )
        },
        floor=Rival(make=partial(_bare_ablation, network, x, label), settings=layouts(1), compared=same),
    )


def _bare_ablation(network: nn.Module, x: Tensor, label: int, layout: Layout) -> Run:
    stem, head = (folded(part, x.device, layout) for part in halves(network))

    def run() -> Tensor:
        with torch.no_grad():
            activation = stem(layout.laid(x))
        leaf = activation.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(head(leaf)[:, label].sum(), leaf)
        return ((gradient * activation).sum((2, 3), keepdim=True) * activation).sum(1, keepdim=True).relu()

    return run


def score_cam(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """What the score of the image seen through each channel is."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    label = top_class(plain, x)
    method = vx.method(f"score_cam(layer={LAYER!r}, weights='softmax')")
    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({label})"), x),
        forward=lambda: plain(x),
        peers=_score_cam_peers(network, x, label),
        floor=Rival(make=partial(_bare_score_cam, network, x, label), settings=layouts(*AT_ONCE)),
    )


def _score_cam_peers(network: nn.Module, x: Tensor, label: int) -> dict[str, Rival]:
    return {
        "pytorch-grad-cam": Rival(
            make=lambda count: _pytorch_grad_cam("ScoreCAM", network, x, label, count),
            settings=AT_ONCE,
            knob="batch_size",
            package="pytorch_grad_cam",
            compared=pytorch_grad_cam_scaled,
            alike=True,
            differs="aligns the corners of a channel with those of the image, where ours aligns places",
        ),
        "torchcam": Rival(
            make=lambda count: _torchcam(on(network, x.device), x, label, count),
            settings=AT_ONCE,
            knob="batch_size",
            package="torchcam",
            compared=same,
            alike=True,
            differs="scales a channel to 0..1 before it enlarges it, where ours enlarges first, as the paper does",
        ),
    }


def _bare_score_cam(network: nn.Module, x: Tensor, label: int, layout: Layout) -> Run:
    """The masked images and their scores."""
    prepared, stem = (folded(part, x.device, layout) for part in (network, halves(network)[0]))

    def run() -> Tensor:
        with torch.no_grad():
            masks = stem(layout.laid(x))[0][:, None]
            parts = (_wide(part, x) for part in masks.split(layout.count))
            return torch.cat([prepared(layout.laid(part * x))[:, label] for part in parts])

    return run


def _wide(part: Tensor, x: Tensor) -> Tensor:
    return nn.functional.interpolate(part, x.shape[2:], mode="bilinear")


def _pytorch_grad_cam(name: str, network: nn.Module, x: Tensor, label: int, count: int) -> Run:
    import pytorch_grad_cam as library
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    twin = on(network, x.device)
    cam: Any = getattr(library, name)(model=twin, target_layers=[twin.get_submodule(LAYER)])
    cam.batch_size = count
    return lambda: cam(input_tensor=x, targets=[ClassifierOutputTarget(label)])


def _torchcam(network: nn.Module, x: Tensor, label: int, count: int) -> Run:
    from torchcam.methods import ScoreCAM

    extractor = ScoreCAM(network, LAYER, batch_size=count, input_shape=tuple(x.shape[1:]))

    def run() -> Tensor:
        with torch.no_grad():
            return extractor(label, network(x), normalized=False)[0]

    return run
