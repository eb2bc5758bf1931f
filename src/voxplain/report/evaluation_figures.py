"""The figures of an evaluation: mean curves with bands, ranks by all metrics, and how alike metrics order methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.report.figures import DPI, PLAIN, Picture
from voxplain.report.figures_board import wrapped
from voxplain.report.figures_statistics import Curve
from voxplain.study.evaluate_summary import method_name
from voxplain.study.rows import Row
from voxplain.training.intervals import intervals

Floats = npt.NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
"""How bright red, green and blue look."""

CELL = 0.52, 0.36
"""Inches of a number's cell, across and down."""


@dataclass
class Line:
    """One method's curve in all cases."""

    control: bool
    at: tuple[float, ...]
    along: str
    by_patient: dict[str, list[Floats]] = field(default_factory=dict)


Lines = dict[tuple[str, str, str], dict[str, Line]]
"""(target, metric, name of the curve) -> method -> its curve."""


def gathered_curves(rows: Iterable[Row]) -> Lines:
    """The curves of rows, read one by one; those of a case that has another number of steps are left out."""
    found: Lines = {}
    for row in rows:
        for name, curve in dict(row.get("curves") or {}).items():
            lines = found.setdefault((str(row["target"]), str(row["metric"]), str(name)), {})
            at = tuple(map(float, curve["at"]))
            line = lines.setdefault(method_name(row), Line(bool(row["control"]), at, str(curve["along"])))
            values = np.array([np.nan if one is None else one for one in curve["values"]], dtype=np.float64)
            if line.at == at and np.isfinite(values).all():
                patient = str(row.get("group") or f"case {row['case']}")
                line.by_patient.setdefault(patient, []).append(values)
    return found


def mean_curves(lines: Mapping[str, Line]) -> list[Curve]:
    """The mean over patients of each method's curve, with its 95 % interval at every point."""
    return [*_mean_curves(lines)]


def _mean_curves(lines: Mapping[str, Line]) -> Iterator[Curve]:
    for name, line in lines.items():
        if not line.by_patient:
            continue
        table = np.array([np.mean(own, axis=0) for own in line.by_patient.values()])
        found = intervals(table, _points(len(table)), seed=0)["intervals"]
        ends = np.array([found[str(place)] for place in range(table.shape[1])]).T if found else (None, None)
        yield Curve(name, line.at, table.mean(axis=0), ends[0], ends[1], control=line.control)


def _points(patients: int) -> Any:
    return lambda sums: {str(place): sums[:, place] / patients for place in range(sums.shape[1])}


def draw_ranks(groups: Sequence[Mapping[str, Any]], *, title: str = "") -> Picture:
    """One row a method, one column a metric: its mean rank, 1 for one that is best in every patient.

    Dark is best. A cell without a number: the metric has none of this method.
    """
    names = list(dict.fromkeys(name for one in groups for name in one["ranking"]["mean_ranks"]))
    ranks = np.array([[one["ranking"]["mean_ranks"].get(name, np.nan) for one in groups] for name in names])
    order = np.argsort(np.nanmean(ranks, axis=1), kind="stable")
    columns = [str(one["metric"]) for one in groups]
    told = "mean rank over patients; 1 (dark) is best by that metric; rows by their mean over metrics"
    ends = 1.0, float(len(names))
    return draw_table(
        ranks[order], [names[n] for n in order], columns, title=title, told=told, limits=ends, colours="viridis"
    )


def draw_agreement(pairs: Sequence[Mapping[str, Any]], *, title: str = "") -> Picture:
    """One row and one column a metric: Kendall's tau between the orders into which both bring the methods."""
    names = list(dict.fromkeys(one[side] for one in pairs for side in ("first", "second")))
    table = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(table, 1.0)
    for one in pairs:
        place = names.index(one["first"]), names.index(one["second"])
        table[place] = table[place[::-1]] = np.nan if one["tau"] is None else one["tau"]
    told = "Kendall's tau of the methods' mean ranks: 1 the same order, -1 the opposite one"
    return draw_table(table, names, names, title=title, told=told, limits=(-1.0, 1.0))


def draw_table(
    values: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    told: str,
    limits: tuple[float, float],
    colours: str = "RdBu",
) -> Picture:
    """Numbers (row, column) in coloured cells, '–' where there is none; `told` says below what they are."""
    names = ["\n".join(wrapped(one, 26)) for one in rows]
    heads = ["\n".join(wrapped(one, 22)) for one in columns]
    wide, high = 2.3 + CELL[0] * len(columns), 1.95 + CELL[1] * len(rows)
    with style.context(PLAIN):
        picture = Picture(figsize=(max(wide, 4.6), high), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(picture)
        axes = picture.subplots()
        image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        axes.set_xticks(range(len(columns)), heads, fontsize=7, rotation=50, ha="right", parse_math=False)
        axes.set_yticks(range(len(rows)), names, fontsize=7, parse_math=False)
        shades = image.to_rgba(np.nan_to_num(values, nan=float(np.mean(limits))))[..., :3] @ LUMA
        for (row, column), value in np.ndenumerate(values):
            dark = np.isfinite(value) and shades[row, column] < 0.5
            axes.text(column, row, f"{value:.2g}" if np.isfinite(value) else "–", ha="center", va="center", fontsize=7,
                      color="white" if dark else "black")  # fmt: skip
        axes.set_title("\n".join(wrapped(title, 70)), fontsize=9.5, loc="left", parse_math=False)
        picture.supxlabel("\n".join(wrapped(told, 80)), fontsize=7, color="#505050")
    return picture
