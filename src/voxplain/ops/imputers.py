"""What removed voxels are replaced with, so that a score can be asked without them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from voxplain.errors import InputError, OptionError
from voxplain.ops.baselines import FILLS, baseline
from voxplain.ops.draws import normal
from voxplain.ops.neighbour_linear import neighbour_linear

IMPUTERS = (*FILLS, "tissue", "mirror", "reference", "neighbours")
"""The baselines of methods; the mean of the body; the other side; a given image; and what lies around."""

NOISE = 0.01
"""Standard deviation of the noise on voxels filled from their neighbours, as a share of the channel's own; the paper's
0.01 is for images of about unit variance. Without noise a network could tell filled voxels by their smoothness."""

Fill = Callable[[Bool[Tensor, "batch *space"]], Float[Tensor, "batch channel *space"]]
"""Removed voxels of several versions of one image -> what stands there; other voxels mean nothing."""


def imputer(
    x: Float[Tensor, "1 channel *space"],
    kind: float | str,
    *,
    body: Bool[Tensor, "*space"] | None = None,
    reference: Tensor | None = None,
    mirror_axis: int | None = None,
    seed: int = 0,
) -> Fill:
    """How removed voxels of one image are filled: by a number, a baseline's name, or one of these.

    tissue: each channel's mean over `body`, left out: over its voxels that are not 0. mirror: the voxel on the other
    side of the middle of `mirror_axis`, left out: of columns in 2D, of the first axis in 3D. reference: the first image
    of `reference` (n, channel, *space). neighbours: see `neighbour_linear`, with a little noise, the same for every
    mask. Raises `InputError` where the image does not allow it.
    """
    if kind == "neighbours":
        deviation = x.flatten(2).double().std(dim=2, correction=0).reshape(1, -1, *[1] * (x.ndim - 2))
        noise = (NOISE * deviation * normal(seed, [0], x.shape[1:], x.device)).to(x.dtype)
        return lambda removed: neighbour_linear(x, removed) + noise
    cover = _cover(x, kind, body, reference, mirror_axis)
    return lambda removed: cover.expand(len(removed), *cover.shape[1:])


def imputed(
    x: Float[Tensor, "1 channel *space"], removed: Bool[Tensor, "batch *space"], fill: Fill
) -> Float[Tensor, "batch channel *space"]:
    """The image without the removed voxels of each mask."""
    return torch.where(removed[:, None], fill(removed), x)


def _cover(x: Tensor, kind: float | str, body: Tensor | None, reference: Tensor | None, axis: int | None) -> Tensor:
    """What stands for every voxel (1, channel, *space), whichever are removed."""
    if kind == "tissue":
        return _tissue_mean(x, body)
    if kind == "mirror":
        return x.flip(_mirror_axis(x, axis) + 2)
    if kind == "reference":
        if reference is None or reference.shape[1:] != x.shape[1:]:
            got = "none" if reference is None else str(tuple(reference.shape[1:]))
            raise InputError(f"reference image must be {tuple(x.shape[1:])} like the input, got {got}")
        return reference[:1].to(x)
    return baseline(x, kind)


def _tissue_mean(x: Tensor, body: Tensor | None) -> Tensor:
    """Each channel's mean over the body everywhere; a channel of nothing but zeros has no tissue and stays 0."""
    if body is not None and not bool(body.any()):
        raise InputError("the body must hold at least one voxel, got none")
    inside = (x != 0) if body is None else body.expand(x.shape)
    total = torch.where(inside, x, 0.0).flatten(2).double().sum(dim=2)
    mean = total / inside.flatten(2).sum(dim=2).clamp_min(1)
    return mean.to(x.dtype).reshape(1, -1, *[1] * (x.ndim - 2)).expand_as(x)


def _mirror_axis(x: Tensor, axis: int | None) -> int:
    rank = x.ndim - 2
    if axis is None:
        return 1 if rank == 2 else 0
    if not 0 <= axis < rank:
        raise OptionError(f"mirror_axis must be 0 to {rank - 1} for this image, got {axis}")
    return axis
