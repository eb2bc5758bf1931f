"""Figures of the information flow: a montage of all convolutions, and five panels at each of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.data.image import Image
from voxplain.data.slices import axial_slice
from voxplain.report.contents import read_run
from voxplain.report.figures import PLAIN, save
from voxplain.report.figures_layers import draw_flow
from voxplain.report.figures_names import file_name
from voxplain.report.figures_rows import draw_single
from voxplain.report.figures_runs import case_maps
from voxplain.report.study_neuroxai_maps import of_layer
from voxplain.report.study_neuroxai_volumes import predicted
from voxplain.study.study_neuroxai_flow import Layer, load_flow, on_slice
from voxplain.study.study_neuroxai_methods import TITLES
from voxplain.study.study_neuroxai_numbers import read_json

EVERY_LAYER = "all"
"""The part of the tumour whose five panels are drawn at each layer, for the first case."""


def write_flow_figures(folder: Path, told: Mapping[str, Any], out: Path) -> list[Path]:
    """A montage for each case, part and method; for the first case's whole tumour each layer alone too."""
    written = []
    for number, case in enumerate(told["cases"]):
        home = folder / case["folder"]
        whole = case_maps(read_run(home / "run"), case["id"]).image
        image, labels = axial_slice(whole, case["slice"]), _labels(home, whole, case["slice"])
        for part in case["parts"]:
            file = home / "flow" / f"{part['key']}.safetensors"
            for name, layers in load_flow(file, read_json(file.with_suffix(".json"))).items():
                title = (
                    f"{case['id']}: {TITLES[name]} at {len(layers)} convolutions, axial slice {case['slice']}\n"
                    f"{part['title']}"
                )
                options = {"title": title, "prediction": _of_part(labels, part["key"]), "channel": told["modality"]}
                figure = draw_flow(image, [of_layer(one, name) for one in layers], **options)
                written.append(save(figure, out / file_name(case["id"], "flow", part["key"], "", name.upper())))
                if number == 0 and part["key"] == EVERY_LAYER:
                    written += _each(image, name, layers, case["id"], options, out)
        written.append(save(_inside(home, case, told["layers"]), out / file_name(case["id"], "flow", "", "", "inside")))
    return written


def _each(
    image: Image, name: str, layers: list[Layer], case: str, options: Mapping[str, Any], out: Path
) -> list[Path]:  # fmt: skip
    """Five panels at each layer, as the source has them."""
    written = []
    for one in layers:
        title = (
            f"{case}: {TITLES[name]} at convolution {one.number} of {len(layers)}\n{options['title'].splitlines()[1]}"
        )
        shown = of_layer(one, name)
        figure = draw_single(image, shown, **{**options, "title": title})
        written.append(
            save(figure, out / "layers" / file_name(case, one.name, EVERY_LAYER, options["channel"], name.upper()))
        )
    return written


def _labels(home: Path, image: Image, index: int) -> npt.NDArray[np.int64]:
    """The final prediction on the slice, (columns, rows, 1)."""
    return np.asarray(on_slice(predicted(home)[None], image.grid, index)[0], dtype=np.int64)


def _of_part(labels: npt.NDArray[np.int64], key: str) -> npt.NDArray[np.int64]:
    return labels if key in ("all", "0") else np.where(labels == int(key), labels, 0)


def _inside(home: Path, case: Mapping[str, Any], layers: list[str]) -> Figure:
    """Which share of each layer's map lies inside the true tumour: one line a part, one plot a method."""
    with style.context(PLAIN):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        tables = {part["key"]: read_json(home / "flow" / f"{part['key']}.json") for part in case["parts"]}
        for axes, name in zip(figure.subplots(1, 2, sharey=True), ("gcam", "ggcam"), strict=True):
            for part in case["parts"]:
                shares = [np.nan if row["inside"] is None else row["inside"] for row in tables[part["key"]][name]]
                axes.plot(range(1, len(shares) + 1), shares, marker="o", markersize=3, label=part["title"])
            axes.set(title=TITLES[name], xlabel="convolution", xticks=range(1, len(layers) + 1), ylim=(0, 1))
            axes.grid(alpha=0.3)
        figure.axes[0].set_ylabel("share of the map inside the true tumour")
        figure.axes[0].legend(fontsize=7)
        figure.suptitle(f"{case['id']}: where the maps of each layer lie")
    return figure
