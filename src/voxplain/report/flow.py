"""The figures of a flow, from its run folder: montage, per-layer figure, and the numbers along the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from voxplain.report.contents import Run, Table, read_run
from voxplain.report.figures import PLAIN, save
from voxplain.report.figures_layers import draw_flow, draw_layers, ends, maps_of_layers
from voxplain.report.figures_rows import draw_single
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names
from voxplain.report.figures_view import Shown
from voxplain.study.plan import file_name

FOLDER = "flow"
"""Below the run's figures."""

LINES = (
    ("largest magnitude", "log"),
    ("share of the energy of all layers", "log"),
    ("sparseness (Gini)", "linear"),
    ("agreement with the last layer (Spearman)", "linear"),
)
"""What is drawn along the network, and on which scale."""


def write_flow_figures(folder: str | Path, *, each: bool = False) -> list[Path]:
    """Draw the flows of a run folder into figures/flow; with `each`, every layer alone as well. Returns the files."""
    run = read_run(Path(folder))
    out = run.folder / "figures" / FOLDER
    return [save(picture, out / f"{name}.png") for name, picture in _figures(run, each=each)]


def _figures(run: Run, *, each: bool) -> Iterator[tuple[str, Figure]]:
    rows = [entry.row for case in run.cases for entry in case.maps if entry.path is not None and entry.text("layer")]
    for case in case_names(run):
        own = [row for row in rows if row["case"] == case]
        for target in dict.fromkeys(row["target"] for row in own):
            found = case_maps(run, case, target=target)
            for method in dict.fromkeys(row["method"] for row in own if row["target"] == target):
                numbers = [row for row in own if (row["target"], row["method"]) == (target, method)]
                name = "-".join(map(file_name, (case, target, method)))
                yield from ((f"{name}-{kind}", picture) for kind, picture in _of_method(found, method, numbers, each))


def _of_method(
    found: CaseMaps, method: str, rows: Sequence[Table], each: bool
) -> Iterator[tuple[str, Figure]]:  # fmt: skip
    maps = maps_of_layers(found, method)
    region = None if found.prediction is None else found.prediction > 0
    what = found.maps[0].target_words or found.maps[0].target
    title = f"{found.identifier}: {what}\n{method} at {len(maps)} layers"
    yield "montage", draw_flow(found.image, maps, title=title, prediction=region)
    said: dict[str, Any] = {"truth": found.truth, "predicted": found.predicted, "probabilities": found.probabilities}
    yield "layers", draw_layers(found.image, ends(maps)[::-1], title=f"{found.identifier}: {what}, {method}", **said)
    yield "numbers", draw_numbers(rows, title=f"{found.identifier}: {method} along the network\n{what}")
    for number, one in enumerate(maps if each else [], 1):
        yield f"{number:02d}-{file_name(one.name)}", _alone(found, method, one, f"{title}: layer {number}")


def _alone(found: CaseMaps, method: str, one: Shown, title: str) -> Figure:
    """One layer's image, map and overlay, and the prediction beside them, as NeuroXAI has them."""
    names = (found.facts.get("prediction") or {}).get("class_names") or ()
    return draw_single(
        found.image, one, layer=method, prediction=found.prediction, class_names=tuple(names), title=title
    )


def draw_numbers(rows: Sequence[Table], *, title: str = "") -> Figure:
    """Range, energy, sparseness and agreement of each layer's map along the network; constant maps are crossed out.

    `rows` are those of one case, target and method in the order of the layers, as a flow writes them.
    """
    lines = [
        [max(abs(row["low"]), abs(row["high"])) for row in rows],
        [row["energy_share"] for row in rows],
        [row["sparseness"] for row in rows],
        [row["agreement"] for row in rows],
    ]
    flat = [bool(row["constant"]) for row in rows]
    with style.context(PLAIN):
        figure = Figure(figsize=(9, 7.6), layout="constrained")
        FigureCanvasAgg(figure)
        places = figure.subplots(len(LINES), 1, sharex=True)
        for axes, values, (name, scale) in zip(places, lines, LINES, strict=True):
            _draw_line(axes, _numbers(values), flat, name, scale)
        places[-1].set_xlabel(f"layer, from {rows[0]['layer']} (1) to {rows[-1]['layer']} ({len(rows)})")
        figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _numbers(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_line(axes: Axes, values: npt.NDArray[np.float64], flat: Sequence[bool], name: str, scale: str) -> None:
    places = np.arange(1, len(values) + 1)
    if scale == "log":  # a map of zeros has no place on it
        values = np.where(values > 0, values, np.nan)
        axes.set_yscale("log" if np.isfinite(values).any() else "linear")
    axes.plot(places, values, marker="o", markersize=3.5, color="#1d4ed8", linewidth=1.2)
    axes.set_title(name, fontsize=8.5, loc="left")
    for place in places[np.asarray(flat)]:
        axes.axvline(place, color="#c4001a", linestyle=":", linewidth=1)
    if any(flat):
        axes.plot(places[np.asarray(flat)], [0.03] * sum(flat), "x", color="#c4001a", markersize=6,
                  transform=axes.get_xaxis_transform(), label="constant map")  # fmt: skip
        axes.legend(fontsize=7, loc="upper right")
    axes.set_xlim(0.5, len(values) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=26))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
