"""Sum of relevance against prediction: the pumpkin study's check that relevance is measured from the bias."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.errors import InputError
from voxplain.report.figures import DPI, PLAIN, Picture


@dataclass(frozen=True)
class SumFit:
    """The straight line through sums of relevance over predictions."""

    slope: float
    intercept: float
    correlation: float
    """Pearson's, between predictions and sums."""
    crossing: float
    """The prediction at which the line is 0."""


def sum_fit(sums: npt.ArrayLike, predictions: npt.ArrayLike) -> SumFit:
    """Least squares of `sums` (case,) over `predictions` (case,).

    Raises InputError for fewer than three cases, unequal lengths, or values that are all the same.
    """
    y, x = np.asarray(sums, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 3:
        raise InputError(f"sums and predictions must be at least 3 numbers each, got {y.shape} and {x.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("sums and predictions must be finite numbers")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise InputError("sums and predictions must not be all the same, a line has no slope there")
    slope, intercept = (float(number) for number in np.polyfit(x, y, 1))
    return SumFit(slope, intercept, float(np.corrcoef(x, y)[0, 1]), -intercept / slope)


def draw_relevance_sums(
    sums: Sequence[float] | npt.ArrayLike,
    predictions: Sequence[float] | npt.ArrayLike,
    bias: float,
    *,
    unit: str = "years",
    title: str = "",
) -> Picture:
    """Sums of relevance over predictions with their line, and where it crosses zero beside the output bias.

    The dashed line is what relevance that adds up would give: the prediction less the bias.
    """
    fit = sum_fit(sums, predictions)
    x, y = np.asarray(predictions, dtype=np.float64), np.asarray(sums, dtype=np.float64)
    with style.context(PLAIN):
        figure = Picture(figsize=(5.6, 4.4), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.scatter(x, y, s=14, color="#2a6fbb", alpha=0.75, linewidths=0, label=f"{len(x)} images")
        ends = np.array([min(x.min(), bias), max(x.max(), bias)])
        line = f"fit: slope {fit.slope:.2f}, zero at {fit.crossing:.1f} {unit}"
        axes.plot(ends, fit.slope * ends + fit.intercept, color="#111111", linewidth=1.2, label=line)
        axes.plot(ends, ends - bias, "--", color="#777777", linewidth=1, label="prediction less output bias (slope 1)")
        axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.axvline(bias, color="#c4001a", linewidth=1, linestyle=":", label=f"output bias {bias:.1f} {unit}")
        axes.plot([fit.crossing], [0], "o", color="#111111", markersize=4)
        axes.set_xlabel(f"prediction ({unit})", fontsize=9)
        axes.set_ylabel(f"sum of relevance ({unit})", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7.5, frameon=False, loc="upper left")
        heading = f"{title}\n" if title else ""
        gap = fit.crossing - bias
        words = f"{heading}correlation {fit.correlation:.3f}; the zero lies {abs(gap):.1f} {unit} "
        axes.set_title(words + ("above the bias" if gap >= 0 else "below the bias"), fontsize=9, parse_math=False)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure
