"""Tiles as the networks of the myopathy study see them: in the middle of a black square, with muscle alone left."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.space.layout import centred
from voxplain.space.resample import resample
from voxplain.study.training_cases import training_cases
from voxplain.study.training_folder import PREDICTIONS
from voxplain.training.recipe import Recipe

SIDE = 224
"""Pixels of the square at least."""

Row = dict[str, str]


def tiles_of_test(source: Path, recipe: Recipe, trained: Path, count: int | None) -> list[Case]:
    """The tiles of the test fold, squared and masked: `count` of them, wrong ones first, or all in their order."""
    with (trained / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["part"] == "test"]
    wanted = {row["id"] for row in (rows if count is None else chosen(rows, count))}
    return [squared(case) for case in training_cases(source, recipe) if case.identifier in wanted]


def chosen(rows: Sequence[Row], count: int) -> list[Row]:
    """Up to a third of wrong predictions, then patients of all classes in turn, another tile of each in every round."""
    wrong = [row for row in rows if row["truth"] != row["prediction"]][: count // 3]
    seen: dict[str, int] = {}
    rounds: list[tuple[int, Row]] = []
    for row in rows:
        seen[row["group"]] = seen.get(row["group"], 0) + 1
        rounds.append((seen[row["group"]], row))
    ordered = [row for _, row in sorted(rounds, key=lambda one: one[0]) if row not in wrong]
    classes = [[row for row in ordered if row["truth"] == name] for name in sorted({row["truth"] for row in rows})]
    turns = [row for rows_of_turn in zip_longest(*classes) for row in rows_of_turn if row is not None]
    return [*wrong, *turns][:count]


def squared(case: Case) -> Case:
    """The case in the middle of a black square of 224 pixels or more, its image 0 outside the mask."""
    if case.mask is None:
        raise InputError(f"case {case.identifier!r} must have a mask, got none")
    side = max(SIDE, *case.image.grid.shape[:2])
    grid = centred(case.image.grid, (side, side, 1))
    mask = _placed(case.mask, grid)
    image = _placed(case.image, grid)
    return replace(case, image=image.with_values(image.values * (mask.values > 0)), mask=mask)


def _placed(image: Image, grid: Grid) -> Image:
    """The same voxels on a larger grid, 0 around them."""
    return image.with_values(resample(image.values, image.grid, grid, mode="nearest"), grid)
