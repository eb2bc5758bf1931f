"""Rows for CUDA devices: a usual brain scan of four sequences, beside what others published for such work."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run
from bench.floor import Layout, folded, layouts
from bench.networks import on, picture, resnet50_3d, unet_3d

SHAPE = (4, 192, 224, 160)
WORK: dict[str, tuple[str, str, int, int, str, str]] = {
    "grad_cam": ("Grad-CAM", "grad_cam", 1, 0, "0.7 s", "under 0.5 s"),
    "integrated_gradients": (
        "Integrated gradients, 50 steps", "integrated_gradients(steps=50)", 52, 50, "67 s", "under 10 s",
    ),
    "lime": (
        "LIME, 1000 evaluations", "lime(samples=1000, segmenter='grid', segments=64)", 1000, 0, "449 s", "under 30 s",
    ),
    "occlusion": (
        "Occlusion, coarse to fine", "occlusion(window=16, engine='coarse_to_fine')", 0, 0,
        "1713 s for dense occlusion", "under 60 s",
    ),
}  # fmt: skip
"""Name -> words, spec, forwards and backwards that cannot be avoided (0: not known), published, aim for the U-Net."""


def rows() -> list[Row]:
    """Four methods on a segmentation network and a classifier."""
    networks: tuple[tuple[str, str, Callable[[], nn.Module], str], ...] = (
        ("unet", "3D U-Net, 5 levels, 8 filters", unet_3d, "region(1, over='whole')"),
        ("resnet50_3d", "3D ResNet-50", resnet50_3d, "class_score(1)"),
    )
    return [
        Row(
            name=f"volume_{name}_{tail}",
            work=words,
            network=label,
            size="1 x " + " x ".join(map(str, SHAPE)),
            build=lambda device, case=(network, spec, target, forwards, backwards): volume(
                device, case[0](), picture(device, 1, *SHAPE), *case[1:]
            ),
            goal="half of the rate of bare passes" + (f"; {aim}" if tail == "unet" else ""),
            published=published,
            repeats=3,
            kinds=("cuda",),
        )
        for tail, label, network, target in networks
        for name, (words, spec, forwards, backwards, published, aim) in WORK.items()
    ]


def volume(
    device: torch.device, network: nn.Module, x: Tensor, spec: str, target: str, forwards: int, backwards: int
) -> Contest:
    """A method on a whole scan, and the bare passes it cannot do without."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)

    def forward() -> Tensor:
        with torch.no_grad():
            return plain(x)

    def bare(layout: Layout) -> Run:
        prepared = folded(network, device, layout)
        return lambda: passes(prepared, layout.laid(x), forwards, backwards)

    return Contest(
        ours=lambda: vx.method(spec)(vx.Score(model, target), x),
        forward=forward,
        floor=Rival(make=bare, settings=layouts(1)) if forwards else None,
    )


def passes(network: nn.Module, x: Tensor, forwards: int, backwards: int) -> None:
    """So many passes through a network: those with a backward to the input, then forwards alone."""
    for _ in range(backwards):
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(network(leaf)[:, 1].sum(), leaf)
    with torch.no_grad():
        for _ in range(forwards - backwards):
            network(x)
