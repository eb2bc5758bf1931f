"""Regions of a segmentation output: the voxels a `region` target reads."""

from typing import Protocol

import torch
from scipy import ndimage
from torch import Tensor

from voxplain.errors import InputError


class RegionOptions(Protocol):
    """The fields of a region target that say where."""

    @property
    def over(self) -> str: ...
    @property
    def component(self) -> int: ...
    @property
    def box(self) -> tuple[int, ...]: ...
    @property
    def voxel(self) -> tuple[int, ...]: ...


def select(options: RegionOptions, predicted: Tensor, mask: Tensor | None) -> Tensor:
    """The region (batch, *space), boolean, from the `predicted` one and perhaps a given `mask` of the same shape."""
    if options.over == "whole":
        return torch.ones_like(predicted)
    if options.over == "mask":
        return _given(mask, predicted)
    if options.over == "component":
        return torch.stack([_component(sample, options.component) for sample in predicted])
    if options.over == "box":
        half = len(options.box) // 2
        return _box(predicted, options.box[:half], options.box[half:], "box")
    if options.over == "voxel":
        return _box(predicted, options.voxel, tuple(n + 1 for n in options.voxel), "voxel")
    return predicted


def rows_of(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    """The given mask (batch or 1, *space) of some samples of the batch."""
    if mask is None or len(mask) == 1:
        return mask
    check_count(mask, int(rows.max()) + 1, exactly=False)
    return mask[rows.to(mask.device)]


def check_count(mask: Tensor | None, count: int, exactly: bool = True) -> None:
    """Raise unless there is one mask for all samples, or one for each of `count`."""
    if mask is not None and len(mask) != 1 and (len(mask) < count or (exactly and len(mask) != count)):
        raise InputError(f"region mask must hold 1 sample or as many as the batch, got {len(mask)}")


def hint(over: str, index: int) -> str:
    """What to do about an empty region."""
    if over == "predicted":
        return f": no voxel is predicted as class {index}; use over='whole', a mask or another class"
    if over == "mask":
        return ": the mask has no voxel on the output's grid"
    return ": the model predicts no such component" if over == "component" else ""


def _given(mask: Tensor | None, predicted: Tensor) -> Tensor:
    if mask is None:
        raise InputError("region: over='mask' needs a mask; pass one with --mask (mask= in Python)")
    if mask.shape[1:] != predicted.shape[1:]:
        raise InputError(f"region mask is {tuple(mask.shape[1:])} but the model output is {tuple(predicted.shape[1:])}")
    return (mask != 0).to(predicted.device).expand_as(predicted)


def _component(predicted: Tensor, rank: int) -> Tensor:
    """The `rank`-th largest face-connected component; empty where there are fewer."""
    labels, count = ndimage.label(predicted.cpu().numpy())
    if count < rank:
        return torch.zeros_like(predicted)
    sizes = torch.bincount(torch.as_tensor(labels).flatten().long(), minlength=count + 1)[1:]
    wanted = int(sizes.argsort(descending=True, stable=True)[rank - 1]) + 1
    return torch.as_tensor(labels == wanted, device=predicted.device)


def _box(predicted: Tensor, first: tuple[int, ...], past: tuple[int, ...], what: str) -> Tensor:
    shape = tuple(predicted.shape[1:])
    fits = len(first) == len(shape) and all(0 <= a < b <= n for a, b, n in zip(first, past, shape, strict=False))
    if not fits:
        raise InputError(
            f"region: {what} must lie inside the model output {shape}, got {first if what == 'voxel' else first + past}"
        )
    region = torch.zeros_like(predicted)
    region[(slice(None), *(slice(a, b) for a, b in zip(first, past, strict=True)))] = True
    return region
