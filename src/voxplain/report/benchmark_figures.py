"""The figures of a benchmark: what was planted, how methods stand, their skill on every phantom, and their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.phantoms.base import Sample
from voxplain.report.evaluation_figures import draw_table
from voxplain.report.figures import DPI, PLAIN, Picture
from voxplain.report.figures_board import Cell, Row, draw_board, wrapped
from voxplain.report.figures_overlay import outlined
from voxplain.report.figures_statistics import COLOURS, CONTROL, draw_critical_difference
from voxplain.report.figures_view import image_cell, view
from voxplain.study.benchmark_networks import UNSEEN, Task
from voxplain.study.ranking import Ranking

MOST_RANKED = 20
"""Methods up to which names fit around a line of ranks."""

Table = Mapping[str, Any]
Mask = npt.NDArray[np.bool_]


def draw_planted(tasks: Sequence[Task]) -> Picture:
    """A row a phantom: a head without the feature, with it, and with what else there is changed."""
    rows = [_planted(task) for task in tasks]
    caption = ["Cyan: the feature, which is the truth. Yellow: what else there is, which must not be taken for it."]
    return draw_board(rows, title="The first head that is explained, of seed 0", caption=caption, largest=(1.7, 1.9))


def _planted(task: Task) -> Row:
    without, with_it, changed = (
        task.simulation.drawn(UNSEEN, 0, feature=feature, other=other)
        for feature, other in ((False, True), (True, True), (True, False))
    )
    feature = with_it.mask.values[0] > 0
    beside = (with_it.image.values != changed.image.values).any(axis=0)
    last, first = with_it.image.channels[-1], with_it.image.channels[0]
    draw = partial(_cell, feature=feature, brightest=float(with_it.image.values.max()))
    cells: list[Cell | None] = [draw(without, last, [], "without"), draw(with_it, last, [feature], "with")]
    if task.other:
        cells.append(draw(with_it, first, [feature, beside], "what else there is"))
    return Row(tuple(cells), name=task.name)


def _cell(
    sample: Sample, channel: str, outlines: Sequence[Mask], name: str, *, feature: Mask, brightest: float
) -> Cell:
    """The slice with most of the feature, with outlines; black is 0."""
    best = int(feature.sum(axis=(0, 1)).argmax())
    on = view(sample.image, plane="axial", index=best, channel=channel, window=(0.0, brightest))
    named = f"{name} ({channel})" if len(sample.image.channels) > 1 else name
    return outlined(image_cell(on, named), on, outlines)


def draw_standings(result: Table) -> Picture:
    """A line a method, the best skill first: skill over all, and mean rank, each with its interval."""
    rows = [row for row in result["standings"] if row["skill"] is not None]
    with style.context(PLAIN):
        figure = Picture(figsize=(7.4, 1.3 + 0.21 * len(rows)), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        _intervals(left, rows, ("skill", "low", "high"))
        _intervals(right, rows, ("mean_rank", "rank_low", "rank_high"))
        left.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=7, parse_math=False)
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.axvline(0, color=CONTROL, linestyle=":", linewidth=1.2)
        left.axvline(1, color=CONTROL, linestyle=":", linewidth=1.2)
        left.set_xlabel("skill over all: 0 chance, 1 the truth", fontsize=8)
        right.set_xlabel("mean rank over heads: 1 is best", fontsize=8)
        words = "bars: 95 % by the bootstrap over heads; grey, in brackets: maps that ask no network and get no rank"
        figure.supxlabel(words, fontsize=7, color=CONTROL)
    return figure


def _intervals(axes: Axes, rows: Sequence[Table], names: tuple[str, str, str]) -> None:
    """A dot and its interval for each row that has the number."""
    for place, row in enumerate(rows):
        value, low, high = (row[name] for name in names)
        if value is None:
            continue
        colour = CONTROL if row["control"] else COLOURS[0]
        if low is not None:
            axes.plot([low, high], [place] * 2, color=colour, linewidth=1.8, solid_capstyle="butt")
        axes.plot([value], [place], "o", color=colour, markersize=3.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(visible=True, linewidth=0.3, alpha=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_skill(result: Table) -> Picture:
    """One row a method, the best first, one column a phantom and one for all: 1 (dark) is the ground truth itself."""
    phantoms = list(result["ranked_phantoms"])
    rows = result["standings"]
    table = np.array([[_number(row["skill"]), *(_of(row, name) for name in phantoms)] for row in rows])
    seeds, heads = result["request"]["seeds"], result["request"]["heads"]
    title = f"Skill over {seeds} x {heads} heads a phantom"
    told = f"{result['skill']}; in brackets: maps that ask no network; '–': the method cannot explain the phantom"
    return draw_table(table, [*map(_name, rows)], ["all", *phantoms], title=title, told=told, limits=(-1.0, 1.0))


def draw_ranks(result: Table) -> Picture | None:
    """Mean ranks on a line, with bars that join methods that do not differ; None where there are too many to read."""
    told = result["ranking"]
    if told is None or len(told["mean_ranks"]) > MOST_RANKED:
        return None
    ranking = Ranking(**{**told, "cliques": tuple(map(tuple, told["cliques"]))})
    return draw_critical_difference(ranking, title="Ranks by skill over all heads of the benchmark")


def draw_shares(result: Table, phantom: str) -> Picture | None:
    """How much of each map's size lies in the feature, in what else there is, and elsewhere; None without numbers."""
    rows = [row for row in result["standings"] if len(row["shares"].get(phantom, ())) == 2]
    if not rows:
        return None
    parts = np.array([[row["shares"][phantom][name] for name in ("share_in_feature", "share_beside")] for row in rows])
    with style.context(PLAIN):
        figure = Picture(figsize=(6.4, 1.3 + 0.21 * len(rows)), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        starts = np.cumsum([0 * parts[:, 0], parts[:, 0], parts[:, 1]], axis=0)
        widths = (parts[:, 0], parts[:, 1], 1 - parts.sum(axis=1))
        names = ("the feature", "what else there is", "elsewhere")
        for start, wide, name, colour in zip(starts, widths, names, (COLOURS[0], COLOURS[5], "#dddddd"), strict=True):
            axes.barh(range(len(rows)), wide, left=start, color=colour, label=name, height=0.8)
        axes.set_yticks(range(len(rows)), [*map(_name, rows)], fontsize=7, parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_xlabel("share of the map's size, whatever its sign", fontsize=8)
        figure.suptitle("\n".join(wrapped(f"Where maps of {phantom!r} lie", 60)), fontsize=9.5, parse_math=False)
        figure.legend(loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return figure


def _name(row: Table) -> str:
    short = str(row["method"]).partition("(of=")[0]
    return f"[{short}]" if row["control"] else short


def _number(value: float | None) -> float:
    return np.nan if value is None else round(value, 2) + 0.0  # no minus zero


def _of(row: Table, phantom: str) -> float:
    found = row["phantoms"].get(phantom)
    return np.nan if found is None else _number(float(found["value"]))
