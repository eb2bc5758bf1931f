"""Numbers of many cases: perturbation curves with intervals, distributions case by case, and which methods differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from voxplain.errors import InputError
from voxplain.report.display import number
from voxplain.report.figures import DPI, PLAIN, Picture
from voxplain.report.figures_board import LETTER_POINTS, wrapped
from voxplain.study.ranking import Ranking

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b3a8c", "#000000")
"""Okabe and Ito's, which stay apart for colour-blind eyes (violet for their yellow, which is faint on white)."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1.5, 1)))
MARKERS = "osD^vP*X"
"""Lines differ in colour, dashes and markers: any two of them tell each other apart."""

CONTROL, FAINT = "#777777", "#bbbbbb"
"""Controls such as a random map, and lines that only guide the eye."""

MOST_DOTS = 400
"""Cases of a method that are drawn as dots of their own."""

DOTS_WIDE = 0.28
"""How far dots are moved apart at most, where the next method is 1 away."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a figure of curves."""

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    low: npt.ArrayLike | None = None
    """Lower end of the interval at each point; None without one."""
    high: npt.ArrayLike | None = None
    told: str = ""
    """What stands behind the name, such as 'area 0.31 (0.27 to 0.35)'."""
    control: bool = False
    """A random or other trivial map, drawn in grey."""


def draw_curves(
    curves: Sequence[Curve],
    *,
    x_label: str = "share of voxels changed",
    y_label: str = "score",
    interval: str = "",
    title: str = "",
) -> Picture:
    """Curves such as deletion and insertion, with intervals as bands; `interval` says what they are ('95 %, n = 50').

    Raises InputError for a curve whose arrays differ in length, or with half an interval.
    """
    if not curves:
        raise InputError("curves must be at least one, got none")
    with style.context(PLAIN):
        figure, axes = _plain(6.4, 3.6, title)
        real = 0
        for curve in curves:
            _draw_curve(axes, curve, real)
            real += not curve.control
        axes.set_xlabel(x_label, fontsize=9, parse_math=False)
        axes.set_ylabel(y_label, fontsize=9, parse_math=False)
        axes.grid(visible=True, linewidth=0.4, alpha=0.6)
        figure.legend(loc="outside right upper", fontsize=7.5, frameon=False, title=_band_words(curves, interval),
                      title_fontsize=7.5, alignment="left")  # fmt: skip
    return figure


def _draw_curve(axes: Axes, curve: Curve, place: int) -> None:
    x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
    ends = [None if end is None else np.asarray(end, dtype=np.float64) for end in (curve.low, curve.high)]
    shapes = {part.shape for part in (x, y, *(end for end in ends if end is not None))}
    if x.ndim != 1 or len(shapes) > 1 or not len(x):
        raise InputError(f"curve {curve.name!r} must have as many x as y, at least one, got {sorted(shapes)}")
    if (ends[0] is None) != (ends[1] is None):
        raise InputError(f"curve {curve.name!r} must have both ends of its interval or none")
    colour = CONTROL if curve.control else COLOURS[place % len(COLOURS)]
    dashes = DASHES[2] if curve.control else DASHES[(place // len(COLOURS) + place) % len(DASHES)]
    label = f"{curve.name}: {curve.told}" if curve.told else curve.name
    marker = None if curve.control else MARKERS[place % len(MARKERS)]
    if ends[0] is not None and ends[1] is not None:
        axes.fill_between(x, ends[0], ends[1], color=colour, alpha=0.15, linewidth=0)
    (line,) = axes.plot(x, y, color=colour, linestyle=dashes, linewidth=1.4, marker=marker, markersize=3.5,
                        markevery=max(1, len(x) // 8), label="\n".join(wrapped(label, 30)))  # fmt: skip
    line.set_zorder(2 if curve.control else 3)


def _band_words(curves: Sequence[Curve], interval: str) -> str:
    if all(curve.low is None for curve in curves):
        return "no intervals"
    return "\n".join(wrapped(f"bands: {interval or 'intervals'}", 30))


def draw_distributions(
    values: Mapping[str, npt.ArrayLike],
    *,
    quantity: str,
    unit: str = "",
    better: Literal["higher", "lower", ""] = "",
    chance: float | None = None,
    title: str = "",
) -> Picture:
    """Every case a dot, one row a method {name: (case,)}, median and quartiles, and a line where chance lies.

    Dots are moved apart so that none hides another; NaN is a case without a number and is counted. Raises InputError
    where no method has one.
    """
    arrays = {name: np.asarray(one, dtype=np.float64).ravel() for name, one in values.items()}
    if not any(np.isfinite(one).any() for one in arrays.values()):
        raise InputError("values must hold at least one number, got none")
    with style.context(PLAIN):
        figure, axes = _plain(6.4, 1.3 + 0.42 * len(arrays), title)
        labels = []
        for place, (name, array) in enumerate(arrays.items()):
            labels.append(_draw_distribution(axes, place, name, array))
        axes.set_yticks(range(len(labels)), labels, fontsize=7.5, parse_math=False)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        if chance is not None:
            axes.axvline(chance, color=CONTROL, linestyle=":", linewidth=1.2, label=f"chance {number(chance)}")
            axes.legend(fontsize=7, frameon=False, loc="best")
        direction = {"higher": "higher is better →", "lower": "← lower is better", "": ""}[better]
        axes.set_xlabel(" ".join([quantity, f"({unit})" * bool(unit), f"   {direction}"]), fontsize=9, parse_math=False)
        axes.grid(visible=True, axis="x", linewidth=0.4, alpha=0.6)
        figure.supxlabel("a dot a case; bar: quartiles; white line: median", fontsize=7, color=CONTROL)
    return figure


def _draw_distribution(axes: Axes, place: int, name: str, array: npt.NDArray[np.float64]) -> str:
    """Draw a method and return its label with the number of cases."""
    known = np.sort(array[np.isfinite(array)])
    colour = COLOURS[0]
    if len(known):
        first, middle, third = np.quantile(known, (0.25, 0.5, 0.75))
        axes.plot([first, third], [place] * 2, color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt", zorder=2)
        axes.plot([middle] * 2, [place - 0.22, place + 0.22], color="black", linewidth=3.2, zorder=4)
        axes.plot([middle] * 2, [place - 0.2, place + 0.2], color="white", linewidth=1.6, zorder=5)
        dots = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_DOTS)).round().astype(int))]
        # Neighbours in value lie on different heights: the golden angle spreads them without a pattern.
        shifts = ((np.arange(len(dots)) * 0.618034) % 1 - 0.5) * 2 * DOTS_WIDE
        axes.scatter(dots, place + shifts, s=9, color=colour, alpha=0.65, linewidths=0, zorder=3)
    lacking = len(array) - len(known)
    return "\n".join(wrapped(name, 26)) + f"\nn = {len(known)}" + (f", {lacking} without" if lacking else "")


def draw_critical_difference(found: Ranking, *, title: str = "") -> Picture:
    """Mean ranks on a line, best at the left; methods below one bar do not differ significantly.

    With Nemenyi's test the critical difference is drawn as a length above. The ranks are told in numbers.
    """
    names, count = list(found.mean_ranks), len(found.mean_ranks)
    half = (count + 1) // 2
    with style.context(PLAIN):
        below = 0.35 + 0.16 * len(found.cliques)
        size = 7.2, 1.5 + below + 0.26 * half
        figure = Picture(figsize=size, dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        # Data units: ranks across, inches down from the line of ranks.
        axes = figure.add_axes((0.27, 0, 0.46, 1))
        axes.set_xlim(1, count)
        axes.set_ylim(size[1] - 1.15, -1.15)
        axes.set_axis_off()
        _rank_line(axes, found)
        for level, clique in enumerate(found.cliques):
            ends = [found.mean_ranks[name] for name in (clique[0], clique[-1])]
            room = 0.012 * (count - 1)
            axes.plot([ends[0] - room, ends[1] + room], [0.2 + 0.16 * level] * 2, color="black", linewidth=3.5,
                      solid_capstyle="butt", clip_on=False)  # fmt: skip
        for place, name in enumerate(names):
            left, row = place < half, place if place < half else count - 1 - place
            _name(axes, name, found.mean_ranks[name], left=left, y=below + 0.12 + 0.26 * row, count=count)
        _rank_words(figure, found, title)
    return figure


def _rank_line(axes: Axes, found: Ranking) -> None:
    count = len(found.mean_ranks)
    axes.plot([1, count], [0, 0], color="black", linewidth=1, clip_on=False)
    for rank in range(1, count + 1):
        axes.plot([rank] * 2, [0, -0.08], color="black", linewidth=1, clip_on=False)
        axes.text(rank, -0.11, str(rank), ha="center", va="bottom", fontsize=8)
    if found.difference is not None:
        end = min(1 + found.difference, count)
        axes.plot([1, 1, 1, end, end, end], [-0.47, -0.35, -0.41, -0.41, -0.47, -0.35], color="black", linewidth=1)
        much = "" if end == 1 + found.difference else ", longer than the line"
        axes.text(end, -0.41, f"  critical difference {number(found.difference)}{much}", va="center", fontsize=7.5)


def _name(axes: Axes, name: str, rank: float, *, left: bool, y: float, count: int) -> None:
    edge, side = (1 - 0.03 * (count - 1), "right") if left else (count + 0.03 * (count - 1), "left")
    axes.plot([rank, rank, edge], [0, y, y], color=CONTROL, linewidth=0.8, clip_on=False)
    axes.plot([rank], [0], "o", color="black", markersize=3, clip_on=False)
    parts = wrapped(name, int(1.5 * LETTER_POINTS / 7.5))
    parts[-1] += f"  {rank:.2f}"
    axes.text(edge, y, ("\n".join(parts) + " ") if left else (" " + "\n ".join(parts)), ha=side, va="center",
              fontsize=7.5, parse_math=False)  # fmt: skip


def _rank_words(figure: Picture, found: Ranking, title: str) -> None:
    test = "Nemenyi's test" if found.test == "nemenyi" else "Wilcoxon's signed-rank tests with Holm's correction"
    whole = "Friedman" if len(found.mean_ranks) > 2 else "Wilcoxon"
    p = "< 0.001" if found.p_value < 0.001 else f"{found.p_value:.3f}"
    told = f"{found.cases} cases, {whole} p {'' if p[0] == '<' else '= '}{p}"
    told += f", {found.left_out} cases without a number left out" if found.left_out else ""
    bars = f"bars join methods that do not differ ({test}, level {found.alpha:g})" if found.cliques else (
        f"all methods differ ({test}, level {found.alpha:g})"
    )  # fmt: skip
    if found.p_value >= found.alpha:
        bars = "no difference was found: all methods are joined"
    high = figure.get_size_inches()[1]
    if title:
        figure.text(0.02, 1 - 0.1 / high, title, va="top", fontsize=9.5, parse_math=False)
    words = f"Mean rank over {told}; 1 is best, {bars}."
    figure.text(0.02, 1 - 0.32 / high, "\n".join(wrapped(words, 105)), va="top", fontsize=7.5, color="#505050")


def _plain(wide: float, high: float, title: str) -> tuple[Picture, Axes]:
    figure = Picture(figsize=(wide, high), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.tick_params(labelsize=7.5)
    axes.set_title("\n".join(wrapped(title, 80)), fontsize=9.5, loc="left", parse_math=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
