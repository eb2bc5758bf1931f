"""Figures of the Xception study: comparison, catalogue, right and wrong, strong and weak, layers, LIME, SHAP."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from voxplain.report.contents import Run, read_run
from voxplain.report.figures import Picture, save
from voxplain.report.figures_grids import draw_catalogue, draw_models, draw_right_wrong, sample_from_run
from voxplain.report.figures_layers import layers_from_run
from voxplain.report.figures_rows import draw_comparison
from voxplain.report.figures_runs import case_maps, case_names
from voxplain.report.figures_segments import (
    class_maps,
    draw_best,
    draw_outlines,
    draw_signed,
    draw_weights,
    segments_from_run,
)
from voxplain.report.figures_shap import shap_from_run
from voxplain.report.figures_view import Shown
from voxplain.report.study_xception_table import draw_backbones
from voxplain.report.training_figures import write_training_figures
from voxplain.study.plan import file_name
from voxplain.study.study_xception import CAM, FACTS, RUNS
from voxplain.study.study_xception_models import TABLE

THIRD = 2
"""The study outlines what speaks for its third class."""

EXAMPLES = 4
"""Cases on each side of right against wrong, and of strong against weak."""

Drawn = Iterator[tuple[str, Figure]]


def write_figures(folder: Path) -> list[Path]:
    """Draw the study in `folder` into `folder/figures`."""
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    out, written = folder / "figures", []
    for name in facts["trained"]:
        written += _of_training(folder / "trained" / name, out / "training", name)
    runs = {path.name: read_run(path) for path in sorted((folder / RUNS).iterdir())}
    for name, picture in _pictures(folder, runs, facts["explained"]):
        written.append(save(picture, out / f"{name}.png"))
    return written


def _of_training(trained: Path, out: Path, name: str) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(one, out / f"{name}-{one.name}")) for one in write_training_figures(trained)]


def _pictures(folder: Path, runs: dict[str, Run], cases: Sequence[str]) -> Drawn:
    with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
        yield "comparison", draw_backbones(list(csv.DictReader(stream)))
    yield from _catalogue(runs["catalogue"])
    yield from _sides(runs)
    for name, run in runs.items():
        if name.startswith("layers"):
            for case in case_names(run):
                yield f"{name}-{file_name(case)}", layers_from_run(run.folder, CAM, case)
    yield from _segments(runs["explained"], cases)
    for case in cases:
        yield f"shap-{file_name(case)}", shap_from_run(runs["explained"].folder, "partition_shap", case)
        yield f"three-methods-{file_name(case)}", _three_methods(runs, case)


def _catalogue(run: Run) -> Drawn:
    """Pages over the test folder."""
    samples = (sample_from_run(run, CAM, case) for case in case_names(run))
    for number, page in enumerate(draw_catalogue(samples, title="Test images, strong network"), 1):
        yield f"catalogue-{number:02d}", page


def _sides(runs: dict[str, Run]) -> Drawn:
    """Right against wrong predictions, and the same cases for the strong and the weak network."""
    samples = [sample_from_run(runs["catalogue"], CAM, case) for case in case_names(runs["catalogue"])]
    right, wrong = ([one for one in samples if one.wrong == bad][:EXAMPLES] for bad in (False, True))
    yield "right-wrong", draw_right_wrong(right, wrong, title="Right and wrong predictions of the strong network")
    cases = case_names(runs["catalogue-weak"])[:EXAMPLES]
    kinds = {"strong": runs["explained"], "weak": runs["catalogue-weak"]}
    models = {name: [sample_from_run(run, CAM, case) for case in cases] for name, run in kinds.items()}
    yield "strong-weak", draw_models(models, title="The same images explained for both networks")


def _segments(run: Run, cases: Sequence[str]) -> Drawn:
    """LIME's four views: best segments alone, outlines, signs of a right and a wrong case, weights with one bar."""
    found = {case: segments_from_run(run.folder, "lime", case) for case in cases}
    for case, (maps, segments) in found.items():
        own, name = segments.class_names.index(maps.predicted), file_name(case)
        third = min(THIRD, len(segments.class_names) - 1)
        title = f"{case}: predicted {maps.predicted}, truth {maps.truth}"
        yield f"lime-mask-{name}", draw_best(maps.image, segments, own, title=title)
        yield f"lime-outline-{name}", draw_outlines(maps.image, segments, third, title=title)
        yield f"lime-weights-{name}", draw_weights(maps.image, segments, title=title)
    sides = {False: "right", True: "wrong"}
    rows: dict[str, tuple[str, Any, Any]] = {}
    for maps, segments in found.values():
        side = sides[maps.predicted != maps.truth]
        rows.setdefault(side, (f"{side}: {maps.truth} called {maps.predicted}", maps.image, segments))
    yield "lime-signed", draw_signed([rows[side] for side in sides.values() if side in rows], title="LIME by class")


def _three_methods(runs: dict[str, Run], case: str) -> Picture:
    """Grad-CAM above LIME above SHAP, a column a class."""
    explained = case_maps(runs["explained"], case)
    names = list(explained.probabilities)
    cams = [
        case_maps(runs["classes"], case, target=f"class_score(index={place})").maps[0] for place in range(len(names))
    ]
    rows = {"Grad-CAM": [Shown.of(one, name) for one, name in zip(cams, names, strict=True)]}
    for title, method in (("LIME", "lime"), ("SHAP", "partition_shap")):
        one = explained.of_method(method)[0]
        maps = class_maps(explained, method).items()
        rows[title] = [Shown(name, values, one.quantity, one.unit) for name, values in maps]
    said = f"predicted {explained.predicted}, truth {explained.truth}"
    return draw_comparison(explained.image, rows, title=f"{case}: {said}")
