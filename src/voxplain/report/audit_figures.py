"""The figures of an audit: findings with their intervals, every case's fall of the score, and clusters of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.report.figures import DPI, PLAIN, Picture
from voxplain.report.figures_board import wrapped
from voxplain.report.figures_statistics import COLOURS, CONTROL, MARKERS, draw_distributions
from voxplain.study.audit_verdict import Verdict

OUTCOMES = {"ok": COLOURS[2], "look": COLOURS[5], "fail": COLOURS[1], "not applicable": CONTROL}
"""Colours of outcomes; each also has a shape of its own."""

SHAPES = {"ok": "o", "look": "s", "fail": "D", "not applicable": "x"}

MOST_CLUSTERS = 8


def draw_findings(verdict: Verdict) -> Picture | None:
    """A dot and its interval for every finding of a check that has a number; None where none has."""
    found = [one for one in verdict.findings if one.value is not None]
    if not found:
        return None
    with style.context(PLAIN):
        figure = _figure(6.4, 1.2 + 0.36 * len(found))
        axes = figure.subplots()
        for place, one in enumerate(found):
            colour, value = OUTCOMES[one.outcome], float(one.value or 0.0)
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [place] * 2, color=colour, linewidth=2)
            axes.plot([value], [place], SHAPES[one.outcome], color=colour, markersize=6)
        names = ["\n".join(wrapped(f"{one.name} ({one.outcome})", 34)) for one in found]
        axes.set_yticks(range(len(found)), names, fontsize=7.5, parse_math=False)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel("\n".join(wrapped(verdict.quantity, 70)), fontsize=8.5, parse_math=False)
        axes.tick_params(axis="x", labelsize=7.5)
        axes.grid(visible=True, axis="x", linewidth=0.4, alpha=0.6)
        _bare(axes)
        figure.supxlabel("\n".join(wrapped(verdict.threshold, 100)), fontsize=7, color=CONTROL, parse_math=False)
    return figure


def draw_falls(verdict: Verdict) -> Picture | None:
    """Every case's fall of the score when a place is wiped; None where nothing was wiped."""
    falls = {one.name: [*one.numbers["cases"].values()] for one in verdict.findings if one.numbers.get("cases")}
    if not falls:
        return None
    return draw_distributions(falls, quantity="fall of the score over the mean distance to the decision", chance=0.0)


def draw_clusters(name: str, numbers: Mapping[str, Any]) -> Picture:
    """The cohort's maps of one method as dots, and the mean map of each cluster."""
    clusters: Sequence[Mapping[str, Any]] = numbers["clusters"][:MOST_CLUSTERS]
    columns = 2 + max(2, -(-len(clusters) // 2))
    with style.context(PLAIN):
        figure = _figure(1.55 * columns + 0.6, 3.9)
        grid = figure.add_gridspec(2, columns)
        axes = figure.add_subplot(grid[:, :2])
        places, labels = np.asarray(numbers["embedding"], dtype=np.float64), np.asarray(numbers["labels"])
        for number in range(len(clusters)):
            own = places[labels == number]
            axes.scatter(own[:, 0], own[:, 1], s=18, color=COLOURS[number], marker=MARKERS[number], linewidths=0)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel("t-SNE: a dot a case; only nearness means something", fontsize=7.5)
        axes.set_title(
            "\n".join(wrapped(f"{name}: {len(clusters)} clusters of maps", 40)), fontsize=8.5, parse_math=False
        )
        for number, one in enumerate(clusters):
            _mean_map(figure.add_subplot(grid[number % 2, 2 + number // 2]), one, number, numbers)
    return figure


def _mean_map(axes: Axes, one: Mapping[str, Any], number: int, numbers: Mapping[str, Any]) -> None:
    """A cluster's mean map; of volumes summed along the last axis."""
    cells, rank = int(numbers["cells"]), int(numbers["rank"])
    values = np.asarray(one["mean"], dtype=np.float64).reshape((cells,) * rank)
    flat = values if rank == 2 else values.sum(axis=-1).T
    axes.imshow(flat, cmap="magma", vmin=0, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    said = ", ".join(f"{count} {name}" for name, count in one["said"].items() if name) or f"{one['size']} cases"
    axes.set_title("\n".join(wrapped(said, 18)), fontsize=7, color=COLOURS[number], parse_math=False)
    axes.set_xlabel("\n".join(wrapped(f"{one['value']:.1f} x chance, {one['place']}", 20)), fontsize=6.5)
    for side in axes.spines.values():
        side.set_color(COLOURS[number])


def _figure(wide: float, high: float) -> Picture:
    figure = Picture(figsize=(wide, high), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
