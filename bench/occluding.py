"""Rows of occlusion: windows that tile an image, or the same fixed block of them in its middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import voxplain as vx
from bench.contest import Contest, Rival, Row, Run, flat
from bench.floor import Layout, folded, layouts
from bench.networks import on, picture, resnet18, resnet18_3d, resnet50, vgg16
from voxplain.methods import occlusion

CLASS = 1
Block = tuple[slice, ...]
"""The part of the image whose windows are done, in voxels."""


CASES: tuple[tuple[str, str, Callable[[], nn.Module], int, int, int, int, str], ...] = (
    ("resnet18_224", "ResNet-18", resnet18, 2, 224, 16, 14, "3.5 x Captum at its best batch"),
    ("resnet50_224", "ResNet-50", resnet50, 2, 224, 16, 6, "2.5 x Captum at its best batch"),
    ("vgg16_224", "VGG-16", vgg16, 2, 224, 16, 4, "10 x Captum at its best batch"),
    ("resnet18_512", "ResNet-18", resnet18, 2, 512, 16, 6, "4.5 x Captum"),
    ("resnet18_96", "3D ResNet-18", resnet18_3d, 3, 96, 8, 3, "5 x Captum and MONAI"),
)
"""Name, words, network, axes, side of the image, of the window, windows a side of the part that is done, aim."""


LIMITS = {
    "resnet18_224": "0.40 of each forward has to be recomputed, as windows fill the maps of the last two stages: at "
    "the floor's rate that alone is 3.4 x Captum; a fifth of our time cuts parts out and puts them together",
    "vgg16_224": "0.114 of each forward has to be recomputed, as windows fill the maps of the last stage: 8.8 x at "
    "Captum's rate; of few windows the recording of a clean forward is a quarter",
}
"""Why no more can be had, where an aim is missed."""


def rows() -> list[Row]:
    """Three networks at 224, a large picture and a volume, each in part and whole."""
    return [
        Row(
            name=f"occlusion_{name}{'' if count == some else '_full'}",
            work=f"Occlusion, window and stride {window}",
            network=label,
            size=f"1 x {3 if rank == 2 else 1} x {side}^{rank}",
            part=_part(count**rank, (side // window) ** rank),
            build=lambda device, case=(network, rank, side, window, count): case_of(device, *case),
            goal=f"{goal}; the same map to 1e-5 of the score",
            limit=LIMITS.get(name, ""),
            repeats=3,
            long=count != some,
        )
        for name, label, network, rank, side, window, some, goal in CASES
        for count in dict.fromkeys((some, side // window))
    ]


def _part(some: int, whole: int) -> str:
    return "" if some == whole else f"the middle {some} of {whole} positions"


def case_of(
    device: torch.device, network: Callable[[], nn.Module], rank: int, side: int, window: int, count: int
) -> Contest:
    """The middle `count` windows along every side of a picture."""
    start = (side // window - count) // 2 * window
    block = (slice(start, start + count * window),) * rank
    x = picture(device, 1, 3 if rank == 2 else 1, *[side] * rank)
    return occluded(device, network(), x, window, block)


def occluded(device: torch.device, network: nn.Module, x: Tensor, window: int, block: Block) -> Contest:
    """Windows of zeros, one at a time, in a block of the image (all of it, or its middle)."""
    model, plain = vx.Model.of(on(network, device)), on(network, device)
    method, places = vx.method(f"occlusion(window={window})"), places_in(block, window)
    at_once = tuple(dict.fromkeys(min(count, len(places)) for count in ((1, 8, 28) if x.ndim == 4 else (4,))))
    compared = partial(inside, block=block)

    def ours() -> Any:
        with patch.object(occlusion, "windows", lambda *_: places):
            return method(vx.Score(model, f"class_score({CLASS})"), x)

    captum = partial(_captum, plain, x, window, places, block)
    monai = partial(_monai, plain, x, window, block)
    peers = {"Captum": ("captum", "perturbations_per_eval", captum), "MONAI": ("monai", "n_batch", monai)}
    return Contest(
        ours=ours,
        forward=lambda: plain(x),
        peers={
            name: Rival(make=make, settings=at_once, knob=knob, package=package, compared=compared)
            for name, (package, knob, make) in peers.items()
            if name == "Captum" or x.ndim == 5
        },
        floor=Rival(
            make=lambda layout: bare(folded(network, device, layout), x, places, layout),
            settings=layouts(*at_once),
            compared=compared,
        ),
    )


def places_in(block: Block, window: int) -> list[tuple[slice, ...]]:
    """The windows that tile a block, the last axis fastest."""
    corners = product(*(range(side.start, side.stop, window) for side in block))
    return [tuple(slice(start, start + window) for start in corner) for corner in corners]


def inside(ours: Any, theirs: Any, block: Block) -> tuple[Tensor, Tensor]:
    """Both maps in the block; channels of equal values are one."""
    one, other = flat(ours)[0, 0][block], flat(theirs)[0, 0]
    return one, other if other.shape == one.shape else other[block]


def bare(network: nn.Module, x: Tensor, places: Sequence[tuple[slice, ...]], layout: Layout) -> Run:
    """Every covered image through the whole network, without a graph."""

    def run() -> Tensor:
        found = torch.zeros_like(x[:, :1])
        with torch.no_grad():
            clean = network(layout.laid(x))[0, CLASS]
            for start in range(0, len(places), layout.count):
                some = places[start : start + layout.count]
                batch = layout.laid(x.expand(len(some), *x.shape[1:]).clone())
                for slot, place in enumerate(some):
                    batch[(slot, slice(None), *place)] = 0
                for place, value in zip(some, network(batch)[:, CLASS], strict=True):
                    found[(slice(None), slice(None), *place)] = clean - value
        return found

    return run


def _captum(
    network: nn.Module, x: Tensor, window: int, places: Sequence[tuple[slice, ...]], block: Block, count: int
) -> Run:
    """Captum's Occlusion for the whole image; for a block its parent class, with a feature a window."""
    from captum.attr import FeatureAblation, Occlusion

    sides = (x.shape[1], *[window] * (x.ndim - 2))
    if all(side.start == 0 and side.stop == length for side, length in zip(block, x.shape[2:], strict=True)):
        method = Occlusion(network)
        return lambda: method.attribute(x, sides, sides, target=CLASS, perturbations_per_eval=count)
    labels = torch.zeros((1, 1, *x.shape[2:]), dtype=torch.long, device=x.device)
    for number, place in enumerate(places, 1):
        labels[(0, 0, *place)] = number
    ablation = FeatureAblation(network)
    return lambda: ablation.attribute(x, target=CLASS, feature_mask=labels, perturbations_per_eval=count)


def _monai(network: nn.Module, x: Tensor, window: int, block: Block, count: int) -> Run:
    """MONAI's sensitivity, whose windows tile the image at overlap 0; it gives scores, we give their fall."""
    from monai.visualize import OcclusionSensitivity

    method = OcclusionSensitivity(
        network, mask_size=window, n_batch=count, overlap=0.0, mode=0.0, activate=False, verbose=False
    )
    edge = (window - 1) // 2  # it widens the box by this much before it lays out windows, and cuts it off again
    sides = [bound for side in block for bound in (side.start + edge, side.stop - edge)]
    whole = all(side.start == 0 and side.stop == length for side, length in zip(block, x.shape[2:], strict=True))

    def run() -> Tensor:
        with torch.no_grad():
            clean = network(x)[0, CLASS]
            found, _ = method(x, b_box=None if whole else sides)
            fall = torch.zeros_like(x[:, :1])
            inner = block if whole else tuple(slice(side.start + edge, side.stop - edge) for side in block)
            fall[(slice(None), slice(None), *inner)] = clean - found[:, CLASS : CLASS + 1].as_tensor()
        return fall if whole else _spread_out(fall, places_in(block, window), edge)

    return run


def _spread_out(fall: Tensor, places: Sequence[tuple[slice, ...]], edge: int) -> Tensor:
    """A map whose rim was cut off, each window filled with the value at its middle."""
    for place in places:
        middle = tuple(slice(side.start + edge, side.start + edge + 1) for side in place)
        fall[(slice(None), slice(None), *place)] = fall[(slice(None), slice(None), *middle)]
    return fall
