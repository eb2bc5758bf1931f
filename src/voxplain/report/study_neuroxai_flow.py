"""Figures of the information flow: a montage of all convolutions, and five panels at each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from voxplain.report.figures_runs import CaseMaps, case_maps
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
        found = case_maps(read_run(home / "run"), case["id"])
        image, labels = axial_slice(found.image, case["slice"]), _labels(home, found.image, case["slice"])
        for part in case["parts"]:
            file = home / "flow" / f"{part['key']}.safetensors"
            for name, layers in load_flow(file, read_json(file.with_suffix(".json"))).items():
                title = (
                    f"{case['id']}: {TITLES[name]} at {len(layers)} convolutions, axial slice {case['slice']}\n"
                    f"{part['title']}"
                )
                options = {"title": title, "prediction": _of_part(labels, part["key"]), "channel": told["modality"]}
                figure = draw_flow(image, [of_layer(one, name, over_image=True) for one in layers], **options)
                written.append(save(figure, out / file_name(case["id"], "flow", part["key"], "", name.upper())))
                if number == 0 and part["key"] == EVERY_LAYER:
                    written += _each(image, name, layers, case["id"], {**options, "class_names": _names(found)}, out)
        chance = None if found.mask is None else float((found.mask > 0).mean())
        lines = _inside(home, case, told["layers"], chance)
        written.append(save(lines, out / file_name(case["id"], "flow", "", "", "inside")))
    return written


def _each(
    image: Image, name: str, layers: list[Layer], case: str, options: Mapping[str, Any], out: Path
) -> list[Path]:  # fmt: skip
    """Five panels at each layer, as the source has them."""
    written = []
    for one in layers:
        part = options["title"].splitlines()[1]
        title = f"{case}: {TITLES[name]} at convolution {one.number} of {len(layers)}\n{part}"
        shown = replace(of_layer(one, name), name=TITLES[name])
        figure = draw_single(image, shown, layer=one.name, class_name=part, **{**options, "title": title})
        written.append(
            save(figure, out / "layers" / file_name(case, one.name, EVERY_LAYER, options["channel"], name.upper()))
        )
    return written


def _names(found: CaseMaps) -> tuple[str, ...]:
    return tuple((found.facts.get("prediction") or {}).get("class_names") or ())


def _labels(home: Path, image: Image, index: int) -> npt.NDArray[np.int64]:
    """The final prediction on the slice, (columns, rows, 1)."""
    return np.asarray(on_slice(predicted(home)[None], image.grid, index)[0], dtype=np.int64)


def _of_part(labels: npt.NDArray[np.int64], key: str) -> npt.NDArray[np.int64]:
    return labels if key in ("all", "0") else np.where(labels == int(key), labels, 0)


def _inside(home: Path, case: Mapping[str, Any], layers: list[str], chance: float | None) -> Figure:
    """Which share of each layer's map lies inside the true tumour: one line a part, one plot a method."""
    with style.context(PLAIN):
        figure = Figure(figsize=(13, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        tables = {part["key"]: read_json(home / "flow" / f"{part['key']}.json") for part in case["parts"]}
        for axes, name in zip(figure.subplots(1, 2, sharey=True), ("gcam", "ggcam"), strict=True):
            for part in case["parts"]:
                shares = [np.nan if row["inside"] is None else row["inside"] for row in tables[part["key"]][name]]
                axes.plot(range(1, len(shares) + 1), shares, marker="o", markersize=3, label=part["title"])
            if chance is not None:
                axes.axhline(chance, color="black", linestyle="--", linewidth=1, label="chance: the tumour's share")
            axes.set(title=TITLES[name], xlabel="convolution", xticks=range(1, len(layers) + 1), ylim=(0, 1))
            axes.tick_params(axis="x", labelsize=7)  # 26 of them would touch
            axes.grid(alpha=0.3)
        figure.axes[0].set_ylabel("share of the map inside the true tumour")
        figure.axes[0].legend(fontsize=7)
        figure.suptitle(f"{case['id']}: where the maps of each layer lie")
    return figure
