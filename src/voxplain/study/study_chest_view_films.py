"""Films as an archive holds them: some of those that are learnt from are filed under the other view."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxplain.phantoms.chest import CLASSES
from voxplain.study.simulate import TABLE
from voxplain.study.training_folder import table_text
from voxplain.study.training_parts import TRAIN

FILMS = "films.csv"
"""The table that is learnt from."""

COLUMNS = ("image", "mask")
"""Columns of files."""

Row = dict[str, str]


def filed(folder: Path, films: Path, misfiled: Path, share: float, seed: int) -> Path:
    """Write the table of the phantoms in `films` as they are filed, and return its path.

    Of each view's training films a `share`, drawn by `seed`, is filed under the other view; the files of these come
    from `misfiled`, phantoms of the same numbers. All others, and the whole test part, are filed as what they are.
    """
    rows, others = _rows(films), {row["id"]: row for row in _rows(misfiled)}
    wrong = drawn(rows, share, seed)
    told = [
        _row(others[row["id"]], misfiled, folder, _other(row["label"]))
        if row["id"] in wrong
        else _row(row, films, folder, row["label"])
        for row in rows
    ]
    (folder / FILMS).write_text(table_text(told), "utf-8")
    return folder / FILMS


def drawn(rows: Sequence[Row], share: float, seed: int) -> set[str]:
    """Ids of a share of each view's training films, rounded half up."""
    generator = np.random.default_rng(seed)
    found: set[str] = set()
    for view in CLASSES:
        names = [row["id"] for row in rows if row["label"] == view and row["split"] == TRAIN]
        count = int(share * len(names) + 0.5)
        found |= {names[place] for place in generator.permutation(len(names))[:count]}
    return found


def _rows(films: Path) -> list[Row]:
    with (films / TABLE).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _row(row: Row, films: Path, folder: Path, label: str) -> Row:
    """Files by their way from `folder`, so that the study's folder can be moved."""
    files = {column: Path(os.path.relpath(films / row[column], folder)).as_posix() for column in COLUMNS}
    return {"id": row["id"], **files, "label": label, "group": row["group"], "split": row["split"]}


def _other(view: str) -> str:
    return CLASSES[1 - CLASSES.index(view)]
