"""Regions of a segmentation output: the voxels a `region` target reads."""

from collections.abc import Sequence
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


def predicted(values: Tensor, classes: Sequence[int], exclusive: bool) -> Tensor:
    """The region (batch, *space) predicted as one of `classes`, from scores (batch, class, *space) of the output.

    Classes that exclude each other: where one of them is the highest; else, and then of one class, where it is above 0.
    """
    if exclusive:
        return torch.isin(values.argmax(dim=1), torch.tensor(classes, device=values.device))
    return values[:, classes[0]] > 0


def select(options: RegionOptions, predicted: Tensor, mask: Tensor | None) -> Tensor:
    """The region (batch, *space), boolean, from the `predicted` one and perhaps a given `mask` of the same shape."""
    if options.over == "whole":
        return torch.ones_like(predicted)
    if options.over == "mask":
        return given(mask, predicted, f"region: over={options.over!r}")
    if options.over == "boundary":
        return predicted & ~_eroded(predicted)
    if options.over in COMPONENTS:
        return torch.stack([_component(sample, options.component) for sample in _candidates(options, predicted, mask)])
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


def hint(over: str, classes: Sequence[int]) -> str:
    """What to do about an empty region."""
    if over == "predicted":
        told = f"class {classes[0]}" if len(classes) == 1 else f"one of classes {', '.join(map(str, classes))}"
        return f": no voxel is predicted as {told}; use over='whole', a mask or another class"
    if over == "mask":
        return ": the mask has no voxel on the output's grid"
    if over == "false_positive":
        return ": every predicted component touches the mask, or there are fewer; use over='component'"
    if over == "missed":
        return ": the prediction touches every component of the mask, or there are fewer; use over='mask'"
    return ": the model predicts no such component" if over == "component" else ""


def given(mask: Tensor | None, like: Tensor, asker: str) -> Tensor:
    """The given mask as booleans of the shape of `like` (batch, *space); raises where there is none or it differs."""
    if mask is None:
        raise InputError(f"{asker} needs a mask; pass one with --mask (mask= in Python)")
    if mask.shape[1:] != like.shape[1:]:
        raise InputError(f"region mask is {tuple(mask.shape[1:])} but the model output is {tuple(like.shape[1:])}")
    return (mask != 0).to(like.device).expand_as(like)


COMPONENTS = ("component", "false_positive", "missed")
"""Regions that are one connected component; which one is counted by size."""


def _candidates(options: RegionOptions, predicted: Tensor, mask: Tensor | None) -> Tensor:
    """The components (batch, *space) of which one is meant: all, or those that the other side has nothing of."""
    if options.over == "component":
        return predicted
    true = given(mask, predicted, f"region: over={options.over!r}")
    own, other = (predicted, true) if options.over == "false_positive" else (true, predicted)
    return torch.stack([_untouched(*pair) for pair in zip(own, other, strict=True)])


def _untouched(own: Tensor, other: Tensor) -> Tensor:
    """The face-connected components of `own` (*space) without any voxel of `other`."""
    labels, _ = ndimage.label(own.cpu().numpy())
    found = torch.as_tensor(labels, device=own.device)
    return own & ~torch.isin(found, found[other & own].unique())


def _eroded(predicted: Tensor) -> Tensor:
    """Voxels (batch, *space) whose face neighbours are all of the region; what lies beyond the image is not."""
    structure = ndimage.generate_binary_structure(predicted.ndim - 1, 1)
    inner = [ndimage.binary_erosion(sample.cpu().numpy(), structure) for sample in predicted]
    return torch.stack([torch.as_tensor(one) for one in inner]).to(predicted.device)


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
