"""Rows of the class activation maps at the last block of ResNet-50."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run, flat, same
from bench.floor import Layout, folded, layouts
from bench.networks import on, picture, resnet50
from voxplain.score.meeting import together

LAYER = "layer4"
CAMS = ("grad_cam", "gated_grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "xgrad_cam", "eigen_cam")
PEERS_CAMS = ("GradCAM", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM")
SCALED = "maps are scaled to 0..1 and enlarged to the input; ours was treated alike for the comparison"


def rows() -> list[Row]:
    """Grad-CAM of a batch, and all relatives of one image at once."""
    size = "{} x 3 x 224 x 224"
    return [
        Row(
            name="grad_cam",
            work="Grad-CAM, last block",
            network="ResNet-50",
            size=size.format(16),
            build=lambda device: grad_cam(device, resnet50(), picture(device, 16, 3, 224, 224)),
            goal="4 x pytorch-grad-cam, 1.3 x Captum and torchcam; within 1.1 of the floor",
        ),
        Row(
            name="cams_together",
            work="Grad-CAM, gated, ++, HiRes, Layer, XGrad and Eigen together",
            network="ResNet-50",
            size=size.format(4),
            build=lambda device: cams_together(device, resnet50(), picture(device, 4, 3, 224, 224)),
            goal="15 x pytorch-grad-cam's five; within 1.2 of one Grad-CAM",
        ),
    ]


def grad_cam(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """Grad-CAM at the last block, by everyone."""
    model, method = vx.Model.of(on(network, device)), vx.method(f"grad_cam(layer={LAYER!r})")
    plain = on(network, device)
    label = top_class(plain, x)
    return Contest(
        ours=lambda: method(vx.Score(model, f"class_score({label})"), x),
        forward=lambda: plain(x[:1]),
        peers={
            "pytorch-grad-cam": Rival(
                make=lambda _: _pytorch_grad_cam(network, x, label, ("GradCAM",)),
                package="pytorch_grad_cam",
                compared=pytorch_grad_cam_scaled,
                differs=SCALED,
            ),
            "Captum": Rival(make=lambda _: _captum(on(network, device), x, label), package="captum", compared=same),
            "torchcam": Rival(
                make=lambda _: _torchcam(on(network, device), x, label), package="torchcam", compared=same
            ),
        },
        floor=_floor(network, x, label),
    )


def cams_together(device: torch.device, network: nn.Module, x: Tensor) -> Contest:
    """Seven relatives from one pass; pytorch-grad-cam makes five of them one after the other."""
    model = vx.Model.of(on(network, device))
    methods = [vx.method(f"{name}(layer={LAYER!r})") for name in CAMS]
    plain = on(network, device)
    label = top_class(plain, x)
    alone = lambda: methods[0](vx.Score(model, f"class_score({label})"), x)  # noqa: E731

    def ours() -> Any:
        jobs = [(vx.Score(model, f"class_score({label})"), lambda score, one=one: one(score, x)) for one in methods]
        return together(jobs)[0]

    return Contest(
        ours=ours,
        forward=lambda: plain(x[:1]),
        peers={
            "pytorch-grad-cam": Rival(
                make=lambda _: _pytorch_grad_cam(network, x, label, PEERS_CAMS),
                package="pytorch_grad_cam",
                compared=pytorch_grad_cam_scaled,
                differs=f"five of the seven, without gated and Eigen; {SCALED}",
            ),
            "Voxplain, Grad-CAM alone": Rival(make=lambda _: alone, differs="one map of the seven"),
        },
        floor=_floor(network, x, label),
    )


def _pytorch_grad_cam(network: nn.Module, x: Tensor, label: int, names: tuple[str, ...]) -> Run:
    """The first of the named maps, after all of them were made."""
    import pytorch_grad_cam as library
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    made = []
    for name in names:
        twin = on(network, x.device)
        made.append(getattr(library, name)(model=twin, target_layers=[twin.get_submodule(LAYER)]))
    targets = [ClassifierOutputTarget(label)] * len(x)

    def run() -> Any:
        first, *_ = [cam(input_tensor=x, targets=targets) for cam in made]
        return first

    return run


def pytorch_grad_cam_scaled(ours: Any, theirs: Any) -> tuple[Tensor, Tensor]:
    """Our map as pytorch-grad-cam hands maps out, and its own."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    other = flat(theirs)
    height, width = other.shape[-2:]
    wide = scale_cam_image(flat(ours)[:, 0].float().numpy(), (width, height))
    return flat(scale_cam_image(wide)), other  # once a layer, and once more for the mean over layers


def _captum(network: nn.Module, x: Tensor, label: int) -> Run:
    from captum.attr import LayerGradCam

    method = LayerGradCam(network, network.get_submodule(LAYER))
    return lambda: method.attribute(x, target=label, relu_attributions=True)


def _torchcam(network: nn.Module, x: Tensor, label: int) -> Run:
    from torchcam.methods import GradCAM

    extractor = GradCAM(network, LAYER, input_shape=tuple(x.shape[1:]))
    return lambda: extractor(label, network(x), normalized=False)[0]


def _floor(network: nn.Module, x: Tensor, label: int) -> Rival:
    """A forward without a graph up to the layer and with one from there on."""

    def make(layout: Layout) -> Run:
        stem, head = (folded(part, x.device, layout) for part in halves(network))
        return lambda: torch.cat([_cam(stem, head, part, label) for part in layout.chunks(x)])

    return Rival(make=make, settings=layouts(len(x), max(1, len(x) // 4)), compared=same)


def _cam(stem: nn.Module, head: nn.Module, x: Tensor, label: int) -> Tensor:
    with torch.no_grad():
        activation = stem(x)
    activation.requires_grad_()
    (gradient,) = torch.autograd.grad(head(activation)[:, label].sum(), activation)
    return (gradient.mean((2, 3), keepdim=True) * activation.detach()).sum(1, keepdim=True).relu()


def top_class(network: nn.Module, x: Tensor) -> int:
    """The class that the network finds: a map cut below zero is not empty there."""
    with torch.no_grad():
        return int(network(x).mean(0).argmax())


def halves(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A ResNet of torchvision up to the layer, and from there on."""
    parts = copy.deepcopy(network)
    children = OrderedDict(parts.named_children())
    last = list(children).index(LAYER) + 1
    names = list(children)
    before = nn.Sequential(OrderedDict((name, children[name]) for name in names[:last]))
    return before, nn.Sequential(children["avgpool"], nn.Flatten(1), children["fc"])
