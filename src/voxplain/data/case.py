"""Cases: what a study iterates over, one row of a table each."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxplain.data.image import Image
from voxplain.data.load import Source, image_kind, load_image, load_mask, split_choice
from voxplain.errors import FileError, InputError, VoxplainError

RESERVED = ("id", "image", "mask", "segments", "label", "target", "slice", "group", "split")
"""Columns with a meaning of their own; any other one is a channel if its values are image files."""

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Case:
    """One image with what is known about it."""

    identifier: str
    """The user's own label, else a hash prefix of the file's content; never a patient's name."""
    image: Image
    """The image; its voxels are read when first used."""
    mask: Image | None = None
    """Labels on the image's grid, such as the lesion."""
    segments: Image | None = None
    """Labels of the parts that the image is taken apart into, such as organs."""
    label: str | None = None
    """The true class or value, as the table says it."""
    group: str | None = None
    """What belongs together, such as a patient's visits."""
    split: str | None = None
    """Part of the study, such as 'test'."""
    target: str | None = None
    """The target's spec for this case, where the table gives one."""
    slice: int | None = None
    """The slice of a volume that is meant, for models of single slices, from 0."""


def read_cases(
    table: Source, *, resample_slices: bool = False, columns: Mapping[str, Sequence[str]] | None = None
) -> list[Case]:
    """The cases of a CSV table (comma, semicolon or tab): columns image, or one a channel, and optionally the others.

    Paths are relative to the table. Headers are read at once, voxels when used. `columns` gives a reserved name the
    names that this column may have in the table, best first: {'group': ('group', 'patient_id')}. Raises `InputError`
    that names the row (as a spreadsheet counts: the header is row 1) for missing files, doubled ids and values that
    cannot be.
    """
    table = Path(table)
    names, rows = _rows(table, columns or {})
    channels = ["image"] if "image" in names else _channel_columns(names, rows, table.parent)
    if not channels:
        raise InputError(f"{table.name!r} must have a column 'image' or columns of image files, got {', '.join(names)}")
    cases: dict[str, int] = {}
    found = []
    for number, row in rows:
        try:
            case = _case(row, channels, table.parent, resample_slices)
        except VoxplainError as error:
            raise type(error)(f"{table.name!r} row {number}: {error}") from error
        if case.identifier in cases:
            hint = "" if row.get("id") else " (the same file); give them ids"
            told = f"{case.identifier!r} in rows {cases[case.identifier]} and {number}{hint}"
            raise InputError(f"{table.name!r} must have a different id in every row, got {told}")
        cases[case.identifier] = number
        found.append(case)
    return found


def _rows(table: Path, meanings: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[int, Row]]]:
    """Column names and the rows that are not empty, with their numbers."""
    if not table.exists():
        raise FileError(f"table {str(table)!r} does not exist")
    try:
        text = table.read_text(encoding="utf-8-sig")
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines(), delimiter=delimiter)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{table.name!r} must be a table in UTF-8 text, got something else") from error
    # 'Mask' must not become an input channel for its capital.
    columns = [name.lower() if name.lower() in RESERVED else name for name in lines[0]] if lines else []
    columns = _renamed(columns, meanings)
    rows: list[tuple[int, Row]] = [
        (n, dict(zip(columns, line, strict=False))) for n, line in enumerate(lines[1:], start=2) if any(line)
    ]
    if not rows:
        raise InputError(f"{table.name!r} must have a header and at least one row, got none")
    doubled = sorted({name for name in columns if name and columns.count(name) > 1})
    if doubled:
        raise InputError(f"{table.name!r} must name every column once, got {doubled[0]!r} twice")
    return columns, rows


def _renamed(columns: list[str], meanings: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns under their reserved names; one that another column takes the name of has none any more."""
    found = {meaning: next((name for name in names if name in columns), None) for meaning, names in meanings.items()}
    taken = {name: meaning for meaning, name in found.items() if name is not None}
    return [taken.get(name, "" if name in taken.values() else name) for name in columns]


def _channel_columns(columns: Sequence[str], rows: Sequence[tuple[int, Row]], folder: Path) -> list[str]:
    """Columns of which some value is an image: then an absent file in another row is a mistake, not another meaning."""
    free = [name for name in columns if name and name not in RESERVED]
    return [name for name in free if any(_is_image(row.get(name, ""), folder) for _, row in rows)]


def _is_image(value: str, folder: Path) -> bool:
    path, _ = split_choice(folder / value)
    return bool(value) and path.exists() and image_kind(path) is not None


def _case(row: Row, channels: Sequence[str], folder: Path, resample_slices: bool) -> Case:
    paths = {name: _path(row, name, folder) for name in channels}
    source = paths["image"] if channels == ["image"] else paths
    image = load_image(source, identifier=_own_id(row), resample_slices=resample_slices)
    position = _slice(row.get("slice", ""))
    if not row.get("id") and position is not None:
        image = replace(image, identifier=f"{image.identifier}-slice{position}")
    return Case(
        identifier=image.identifier,
        image=image,
        mask=_labels(row, "mask", folder, image),
        segments=_labels(row, "segments", folder, image),
        slice=position,
        label=row.get("label") or None,
        group=row.get("group") or None,
        split=row.get("split") or None,
        target=row.get("target") or None,
    )


def _labels(row: Row, column: str, folder: Path, image: Image) -> Image | None:
    return load_mask(_path(row, column, folder), like=image, what=column) if row.get(column) else None


def _path(row: Row, column: str, folder: Path) -> Path:
    value = row.get(column, "")
    if not value:
        raise InputError(f"column {column!r} must name a file, got nothing")
    path, _ = split_choice(folder / value)
    if not path.exists():
        raise FileError(f"{column} {value!r} does not exist")
    return folder / value


def _own_id(row: Row) -> str | None:
    """The user's id; it becomes the name of a folder, so it must not lead elsewhere."""
    name = row.get("id", "")
    if name in (".", "..") or any(letter in '/\\:*?"<>|' or not letter.isprintable() for letter in name):
        raise InputError(f"id must do as the name of a folder, got {name!r}")
    return name or None


def _slice(value: str) -> int | None:
    if value and not value.isdecimal():
        raise InputError(f"slice must be a whole number from 0, got {value!r}")
    return int(value) if value else None
