"""A case on the model's doorstep: everything about it as tensors, and what the model says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxplain.data.image import Image, check_finite, check_voxels
from voxplain.data.prepare import Prepare, Prepared, prepare_mask
from voxplain.data.slices import axial_slice
from voxplain.errors import InputError, OptionError, VoxplainError
from voxplain.score.model import Model
from voxplain.score.prediction import Prediction, prediction
from voxplain.score.score import Score


@dataclass(frozen=True, eq=False)
class Ready:
    """A batch of one, its grid, and what was given along."""

    image: Image
    prepared: Prepared
    x: Tensor
    """(1, channel, *space)."""
    prediction: Prediction
    mask: Image | None = None
    region: Tensor | None = None
    """The mask on the tensor's grid (1, *space)."""
    segments: Image | None = None
    labels: Tensor | None = None
    """The segments' labels on the tensor's grid (1, *space)."""
    references: tuple[Image, ...] = ()
    reference: Tensor | None = None
    """The reference images, prepared as the image was (n, channel, *space)."""

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Voxel size along the tensor's spatial axes; None where it has no millimetres."""
        grid = self.prepared.grid
        return grid.spacing[: self.prepared.rank] if grid.physical else None


def made_ready(
    model: Model,
    prepare: Prepare,
    image: Image,
    *,
    mask: Image | None = None,
    segments: Image | None = None,
    references: Sequence[Image] = (),
    slice_index: int | None = None,
    budget: int | None = None,
) -> Ready:
    """Check and prepare a case, and ask the model about it once."""
    image, mask = _sliced(image, slice_index), mask and _sliced(mask, slice_index)
    segments = segments and _sliced(segments, slice_index)
    images = tuple(one if one.grid.is_2d else _sliced(one, slice_index) for one in references)
    check_voxels(image)
    prepared = prepare(image, model.rank or (2 if image.grid.is_2d else 3), mask)
    x = torch.from_numpy(prepared.values)[None].to(model.device, model.dtype)
    batch = _reference(images, prepare, prepared)
    told = prediction(Score(model, "class_score", budget=budget).output(x), model)
    _check_names(told)
    return Ready(
        image,
        prepared,
        x,
        told,
        mask=mask,
        region=_labels(mask, prepared),
        segments=segments,
        labels=_labels(segments, prepared, model.device),
        references=images,
        reference=None if batch is None else batch.to(model.device, model.dtype),
    )


def _sliced(image: Image, index: int | None) -> Image:
    return image if index is None else axial_slice(image, index)


def _labels(mask: Image | None, prepared: Prepared, device: torch.device | str = "cpu") -> Tensor | None:
    return None if mask is None else torch.from_numpy(prepare_mask(mask, prepared))[None].to(device)


def _reference(images: Sequence[Image], prepare: Prepare, like: Prepared) -> Tensor | None:
    """Reference images prepared as the case's own image was; raises `InputError` where a tensor has another shape."""
    batch = [_one_reference(f"reference image {number}", one, prepare, like) for number, one in enumerate(images, 1)]
    return torch.stack(batch) if batch else None


def _one_reference(subject: str, image: Image, prepare: Prepare, like: Prepared) -> Tensor:
    try:
        check_finite(image)
        values = prepare(image, like.rank).values
    except VoxplainError as error:
        raise type(error)(f"{subject}: {error}") from error
    if values.shape != like.values.shape:
        raise InputError(
            f"{subject} must give a tensor of {like.values.shape} (channel, *space) as the image does, "
            f"got {values.shape}; bring both to one size with --size or --crop-pad"
        )
    return torch.from_numpy(values)


def _check_names(told: Prediction) -> None:
    """Refuse class names that are too few or too many: the ones there are would stand at the wrong classes."""
    names, count = len(told.class_names), len(told.scores)
    if names not in (0, count):
        raise OptionError(f"class names must be one for each of the model's {count} outputs or classes, got {names}")
