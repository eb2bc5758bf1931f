"""From cases to the tensors of a training: prepared, checked to be of one size, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from voxplain.data.case import Case
from voxplain.data.image import Image, check_finite
from voxplain.data.prepare import Prepared, prepare_mask
from voxplain.data.prepare_grid import tensor_grid
from voxplain.data.slices import axial_slice
from voxplain.errors import InputError, OptionError, shortened
from voxplain.score.memory import available_bytes
from voxplain.space.planes import plane
from voxplain.training.recipe import Recipe
from voxplain.training.samples import Samples, store

Tick = Callable[[int, int], None]
Array = npt.NDArray[Any]

SHARE_OF_MEMORY = 0.5
"""Of the free memory, for inputs that are kept; larger sets go to a file."""


class ClassNumber(int):
    """A class's number, which sentences call by the class's name."""

    name: str

    @classmethod
    def of(cls, number: int, names: Sequence[str]) -> ClassNumber:
        """The number of one of these classes."""
        made = cls(number)
        made.name = names[number] if number < len(names) else str(number)
        return made

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Material:
    """What a training works on."""

    samples: Samples
    names: tuple[str, ...]
    """What each case is called."""
    groups: tuple[str | None, ...]
    """Whose case it is."""
    classes: tuple[str, ...]
    """Classes in the order of the outputs; for segmentation those of labels 0 (background), 1 ...; none for numbers."""
    rank: int
    digest: str
    """Hash of all inputs, truths and groups."""

    @property
    def labels(self) -> list[Any]:
        """The truth of each case for splits: class numbers, numbers, or nothing to balance by."""
        if self.samples.truth.ndim > 1:
            return [0] * len(self.samples)
        if self.samples.truth.dtype.kind != "i":
            return [float(one) for one in self.samples.truth]
        return [ClassNumber.of(int(one), self.classes) for one in self.samples.truth]


def material(cases: Sequence[Case], recipe: Recipe, folder: Path, tick: Tick = lambda done, total: None) -> Material:
    """Prepare all cases; inputs that half of the free memory cannot hold go to a file in `folder`.

    Raises `InputError` for images of mixed size or channels before any voxel is read, and for labels that cannot be.
    """
    chosen = [_sliced(case, recipe) for case in cases]
    shape = _one_shape(chosen, recipe)
    rank = len(shape) - 1
    classes = _classes(cases, recipe)
    inputs = store((len(cases), *shape), folder, int(SHARE_OF_MEMORY * available_bytes(torch.device("cpu"))))
    truths: list[Any] = []
    digest = hashlib.sha256()
    for number, case in enumerate(chosen):
        x, truth = _sample(case, recipe, classes, rank)
        inputs[number] = x
        truths.append(truth)
        for part in (x.tobytes(), np.asarray(truth).tobytes(), repr(case.group).encode()):
            digest.update(part)
        tick(number + 1, len(chosen))
    truth = _together(truths, recipe)
    if recipe.task == "segmentation" and not recipe.classes:
        classes = ("background", *(f"label {label}" for label in range(1, int(truth.max()) + 1)))
    names, groups = (tuple(case.identifier for case in cases), tuple(case.group for case in cases))
    return Material(Samples(inputs, truth), names, groups, classes, rank, digest.hexdigest()[:16])


def _sliced(case: Case, recipe: Recipe) -> Case:
    """The case of the slice that is meant; images and masks are fresh, so that their voxels are not kept twice."""
    image, mask = replace(case.image), None if case.mask is None else replace(case.mask)
    position = case.slice
    if not image.grid.is_2d and recipe.slice == "largest" and mask is not None:
        position = _largest(mask)
    if image.grid.is_2d or position is None:
        return replace(case, image=image, mask=mask)
    cut = None if mask is None else axial_slice(mask, position)
    return replace(case, image=_later(image, position), mask=cut)


def _later(image: Image, position: int) -> Image:
    """A slice of which only the grid is known until it is used."""
    laid = axial_slice(
        image.with_values(np.broadcast_to(np.float32(0), (len(image.channels), *image.grid.shape))), position
    )
    return replace(laid, read=lambda: axial_slice(replace(image), position).values)


def _largest(mask: Image) -> int:
    """The axial slice with most voxels above 0."""
    axis = plane(mask.grid, "axial").order[2]
    others = tuple(one for one in range(3) if one != axis)
    return int((mask.values[0] > 0).sum(axis=others).argmax())


def _one_shape(cases: Sequence[Case], recipe: Recipe) -> tuple[int, ...]:
    """(channel, *space) of every input; raises where they differ."""
    shapes: dict[tuple[int, ...], list[str]] = {}
    for case in cases:
        rank = 2 if case.image.grid.is_2d else 3
        space = tensor_grid(recipe.prepare, case.image, rank).shape[:rank]
        channels = 3 if recipe.prepare.grey_to_rgb else len(recipe.prepare.channels or case.image.channels)
        shapes.setdefault((channels, *space), []).append(case.identifier)
    if len(shapes) > 1:
        told = "; ".join(
            f"{shape[0]} x {' x '.join(map(str, shape[1:]))} ({len(found)}: {shortened(found, 2)})"
            for shape, found in sorted(shapes.items(), key=lambda item: -len(item[1]))[:4]
        )
        raise InputError(
            f"all inputs must have the same channels and size after preparation, got {told}; "
            "set prepare.size or prepare.crop_pad"
        )
    return next(iter(shapes))


def _classes(cases: Sequence[Case], recipe: Recipe) -> tuple[str, ...]:
    if recipe.task == "regression":
        return ()
    if recipe.task == "segmentation":
        return ("background", *recipe.classes) if recipe.classes else ()
    found = {str(case.label) for case in cases}
    strange = sorted(found - set(recipe.classes)) if recipe.classes else []
    if strange:
        raise InputError(f"labels must be of the classes {', '.join(recipe.classes)}, got {shortened(strange)}")
    classes = recipe.classes or tuple(sorted(found))
    if len(found) < 2:
        raise InputError(f"a classification needs cases of at least two classes, got only {shortened(found)}")
    return classes


def _sample(case: Case, recipe: Recipe, classes: Sequence[str], rank: int) -> tuple[Array, Any]:
    """The input (channel, *space) of one case, and its truth."""
    check_finite(case.image)
    prepared = recipe.prepare(case.image, rank, case.mask)
    return prepared.values, _truth(case, prepared, recipe, classes)


def _truth(case: Case, prepared: Prepared, recipe: Recipe, classes: Sequence[str]) -> Any:
    if recipe.task == "classification":
        return classes.index(str(case.label))
    if recipe.task == "regression":
        return recipe.target_scale * _number(case)
    if case.mask is None:
        raise InputError(f"case {case.identifier!r} must have a mask, got none")
    labels = prepare_mask(case.mask, prepared)
    if classes and int(labels.max()) >= len(classes):
        raise InputError(f"mask of {case.identifier!r} must have labels up to {len(classes) - 1}, got {labels.max()}")
    return labels.astype(np.uint8)


def _number(case: Case) -> float:
    try:
        value = float(str(case.label))
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"label of {case.identifier!r} must be a number, got {case.label!r}")
    return value


def _together(truths: list[Any], recipe: Recipe) -> Array:
    kinds = {"classification": np.int64, "regression": np.float32, "segmentation": np.uint8}
    if recipe.task == "regression" and len(set(truths)) < 2:
        raise OptionError("a regression needs labels that differ, got one value only")
    return np.asarray(truths, dtype=kinds[recipe.task])
