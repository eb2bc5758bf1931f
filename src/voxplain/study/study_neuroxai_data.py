"""Which slices and volumes the NeuroXAI study explains: from phantoms, a table, or the source's own folders."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.load import load_mask
from voxplain.data.nifti import write_nifti
from voxplain.data.writing import written_beside
from voxplain.errors import InputError, OptionError
from voxplain.space.planes import plane
from voxplain.study.training_cases import TABLES, part_of
from voxplain.study.training_folder import table_text
from voxplain.training.recipe import Recipe
from voxplain.training.splits import held_out

SEQUENCES = ("flair", "t1", "t1ce", "t2")
"""The four sequences in the order in which the network reads them."""

GRADES = ("HGG", "LGG")
"""High and low grade: the classes and the folders of their slices."""

SLICES, VOLUMES = "slices.csv", "volumes.csv"
"""Tables that are made of the source's folders."""

ENHANCING_FILE, ENHANCING = 4, 3
"""The challenge's files call the enhancing tumour 4; the network's classes call it 3."""


@dataclass(frozen=True)
class Listed:
    """One line of a case list: a case, and the axial slice that its figures show."""

    identifier: str
    slice: int | None = None
    """None: the slice with most of the tumour."""

    @classmethod
    def of(cls, text: str) -> Listed:
        """'BraTS2021_01652:111', or an id alone; raises `OptionError` for a slice that is no whole number."""
        name, colon, number = text.rpartition(":")
        if not colon:
            return cls(text)
        if not name or not number.isdecimal():
            raise OptionError(f"neuroxai: cases must each be an id or id:slice, got {text!r}")
        return cls(name, int(number))


def grade_table(data: Path, folder: Path) -> Path | None:
    """The data for the classifier: a table as it is, or one made of the source's `FLAIR/HGG` and `FLAIR/LGG`.

    There, slices are called <case>_<slice>.png, so that all slices of a case stay on one side of the split. None where
    there are none.
    """
    if _has_table(data):
        return data
    slices = next((path for path in (data / "FLAIR", data) if all((path / grade).is_dir() for grade in GRADES)), None)
    if slices is None:
        return None
    rows = []
    for grade in GRADES:
        for file in sorted((slices / grade).glob("*.png")):
            case = file.stem.rpartition("_")[0] or file.stem
            rows.append({"id": file.stem, "flair": str(file.resolve()), "label": grade, "group": case})
    return _write(folder / SLICES, rows)


def segmentation_table(data: Path, folder: Path) -> Path | None:
    """The data for the segmenter: a table as it is, or one made of the challenge's folders of cases.

    A case's folder holds <case>_flair.nii.gz, _t1, _t1ce, _t2 and _seg; masks with label 4 are written anew with 3 in
    its place. None where there are none.
    """
    if _has_table(data):
        return data
    rows = []
    for file in sorted(data.glob("*/*_seg.nii.gz")):
        case = file.name.removesuffix("_seg.nii.gz")
        found = {name: file.with_name(f"{case}_{name}.nii.gz") for name in SEQUENCES}
        lacking = [name for name, path in found.items() if not path.is_file()]
        if lacking:
            raise InputError(f"case {case!r} must have a file of each sequence, got none for {', '.join(lacking)}")
        mask = _three_labels(file, folder / "masks" / file.name)
        paths = {name: str(path.resolve()) for name, path in found.items()}
        rows.append({"id": case, **paths, "mask": str(mask.resolve()), "group": case})
    return _write(folder / VOLUMES, rows) if rows else None


def listed_cases(cases: Sequence[Case], wanted: Sequence[Listed]) -> list[Case]:
    """The cases of a list, each with its slice; raises `InputError` for an id that is not there.

    A volume without a slice of its own gets the one with most of its mask.
    """
    known = {case.identifier: case for case in cases}
    missing = [one.identifier for one in wanted if one.identifier not in known]
    if missing:
        raise InputError(f"cases must be in the data, got {missing[0]!r}, which is not among the {len(cases)} there")
    return [_with_slice(known[one.identifier], one.slice) for one in wanted]


def unseen_cases(cases: Sequence[Case], recipe: Recipe) -> list[Case]:
    """The cases that a segmenter was not trained on: those of the table's test part, or of the split that was made."""
    told = [part_of(case) for case in cases]
    if None in told:
        shares = {part: share for part, share in zip(("train", "val", "test"), recipe.shares, strict=True) if share}
        groups = [case.group for case in cases]
        told = list(held_out([0] * len(cases), groups, shares, recipe.seed, stratify=False))
    return [case for case, part in zip(cases, told, strict=True) if part == "test"]


def by_grade(cases: Sequence[Case], most: tuple[int, int]) -> list[Listed]:
    """At most so many of the high and of the low grades, high ones first: the source's two lists."""
    found = {grade: [case for case in cases if case.label == grade] for grade in GRADES}
    return [Listed(case.identifier) for grade, count in zip(GRADES, most, strict=True) for case in found[grade][:count]]


def largest_slice(mask: Image) -> int:
    """The axial slice with most voxels above 0; the middle one for an empty mask."""
    axis = plane(mask.grid, "axial").order[2]
    areas = (mask.values[0] > 0).sum(axis=tuple(one for one in range(3) if one != axis))
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def _with_slice(case: Case, index: int | None) -> Case:
    if case.image.grid.is_2d:
        return case
    position = case.slice if index is None else index
    if position is None:
        middle = plane(case.image.grid, "axial").slices // 2
        position = middle if case.mask is None else largest_slice(case.mask)
    return replace(case, slice=position)


def _has_table(data: Path) -> bool:
    return data.is_file() or any((data / name).is_file() for name in TABLES)


def _three_labels(file: Path, copy: Path) -> Path:
    """The mask itself, or a copy in which the enhancing tumour has the network's label."""
    mask = load_mask(file)
    labels = mask.values[0]
    if not (labels == ENHANCING_FILE).any():
        return file
    write_nifti(copy, np.where(labels == ENHANCING_FILE, ENHANCING, labels), mask.grid, np.uint8)
    return copy


def _write(file: Path, rows: Sequence[dict[str, str]]) -> Path:
    if not rows:
        raise InputError(f"{file.stem} must be at least one, got none in the data folder")
    with written_beside(file) as beside:
        beside.write_text(table_text(rows), "utf-8")
    return file


def read_parts(file: Path) -> dict[str, str]:
    """Case -> part of the study, from a training's predictions."""
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row["part"] for row in csv.DictReader(stream)}
