"""Pictures of predictions: the confusion matrix, predictions against truth, residuals, and the labels' histogram."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.polynomial import Polynomial
from scipy.stats import gaussian_kde

from voxplain.errors import InputError
from voxplain.report.display import number
from voxplain.report.figures import PLAIN

Floats = npt.NDArray[np.float64]

DOTS, FIT, LINE = "#0072b2", "#d55e00", "#555555"
"""Cases, what is fitted to them, and where a perfect prediction would lie."""

BARS = "#9ecae1"
BIAS, MEAN, MEDIAN = "#d62728", "#e69f00", "#007a53"
"""Red, orange and green as in the pumpkin study; dots and dashes of their own tell them apart without colour."""

DEGREE = 3
"""Of the curve through the residuals."""

FINE = 200
"""Points of a drawn curve."""

LEGEND_ROOM = 1.3
"""How much higher than its bars a histogram is, so that the legend covers none."""

DARK = 0.55
"""Share of its row above which a cell's number is white."""


def confusion(matrix: npt.ArrayLike, class_names: Sequence[str], title: str = "") -> Figure:
    """Counts [truth][prediction] of cases; colour and percent are their share of the row."""
    counts = np.asarray(matrix)
    if counts.shape != (len(class_names),) * 2 or not counts.size:
        raise InputError(f"confusion matrix must be {len(class_names)} by {len(class_names)}, got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 1.6 + 0.85 * len(class_names)
    with style.context(PLAIN):
        figure = _figure(side + 0.8, side)
        axes = figure.subplots()
        shown = axes.imshow(shares, cmap=colormaps["Blues"], vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{counts[row, column]:g}\n{100 * share:.0f} %"
            colour = "white" if share > DARK else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        places = range(len(class_names))
        axes.set_xticks(places, class_names, fontsize=8, rotation=30, ha="right", parse_math=False)
        axes.set_yticks(places, class_names, fontsize=8, parse_math=False)
        axes.set_xlabel("prediction", fontsize=9)
        axes.set_ylabel("truth", fontsize=9)
        axes.set_title(title, fontsize=9, parse_math=False)
        bar = figure.colorbar(shown, ax=axes, shrink=0.8)
        bar.set_label("share of the class", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def joint(truth: npt.ArrayLike, prediction: npt.ArrayLike, unit: str = "", title: str = "") -> Figure:
    """Predictions against truth around the line of perfect ones, with the densities of both at the sides."""
    wanted, got = _pair(truth, prediction)
    with style.context(PLAIN):
        figure = _figure(4.6, 4.6)
        grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4))
        axes = figure.add_subplot(grid[1, 0])
        above = figure.add_subplot(grid[0, 0], sharex=axes)
        beside = figure.add_subplot(grid[1, 1], sharey=axes)
        ends = _ends(np.r_[wanted, got])
        axes.plot(ends, ends, color=LINE, linestyle="--", linewidth=1, label="prediction = truth")
        axes.scatter(wanted, got, s=14, color=DOTS, alpha=0.6, linewidths=0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_xlabel(_with_unit("truth", unit), fontsize=9, parse_math=False)
        axes.set_ylabel(_with_unit("prediction", unit), fontsize=9, parse_math=False)
        axes.legend(fontsize=7, frameon=False, loc="upper left")
        axes.tick_params(labelsize=7)
        for side, values, upright in ((above, wanted, False), (beside, got, True)):
            _density(side, values, ends, upright=upright)
            side.set_axis_off()
        above.set_title(title or _quality(wanted, got, unit), fontsize=9, parse_math=False)
    return figure


def residuals(truth: npt.ArrayLike, prediction: npt.ArrayLike, unit: str = "", title: str = "") -> Figure:
    """Prediction - truth against truth, with a cubic fitted: a slope down means regression to the mean."""
    wanted, got = _pair(truth, prediction)
    with style.context(PLAIN):
        figure = _figure(5.4, 3.6)
        axes = figure.subplots()
        axes.axhline(0, color=LINE, linestyle="--", linewidth=1)
        axes.scatter(wanted, got - wanted, s=14, color=DOTS, alpha=0.6, linewidths=0)
        degree = min(DEGREE, len(np.unique(wanted)) - 1)
        if degree > 0:
            along = np.linspace(wanted.min(), wanted.max(), FINE)
            fitted = Polynomial.fit(wanted, got - wanted, degree)
            axes.plot(along, fitted(along), color=FIT, linewidth=1.6, label="cubic fit" if degree == DEGREE else "fit")
            axes.legend(fontsize=7, frameon=False)
        axes.set_xlabel(_with_unit("truth", unit), fontsize=9, parse_math=False)
        axes.set_ylabel(_with_unit("prediction \N{MINUS SIGN} truth", unit), fontsize=9, parse_math=False)
        axes.set_title(title or _quality(wanted, got, unit), fontsize=9, parse_math=False)
        axes.tick_params(labelsize=7)
    return figure


def age_histogram(
    values: npt.ArrayLike, bias: float | None = None, unit: str = "years", quantity: str = "age"
) -> Figure:
    """Histogram of labels with their density; the bias dotted, the mean dashed, the median in long dashes."""
    ages = _numbers("values", values)
    with style.context(PLAIN):
        figure = _figure(5.4, 3.4)
        axes = figure.subplots()
        bins = _bins(ages)
        axes.hist(ages, bins=list(bins), color=BARS, edgecolor="white", linewidth=0.5)
        curve = _kernel_density(ages)
        if curve is not None:
            along = np.linspace(bins[0], bins[-1], FINE)
            axes.plot(along, curve(along) * len(ages) * (bins[1] - bins[0]), color=DOTS, linewidth=1.6)
        _draw_middles(axes, ages, bias, unit)
        axes.set_xlabel(_with_unit(quantity, unit), fontsize=9, parse_math=False)
        axes.set_ylabel("images", fontsize=9)
        axes.set_ylim(top=LEGEND_ROOM * axes.get_ylim()[1])
        axes.set_title(f"{len(ages)} images", fontsize=9)
        axes.legend(fontsize=7, frameon=False)
        axes.tick_params(labelsize=7)
    return figure


def _draw_middles(axes: Axes, ages: Floats, bias: float | None, unit: str) -> None:
    """Lines at the mean, the median, and the bias where there is one."""
    lines: list[tuple[str, float, str, object]] = [
        ("mean", float(ages.mean()), MEAN, "--"),
        ("median", float(np.median(ages)), MEDIAN, (0, (9, 3))),
    ]
    if bias is not None:
        lines.insert(0, ("bias", bias, BIAS, ":"))
    for name, place, colour, dashes in lines:
        label = f"{name} {place:.1f} {unit}".strip()
        axes.axvline(place, color=colour, linestyle=dashes, linewidth=1.6, label=label)


def _figure(wide: float, high: float) -> Figure:
    figure = Figure(figsize=(wide, high), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _density(axes: Axes, values: Floats, ends: tuple[float, float], *, upright: bool) -> None:
    """The histogram, and the density over it, of one side of a joint plot."""
    axes.hist(
        values, bins=24, range=ends, density=True, color=BARS, orientation="horizontal" if upright else "vertical"
    )
    curve = _kernel_density(values)
    if curve is not None:
        along = np.linspace(*ends, FINE)
        axes.plot(*((curve(along), along) if upright else (along, curve(along))), color=DOTS, linewidth=1.4)


def _bins(values: Floats) -> Floats:
    """Edges of bars; around whole numbers each bar holds equally many of them."""
    edges = np.histogram_bin_edges(values, bins="auto")
    if (values % 1).any():
        return edges.astype(np.float64)
    width = max(1, round(edges[1] - edges[0]))
    return np.arange(values.min() - 0.5, values.max() + width + 0.5, width)


def _kernel_density(values: Floats) -> Callable[[Floats], Floats] | None:
    """The density by Gaussian kernels (Scott's width); None where values do not differ."""
    return gaussian_kde(values) if len(values) > 1 and np.ptp(values) > 0 else None


def _ends(values: Floats) -> tuple[float, float]:
    room = 0.05 * float(np.ptp(values)) or 0.5
    return float(values.min()) - room, float(values.max()) + room


def _quality(wanted: Floats, got: Floats, unit: str) -> str:
    """The errors in words; R² only where truths differ."""
    told = f"MAE {number(float(np.abs(got - wanted).mean()))} {unit}".strip()
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    return f"{told}, R² {number(1 - float(((got - wanted) ** 2).sum()) / spread)}" if spread > 0 else told


def _with_unit(word: str, unit: str) -> str:
    return f"{word} ({unit})" if unit else word


def _pair(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> tuple[Floats, Floats]:
    wanted, got = _numbers("truth", truth), _numbers("prediction", prediction)
    if len(wanted) != len(got):
        raise InputError(f"truth and prediction must be equally many, got {len(wanted)} and {len(got)}")
    return wanted, got


def _numbers(what: str, values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array) or not np.isfinite(array).all():
        told = f"{int((~np.isfinite(array)).sum())} that are not" if len(array) else "none"
        raise InputError(f"{what} must be finite numbers, at least 1, got {told}")
    return array
