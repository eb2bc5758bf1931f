"""The figure of an influence matrix: what covering a region does to each output, and where the gradient lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.report.display import SEQUENTIAL, number
from voxplain.report.figures import PLAIN
from voxplain.study.influence_run import Matrix

FALLS = "RdBu_r"
"""Diverging: red where a region speaks for the output, blue against, white for nothing."""

DARK_TEXT = 0.55
"""Above this lightness of a cell its number is black, else white."""


def draw_influence(matrix: Matrix, *, title: str = "") -> Figure:
    """Two heat maps, regions down and outputs across, with their numbers in the cells."""
    rows, columns = matrix.falls.shape
    with style.context(PLAIN):
        size = (4.6 + 1.9 * columns, 2.5 + 0.55 * rows)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        limit = float(np.nanmax(np.abs(matrix.falls))) or 1.0
        unit = f"fall of the output when covered ({matrix.unit})"
        _draw(left, matrix.falls, (-limit, limit), FALLS, [[number(value) for value in line] for line in matrix.falls])
        left.set_title(unit, fontsize=9)
        _draw(right, matrix.shares, (0, 1), SEQUENTIAL, [[_percent(value) for value in line] for line in matrix.shares])
        right.set_title("share of |gradient x input|", fontsize=9)
        names = [f"{name}\n({size:.1%} of the voxels)" for name, size in zip(matrix.regions, matrix.sizes, strict=True)]
        left.set_yticks(range(rows), names, fontsize=8, parse_math=False)
        left.set_ylabel("region of the input")
        for axes in (left, right):
            axes.set_xticks(range(columns), matrix.outputs, fontsize=8, rotation=20, ha="right", parse_math=False)
            axes.set_xlabel("output over its predicted region" if matrix.unit == "logits" else "output")
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


def _draw(
    axes: Axes, values: npt.NDArray[np.float64], limits: tuple[float, float], colours: object, words: list[list[str]]
) -> None:
    image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")  # type: ignore[arg-type]
    for i, line in enumerate(words):
        for j, word in enumerate(line):
            known = not np.isnan(values[i, j])
            red, green, blue, _ = image.cmap(image.norm(values[i, j])) if known else (1.0,) * 4
            light = 0.3 * red + 0.59 * green + 0.11 * blue > DARK_TEXT
            told = word if known else "-"
            axes.text(j, i, told, ha="center", va="center", fontsize=8, color="black" if light else "white")
