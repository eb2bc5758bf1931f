"""Files of a run folder read leniently: text, JSON objects and rows, and never a file from elsewhere."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Table = Mapping[str, Any]


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies in the folder."""
    return path.resolve().is_relative_to(folder.resolve())


def read_text(path: Path, folder: Path, missing: list[str]) -> str:
    """A text file, '' with a sentence in `missing` where it cannot be read."""
    place = path.relative_to(folder)
    if not is_inside(path, folder):
        missing.append(f"{place} leads out of the run folder and is not read")
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        missing.append(f"{place} is missing or cannot be read")
        return ""


def read_object(path: Path, folder: Path, missing: list[str]) -> Table:
    """A JSON object, empty with a sentence in `missing` where the file holds none."""
    told = len(missing)
    text = read_text(path, folder, missing)
    if len(missing) > told:
        return {}
    found = _object(text)
    if found is None:
        missing.append(f"{path.relative_to(folder)} is no JSON object")
    return found or {}


def read_rows(path: Path, folder: Path, missing: list[str]) -> list[Table]:
    """The JSON objects of a file with one in each line; lines that hold none are named in `missing`."""
    rows: list[Table] = []
    for count, line in enumerate(read_text(path, folder, missing).split("\n"), start=1):
        row = _object(line) if line.strip() else {}
        if row is None:
            missing.append(f"{path.name} line {count} is no JSON object")
        elif row:
            rows.append(row)
    return rows


def read_csv(path: Path, folder: Path, missing: list[str]) -> list[Table]:
    """The rows of a CSV file by the names of its first line."""
    lines = read_text(path, folder, missing).splitlines()
    return [{key: value for key, value in row.items() if key} for row in csv.DictReader(lines)]


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
