"""The overview of a table of images: some of them with their masks, and how often each label comes."""

from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.data.case import Case, read_cases
from voxplain.data.writing import written_beside
from voxplain.report.figures import DPI, PLAIN
from voxplain.report.figures_labels import LABELS
from voxplain.space.grid import Grid

SAMPLES, ACROSS = 12, 6
"""Pictures shown, and pictures in a row."""

WIDE, HIGH = 1.6, 1.95
"""Inches that a picture and its words take."""

HISTOGRAM_HIGH = 2.2
"""Inches of the histogram."""

MOST_BARS = 12
"""Different labels that get a bar each; more of them, if numbers, are counted in bins."""

NAME = "overview.png"


def write_overview(table: Path, mask_labels: Sequence[str] = ()) -> Path:
    """Write `overview.png` beside a table of cases and return its path."""
    cases = read_cases(table)
    path = table.with_name(NAME)
    with style.context(PLAIN):
        figure = draw_overview(cases, mask_labels)
        with written_beside(path) as beside:
            figure.savefig(beside, format="png", dpi=DPI, metadata={"Software": None})
    return path


def draw_overview(cases: Sequence[Case], mask_labels: Sequence[str] = ()) -> Figure:
    """Cases from all over the table, their masks outlined, above the histogram of all labels."""
    places = np.unique(np.linspace(0, len(cases) - 1, min(SAMPLES, len(cases))).round().astype(int))
    rows = ceil(len(places) / ACROSS)
    high = rows * HIGH + HISTOGRAM_HIGH
    figure = Figure(figsize=(ACROSS * WIDE, high), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(2, 1, height_ratios=[rows * HIGH, HISTOGRAM_HIGH])
    above, below = halves
    axes = np.atleast_1d(above.subplots(rows, ACROSS)).ravel()
    for empty in axes:
        empty.set_axis_off()
    for axis, place in zip(axes, places, strict=False):
        _draw_case(axis, cases[place])
    words = [f"{name} ({colour})" for name, colour in zip(mask_labels, ("blue", "yellow", "red"), strict=False)]
    above.suptitle(f"{len(places)} of {len(cases)} images" + ("; " + ", ".join(words) if words else ""), fontsize=9)
    _draw_labels(below.subplots(), [case.label or "none" for case in cases])
    return figure


def _draw_case(axis: Axes, case: Case) -> None:
    """The first channel on the plane with most of the mask (the middle one without), the mask's labels outlined."""
    mask = np.zeros(case.image.grid.shape) if case.mask is None else case.mask.values[0]
    sizes = (mask > 0).sum(axis=(0, 1))
    plane = int(sizes.argmax()) if sizes.any() else mask.shape[2] // 2
    pixels, labels = case.image.values[0, :, :, plane].T, mask[:, :, plane].T
    turn = _radiological(case.image.grid)
    pixels, labels = pixels[turn], labels[turn]
    low, high = np.percentile(pixels, (0.5, 99.8))
    axis.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    for label in np.unique(labels[labels > 0]).astype(int):
        inside = (labels == label).astype(float)
        axis.contour(inside, levels=[0.5], colors=LABELS[(label - 1) % len(LABELS)], linewidths=0.6)
    axis.set_title(f"{case.identifier}\n{case.label or ''}", fontsize=6)


def _radiological(grid: Grid) -> tuple[slice, slice]:
    """How rows and columns of a plane are taken so that anterior is up and the patient's right on the left."""
    across, down, _ = tuple(grid.orientation)
    return slice(None, None, -1 if down in "AS" else 1), slice(None, None, -1 if across == "R" else 1)


def _draw_labels(axis: Axes, labels: Sequence[str]) -> None:
    """A bar a label; numbers with many different values in bins."""
    counts = Counter(labels)
    if len(counts) > MOST_BARS and all(map(_is_number, counts)):
        axis.hist([float(label) for label in labels], bins=30, color="#4878a8")
    else:
        shown = counts.most_common(MOST_BARS)
        axis.bar([name for name, _ in sorted(shown)], [count for _, count in sorted(shown)], color="#4878a8")
    axis.set_xlabel("label", fontsize=8)
    axis.set_ylabel("images", fontsize=8)
    axis.tick_params(labelsize=7)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
