"""The cases of a training: a table, the layout of the myopathy study, or folders named by label."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxplain.data.case import RESERVED, Case, read_cases
from voxplain.data.load import SUFFIXES, load_image, load_mask
from voxplain.errors import FileError, InputError, shortened
from voxplain.training.recipe import Recipe

TABLES = ("cases.csv", "labels.csv", "dataset.csv")
"""Tables that are looked for in a folder, best first; else the only CSV file in it."""

MYOPATHY = ("img_name", "label", "group")
"""Columns of the myopathy study's table."""

STATES = {"0": "healthy", "1": "affected"}
"""Its labels, and the folders the images lie in."""

PARTS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
"""Other words for the parts of a study."""

PICTURES = tuple(suffix for suffix in SUFFIXES if suffix != ".npy")


def training_cases(data: Path, recipe: Recipe) -> list[Case]:
    """The cases of a folder or table, each with a label (classification, regression) or a mask (segmentation).

    Raises `FileError` for what is not there, `InputError` for missing columns, labels, masks and masks to multiply by.
    """
    if not data.exists():
        raise FileError(f"data {str(data)!r} does not exist")
    table = _table(data) if data.is_dir() else data
    cases = _of_folders(data) if table is None else _of_table(table, recipe)
    _check(cases, recipe, data)
    return cases


def part_of(case: Case) -> str | None:
    """The part of the study that the table gives a case."""
    return None if case.split is None else PARTS.get(case.split.lower(), case.split.lower())


def _table(folder: Path) -> Path | None:
    named = [folder / name for name in TABLES if (folder / name).is_file()]
    if named:
        return named[0]
    tables = sorted(folder.glob("*.csv"))
    if len(tables) > 1:
        raise InputError(
            f"data folder {folder.name!r} must have one table, got {shortened(one.name for one in tables)}"
        )
    return tables[0] if tables else None


def _of_table(table: Path, recipe: Recipe) -> list[Case]:
    rows = _myopathy_rows(table)
    if rows is not None:
        return [_tile(table.parent, row) for row in rows]
    return read_cases(table, columns={name: _names(recipe.columns, name) for name in recipe.columns})


def _names(columns: Mapping[str, Any], name: str) -> Sequence[str]:
    given = columns[name]
    return (given,) if isinstance(given, str) else tuple(given)


def _myopathy_rows(table: Path) -> list[dict[str, str]] | None:
    """The rows of a table with exactly that study's columns and semicolons, else None."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter=";")
            return list(reader) if set(MYOPATHY) <= set(reader.fieldnames or ()) else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{table.name!r} must be a table in UTF-8 text, got something else") from error


def _tile(folder: Path, row: Mapping[str, str]) -> Case:
    """One tile below <any folder>/<healthy or affected>/, its mask in a parallel folder with 'mask' in its name."""
    name, label = row["img_name"], STATES.get(row["label"], row["label"])
    if not name or label not in STATES.values():
        raise InputError(f"row of {name!r} must have an img_name and the label 0 or 1, got label {row['label']!r}")
    found = [*sorted(folder.glob(f"{label}/{name}")), *sorted(folder.glob(f"*/{label}/{name}"))]
    masks = [path for path in found if path.parent.parent != folder and "mask" in path.parent.parent.name.lower()]
    tiles = [path for path in found if path not in masks]
    if not tiles:
        raise FileError(f"image {label}/{name} does not exist below {folder.name!r}")
    image = load_image(tiles[0], identifier=Path(name).stem)
    mask = load_mask(masks[0], like=image) if masks else None
    return Case(image.identifier, image, mask, label=label, group=row["group"] or None)


def _of_folders(folder: Path) -> list[Case]:
    """Every picture in a folder of its label; where one folder holds them all, that one is meant (films/pa/1.png)."""
    labels = [path for path in sorted(folder.iterdir()) if path.is_dir() and _pictures(path)]
    if not labels:
        inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and "mask" not in path.name.lower()]
        deeper = [path for one in inside for path in sorted(one.iterdir()) if path.is_dir() and _pictures(path)]
        labels = deeper if len({path.parent for path in deeper}) == 1 else []
    if len(labels) < 2:
        raise InputError(
            f"data folder {folder.name!r} must hold a table or at least two folders of images, got neither"
        )
    return [_labelled(path, label.name) for label in labels for path in _pictures(label)]


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(PICTURES))


def _labelled(path: Path, label: str) -> Case:
    identifier = f"{label}-{path.name.partition('.')[0]}"
    return Case(identifier, load_image(path, identifier=identifier), label=label)


def _check(cases: Sequence[Case], recipe: Recipe, data: Path) -> None:
    """Everything that the task needs is there, for every case, before any training."""
    needs_mask = recipe.task == "segmentation" or recipe.prepare.masked or recipe.slice == "largest"
    lacking = {
        "label": [case.identifier for case in cases if recipe.task != "segmentation" and case.label is None],
        "mask": [case.identifier for case in cases if needs_mask and case.mask is None],
    }
    for what, found in lacking.items():
        if len(found) == len(cases):
            hint = f"--set 'columns={{{what}=\"...\"}}' names another column" if what in RESERVED else ""
            raise InputError(
                f"data {data.name!r} must have a column {what!r} with a value in every row, got none; {hint}"
            )
        if found:
            raise InputError(f"every case must have a {what}, got none for {shortened(found)}")
