"""Curves of a training: loss and score by epoch, of one run or of all folds."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from voxplain.errors import InputError
from voxplain.report.figures import PLAIN

History = Mapping[str, Sequence[float]]
"""One number an epoch under train_loss, val_loss, train_accuracy, val_accuracy or train_mae, val_mae ...; a column
`phase` that changes is marked."""

TRAINING, VALIDATION, MARK = "#0072b2", "#d55e00", "#555555"
"""Blue and vermilion stay apart for colour-blind eyes, and the lines differ in their dashes as well."""

SHARES = ("accuracy", "dice", "f1", "precision", "recall")
"""Scores from 0 to 1, whose axis shows all of that."""

WORDS = {"mae": "mean absolute error", "mse": "mean squared error", "dice": "Dice", "r2": "R²", "f1": "F1"}

IN_UNITS, SQUARED = ("mae", "mse"), {"mse": "²"}
"""Scores in the unit of what is learnt, and those in its square."""

ROW_WIDE, ROW_HIGH = 7.6, 1.9
"""Inches of a pair of curves among others."""


def curves(history: History, title: str = "", unit: str = "") -> Figure:
    """Loss on the left and, where the history has one, a score on the right; training solid, validation dashed.

    `unit` is that of what is learnt, for scores that have it. A dotted line marks where a phase begins. Raises
    `InputError` for a history without epochs.
    """
    return _drawn([history], [title], ROW_HIGH + 1.2, unit)


def curve_grid(histories: Sequence[History], names: Sequence[str] | None = None, unit: str = "") -> Figure:
    """One row a fold: loss on the left, score (an accuracy from 0 to 1) on the right; all rows have the same axes."""
    if not histories:
        raise InputError("curves need at least one history, got none")
    return _drawn(histories, names or [f"fold {number}" for number in range(len(histories))], ROW_HIGH, unit)


def _drawn(histories: Sequence[History], names: Sequence[str], high: float, unit: str) -> Figure:
    lengths = [_epochs(history) for history in histories]
    score = next((found for found in map(_score, histories) if found), "")
    columns = ["loss", score] if score else ["loss"]
    with style.context(PLAIN):
        size = (ROW_WIDE * len(columns) / 2, high * len(histories))
        figure = Figure(figsize=size, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        table = figure.subplots(len(histories), len(columns), squeeze=False, sharex=True, sharey="col")
        for row, (history, name) in enumerate(zip(histories, names, strict=True)):
            for axes, column in zip(table[row], columns, strict=True):
                _draw(axes, history, column)
                axes.set_xlim(0.5, max(lengths) + 0.5)
                axes.set_ylabel(_label(column, unit), fontsize=8, parse_math=False)
            table[row, 0].set_title(name, fontsize=8, loc="left", parse_math=False)
        for axes in table[-1]:
            axes.set_xlabel("epoch", fontsize=8)
        table[0, 0].legend(fontsize=7, frameon=False)
    return figure


def _label(column: str, unit: str) -> str:
    own = unit + SQUARED.get(column, "")
    return WORDS.get(column, column) + (f" ({own})" if unit and column in IN_UNITS else "")


def _draw(axes: Axes, history: History, column: str) -> None:
    looks = (("train", "training", TRAINING, "-"), ("val", "validation", VALIDATION, (0, (4, 1.5))))
    for part, word, colour, dashes in looks:
        values = history.get(f"{part}_{column}")
        if values is not None and np.isfinite(values).any():
            # A marker each, so that a history of a single epoch is seen.
            epochs = np.arange(1, len(values) + 1)
            axes.plot(
                epochs, values, color=colour, linestyle=dashes, marker=".", markersize=3, linewidth=1.2, label=word
            )
    for start in _phase_starts(history):
        axes.axvline(start - 0.5, color=MARK, linestyle=":", linewidth=0.9)
    if column in SHARES:
        axes.set_ylim(0, 1)
    axes.grid(visible=True, linestyle="--", linewidth=0.5, alpha=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=7)


def _epochs(history: History) -> int:
    lengths = {len(values) for name, values in history.items() if name.startswith(("train_", "val_"))}
    if len(lengths) != 1 or lengths == {0}:
        told = f"got {sorted(lengths)}" if lengths else f"got columns {', '.join(history) or 'none'}"
        raise InputError(f"a history must have columns train_... or val_... of one length, at least 1, {told}")
    return lengths.pop()


def _score(history: History) -> str:
    """The first column besides the loss, without its part; validation decides where both have some."""
    for part in ("val_", "train_"):
        for name, values in history.items():
            if name.startswith(part) and name != f"{part}loss" and np.isfinite(values).any():
                return name.removeprefix(part)
    return ""


def _phase_starts(history: History) -> list[int]:
    """Epochs, counted from 1 over all phases, at which a later phase begins."""
    phases = history.get("phase", ())
    return [place + 1 for place in range(1, len(phases)) if phases[place] != phases[place - 1]]
