"""Figures of the pumpkin study, and the study as one function with the source's seven options."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.report.figures import DPI, PLAIN, Picture, save
from voxplain.report.figures_pumpkins import SOURCE, Pumpkin, draw_gallery, draw_heat_map, places
from voxplain.report.figures_relevance import draw_relevance_sums
from voxplain.report.studies import study
from voxplain.report.training_figures import age_histogram, write_training_figures
from voxplain.space.grid import Grid
from voxplain.study.simulate import simulate
from voxplain.study.studies import TRAINED, Say, StudyFolder
from voxplain.study.study_pumpkin import PumpkinStudy
from voxplain.study.study_pumpkin_evidence import MARKS, read_archive

GALLERY = 20
"""Heat maps at most on the page sorted by age, evenly spaced over the ages."""

SUFFIXES = {"human": "", "eternal": "_et", "tang_ping": "_tp", "no_growth": "_ng"}
"""Growth mode -> what its data sets' names end with, as in the source."""

Archive = Mapping[str, npt.NDArray[Any]]


def run_simulation(
    path: str | Path = ".",
    n_samples: int = 2000,
    uniform: bool = True,
    target_bias: float | None = None,
    growth_mode: Literal["human", "eternal", "tang_ping", "no_growth"] = "human",
    epochs: int = 25,
    plot_n_heatmaps: int = 20,
    *,
    seed: int = 1,
    device: str = "auto",
    say: Say = lambda line: None,
) -> StudyFolder:
    """The pumpkin study as XDLreg's function of this name runs it: data, training, LRP of the test set, heat maps.

    Data lie below `path`/data and results below `path`/results under names made of the options; what lies there from
    the same options is reused. `target_bias` (years) is required with `uniform=False`. Raises `OptionError` for values
    that cannot be.
    """
    options = {"n_samples": n_samples, "uniform": uniform, "target_bias": target_bias, "growth_mode": growth_mode}
    plan = PumpkinStudy(**options, epochs=epochs, plot_n_heatmaps=plot_n_heatmaps, seed=seed, device=device)  # type: ignore[arg-type]
    ages = "uniform" if uniform else f"non-uniform{plan.phantom().target_bias:.1f}"
    name = f"N-{n_samples}_{ages}{SUFFIXES[growth_mode]}_seed-{seed}"
    data = Path(path, "data", name)
    say(f"simulating {n_samples} pumpkins")
    simulate(plan.phantom(), n_samples, seed=seed, out=data)
    results = Path(path, "results", f"PumpkinNet_{name}_epochs-{epochs}_plots-{plot_n_heatmaps}")
    made = {**options, "epochs": epochs, "plot_n_heatmaps": plot_n_heatmaps, "seed": seed, "device": device}
    return study("pumpkin", out=results, say=say, data=data, **made)


def write_figures(folder: Path) -> list[Path]:
    """Ages, marks against age, training, relevance sums, heat maps with and without pointers, and the gallery."""
    archive = read_archive(folder)
    figures = folder / "figures"
    drawn = [save(figure, figures / f"{name}.png") for name, figure in _figures(archive)]
    for path in write_training_figures(folder / TRAINED, "years"):
        drawn.append(Path(shutil.copyfile(path, figures / f"training-{path.name}")))
    return drawn


def _figures(archive: Archive) -> Iterator[tuple[str, Figure]]:
    peak, bias = float(archive["peak"]), float(archive["output_bias"])
    yield "ages", age_histogram(archive["all_ages"], None if np.isnan(peak) else peak)
    if any(str(one) for column in MARKS for one in archive[column]):
        yield "marks-by-age", marks_by_age(archive)
    sums = archive["relevance"].sum(axis=(1, 2), dtype=np.float64)
    if np.ptp(archive["predictions"]) > 0:
        yield "relevance-sums", draw_relevance_sums(sums, archive["predictions"], bias)
    for number in range(min(int(archive["plotted"]), len(sums))):
        one = pumpkin(archive, number)
        name = f"heat-maps/LRP_S{number}_age-{one.age:g}_pred-{one.predicted:.1f}"
        yield name, draw_heat_map(one, colours=SOURCE)
        yield f"{name}_pointer", draw_heat_map(one, pointers=True, colours=SOURCE)
    order = np.argsort(archive["ages"], kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(GALLERY, len(order))).round().astype(int))]
    shown = [pumpkin(archive, int(number)) for number in chosen]
    yield "gallery", draw_gallery(shown, colours=SOURCE)
    yield "gallery_pointer", draw_gallery(shown, pointers=True, colours=SOURCE)


def pumpkin(archive: Archive, number: int) -> Pumpkin:
    """One image of the archive with its relevance and its true marks."""
    pixels, identifier = archive["images"][number], str(archive["identifiers"][number])
    grid = Grid((*pixels.shape, 1), PICTURE_AFFINE, "px")
    atrophies, lesions = (places(str(archive[column][number])) for column in MARKS)
    return Pumpkin(
        Image.of(pixels[..., None], grid, channels=("image",), identifier=identifier),
        archive["relevance"][number],
        float(archive["ages"][number]),
        float(archive["predictions"][number]),
        atrophies,
        lesions,
    )


def marks_by_age(archive: Archive) -> Picture:
    """How many true atrophies (linear in age) and lesions (from 40 years on) the test images have."""
    with style.context(PLAIN):
        figure = Picture(figsize=(6.4, 3.0), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        for axes, column in zip(figure.subplots(1, 2), MARKS, strict=True):
            counts = [len(str(text).split()) for text in archive[column]]
            axes.scatter(archive["ages"], counts, s=10, color="#0072b2", alpha=0.6, linewidths=0)
            axes.set_xlabel("age (years)", fontsize=9)
            axes.set_ylabel({"atrophy": "atrophies", "lesion": "lesions"}[column.partition("_")[0]], fontsize=9)
            axes.tick_params(labelsize=7)
    return figure
