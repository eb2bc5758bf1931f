"""The figures of a benchmark: skill of every method on every phantom with its mean rank, and which ranks differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.errors import FileError
from voxplain.report.evaluation_figures import draw_table
from voxplain.report.figures import Picture, save
from voxplain.report.figures_statistics import draw_critical_difference
from voxplain.study.benchmark import BOARD
from voxplain.study.ranking import Ranking

MOST_RANKED = 20
"""Methods up to which the lines of ranks can be read; more have their ranks in the figure of skills alone."""


def write(folder: Path) -> list[Path]:
    """Draw the figures of a benchmark's folder into figures/ below it; returns their paths."""
    result = _read(folder)
    pictures = {"skill": draw_skill(result)} if result["standings"] else {}
    if result["ranking"] is not None and len(result["ranking"]["mean_ranks"]) <= MOST_RANKED:
        pictures["ranks"] = draw_ranks(result)
    return [save(picture, folder / "figures" / f"{name}.png") for name, picture in pictures.items()]


def _read(folder: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads((folder / BOARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{BOARD!r} in {folder.name!r} must be readable; run voxplain benchmark first") from error
    return found


def draw_skill(result: Mapping[str, Any]) -> Picture:
    """One row a method, the best first, one column a phantom and one for all: 1 (dark) is the ground truth itself."""
    phantoms = list(result["ranked_phantoms"])
    rows = result["standings"]
    table = np.array([[_number(row["skill"]), *(_of(row, name) for name in phantoms)] for row in rows])
    names = [_name(row) for row in rows]
    seeds, heads = result["request"]["seeds"], result["request"]["heads"]
    title = f"Skill over {seeds} x {heads} heads a phantom"
    told = f"{result['skill']}; in brackets: maps that ask no network; '–': the method cannot explain the phantom"
    return draw_table(table, names, ["all", *phantoms], title=title, told=told, limits=(-1.0, 1.0))


def draw_ranks(result: Mapping[str, Any]) -> Picture:
    """Mean ranks of the methods over heads, with bars that join those that do not differ."""
    told = {**result["ranking"], "cliques": tuple(map(tuple, result["ranking"]["cliques"]))}
    return draw_critical_difference(Ranking(**told), title="Ranks by skill over all heads of the benchmark")


def _name(row: Mapping[str, Any]) -> str:
    rank = "" if row["mean_rank"] is None else f", rank {row['mean_rank']:.1f}"
    return f"[{row['method']}]" if row["control"] else f"{str(row['method']).partition('(of=')[0]}{rank}"


def _number(value: float | None) -> float:
    return np.nan if value is None else round(value, 2) + 0.0  # no minus zero


def _of(row: Mapping[str, Any], phantom: str) -> float:
    found = row["phantoms"].get(phantom)
    return np.nan if found is None else _number(float(found["value"]))
