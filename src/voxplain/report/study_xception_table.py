"""The table of backbones as a picture: accuracy on the test images with its interval, the best one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.errors import InputError
from voxplain.report.figures import PLAIN

BAR = "#0072b2"
"""Blue that colour-blind eyes tell from black."""


def draw_backbones(rows: Sequence[Mapping[str, str]], title: str = "") -> Figure:
    """Rows with backbone, start, parameters, cases, accuracy, low and high, as `comparison.csv` has them.

    A dotted line marks what guessing one of three equally frequent classes gets; raises `InputError` without rows.
    """
    if not rows:
        raise InputError("a comparison needs at least one backbone, got none")
    with style.context(PLAIN):
        figure = Figure(figsize=(7.2, 0.55 * len(rows) + 1.3), facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        places = np.arange(len(rows))
        values = np.array([float(row["accuracy"]) for row in rows])
        axes.barh(places, values, color=BAR, height=0.6)
        for place, row in enumerate(rows):
            if row["low"] and row["high"]:
                axes.plot([float(row["low"]), float(row["high"])], [place, place], color="black", linewidth=1.4)
            axes.text(1.02, place, _words(row), fontsize=7, va="center")
        axes.set_yticks(places, [f"{row['backbone']}\n{row['start']}" for row in rows], fontsize=7)
        axes.axvline(1 / 3, color="#555555", linestyle=":", linewidth=0.9)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.set_xlabel("accuracy on test images; line: 95 % interval over patients; dotted: chance", fontsize=8)
        axes.set_title(title or "Backbones compared", fontsize=9, loc="left")
    return figure


def _words(row: Mapping[str, str]) -> str:
    return f"{float(row['accuracy']):.3f} of {row['cases']}\n{int(row['parameters']) / 1e6:.1f} million weights"
