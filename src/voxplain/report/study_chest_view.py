"""Figures of the chest-view study: films, predictions, Grad-CAM and LIME in grids of 2 x 2, with and without marker."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.report.contents import Run, read_run
from voxplain.report.figures import save
from voxplain.report.figures_grids import Sample, draw_grid
from voxplain.report.figures_runs import case_maps, case_names
from voxplain.report.figures_view import Shown
from voxplain.report.training_figures import write_training_figures
from voxplain.space.grid import Grid
from voxplain.study.studies import TRAINED
from voxplain.study.study_chest_view import MARKED, PLAIN
from voxplain.study.study_chest_view_evidence import EXPLAINED, SAMPLES

WORDS = {PLAIN: "films as they are", MARKED: "marker on every film filed as lateral"}
"""What a variant's titles say."""


def write_figures(folder: Path) -> list[Path]:
    """For each training: films learnt from, predictions, and the same films under every map; the training's own.

    Parts of given data beside the test part, such as 'external', have predictions and maps with their name in front.
    """
    drawn = []
    for variant in (one for one in (PLAIN, MARKED) if (folder / one / SAMPLES).is_file()):
        figures = folder / "figures"
        for name, figure in _figures(folder / variant, WORDS[variant]):
            drawn.append(save(figure, figures / f"{variant}-{name}.png"))
        for path in write_training_figures(folder / variant / TRAINED):
            drawn.append(Path(shutil.copyfile(path, figures / f"{variant}-training-{path.name}")))
    return drawn


def _figures(folder: Path, words: str) -> Iterator[tuple[str, Figure]]:
    yield "samples", draw_grid(_learnt(folder / SAMPLES), title=f"Films learnt from: {words}")
    for place in sorted(folder.glob(f"{EXPLAINED}*")):
        part = place.name.removeprefix(EXPLAINED).removeprefix("-")
        yield from _explained(read_run(place), f"{part}-" if part else "", f"{part or 'test'} films: {words}")


def _explained(run: Run, front: str, words: str) -> Iterator[tuple[str, Figure]]:
    """Predictions, and the same films under every map; `front` is that of the names."""
    cases = case_names(run)
    methods = [one.method for one in case_maps(run, cases[0]).maps]
    yield f"{front}predictions", draw_grid([_sample(run, case, "") for case in cases], title=words.capitalize())
    for method in methods:
        shown = [_sample(run, case, method) for case in cases]
        yield f"{front}{_file_name(method)}", draw_grid(shown, title=f"{_title(method)}, {words}")


def _learnt(path: Path) -> list[Sample]:
    with np.load(path, allow_pickle=False) as found:
        films = [found[f"film_{number}"] for number in range(len(found["labels"]))]
        names, labels = found["identifiers"].tolist(), found["labels"].tolist()
    return [
        Sample(Image.of(film, Grid(film.shape[1:], PICTURE_AFFINE, "px"), identifier=str(name)), str(label))
        for film, name, label in zip(films, names, labels, strict=True)
    ]


def _sample(run: Run, case: str, method: str) -> Sample:
    """A case with the map of a method's full spec; '' for none. Colours are the study's: jet, whole range."""
    found = case_maps(run, case)
    maps = [one for one in found.maps if one.method == method]
    shown = Shown.of(maps[0], _title(method)) if maps else None
    return Sample(found.image, found.truth, found.predicted, found.probabilities.get(found.predicted), shown)


def _title(method: str) -> str:
    """'Grad-CAM', or LIME with who cuts the film and the simple model."""
    if not method.startswith("lime"):
        return "Grad-CAM"
    cut = "squares" if "'grid'" in method else "superpixels"
    return f"LIME, {cut}, {'tree' if chr(39) + 'tree' + chr(39) in method else 'linear'}"


def _file_name(method: str) -> str:
    return _title(method).lower().replace(", ", "-")
