"""The figure of readers' ratings: how often each method got which of the five answers, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Patch

from voxplain.report.figures import DPI, PLAIN, Picture
from voxplain.report.figures_board import wrapped

COLOURS = ("#b35806", "#f1a340", "#e3e3e3", "#998ec3", "#542788")
"""From 1 to 5: orange to violet, which stay apart for colour-blind eyes (ColorBrewer PuOr)."""

BAR, HEAD = 0.26, 0.42
"""Inches of a bar, and of what stands above those of an item."""


def draw_ratings(items: Sequence[Mapping[str, Any]], *, title: str = "") -> Picture:
    """A block an item, a bar a method: shares of the ratings from 1 (left) to 5, their counts inside, means beside."""
    heights = [HEAD + BAR * len(one["means"]) for one in items]
    with style.context(PLAIN):
        picture = Picture(figsize=(7.2, sum(heights) + 0.9), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(picture)
        axes = np.atleast_1d(picture.subplots(len(items), 1, height_ratios=heights))
        for one, item in zip(axes, items, strict=True):
            _draw_item(one, item)
        marks = [Patch(facecolor=colour, label=str(level)) for level, colour in enumerate(COLOURS, start=1)]
        told = "rating; the number beside a bar is the mean; * stands at the sham map"
        picture.legend(handles=marks, loc="outside lower center", ncols=5, fontsize=7.5, frameon=False, title=told,
                       title_fontsize=7.5)  # fmt: skip
        picture.suptitle(title, fontsize=9.5, parse_math=False)
    return picture


def _draw_item(axes: Axes, item: Mapping[str, Any]) -> None:
    names = [f"{one['method']}{' *' if one['sham'] else ''}" for one in item["means"]]
    for row, one in enumerate(item["means"]):
        left, total = 0.0, sum(one["counts"])
        for level, count in enumerate(one["counts"]):
            axes.barh(row, count / total, left=left, height=0.8, color=COLOURS[level])
            if count:
                ink = "white" if level in (0, 4) else "black"
                axes.text(left + count / total / 2, row, str(count), ha="center", va="center", fontsize=6.5, color=ink)
            left += count / total
        axes.text(1.01, row, f"{one['value']:.2f}", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), ["\n".join(wrapped(name, 34)) for name in names], fontsize=7, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_title(f"{item['item']} ({item['better']} is better)", fontsize=8, loc="left")
    for spine in axes.spines.values():
        spine.set_visible(False)
