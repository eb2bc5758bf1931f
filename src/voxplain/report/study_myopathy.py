"""Figures of the myopathy study: folds, methods, levels of occlusion, ensembles, and overlays of all tiles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.report.contents import Run, read_run
from voxplain.report.figures import Picture, save
from voxplain.report.figures_ensemble import draw_fused, levels_from_run
from voxplain.report.figures_grids import draw_grid, draw_right_wrong, sample_from_run
from voxplain.report.figures_rows import draw_methods
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names, method_name
from voxplain.report.figures_shap import shap_from_run
from voxplain.report.figures_view import Shown
from voxplain.report.study_myopathy_overlays import write_overlays
from voxplain.report.training_figures import write_training_figures
from voxplain.study.plan import file_name
from voxplain.study.study_myopathy import EXPLAINED, FACTS
from voxplain.study.study_myopathy_ensemble import place_of
from voxplain.study.study_myopathy_maps import OCCLUSION, SHAP, informative
from voxplain.study.study_myopathy_numbers import occlusion_counters

FEATURED = 4
"""Tiles of each network that get figures of their own: one wrong if there is any, then classes in turn."""

Drawn = Iterator[tuple[str, Picture]]


def write_figures(folder: Path) -> list[Path]:
    """Draw the study in `folder` into `folder/figures`: curves, overlays of all tiles, figures of a few."""
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    written: list[Path] = []
    for network in facts["networks"]:
        out = folder / "figures" / network
        written += _of_training(folder / "trained" / network, out)
        run = read_run(folder / EXPLAINED / network)
        for name, picture in _of_network(folder, run, network, facts["rules"]):
            written.append(save(picture, out / f"{name}.png"))
        written += write_overlays(run, folder / "ensembles" / network, facts["rules"], out / "overlays")
    return written


def _of_training(trained: Path, out: Path) -> list[Path]:
    """Curves of all folds, confusion matrices."""
    out.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(one, out / f"training-{one.name}")) for one in write_training_figures(trained)]


def _of_network(folder: Path, run: Run, network: str, rules: Sequence[str]) -> Drawn:
    samples = [sample_from_run(run, "grad_cam", case) for case in case_names(run)]
    yield "grad-cam-grid", draw_grid(samples[:12], columns=4, title=f"{network}: tiles of the test fold, Grad-CAM")
    counters = _counters(run.folder)
    sides = [[one for one in samples if one.wrong == wrong][:4] for wrong in (False, True)]
    if all(sides):
        yield "right-wrong", draw_right_wrong(*sides, title=f"{network}: right and wrong predictions, Grad-CAM")
    for case in featured({one.image.identifier: (one.truth, one.wrong) for one in samples}):
        found, name = case_maps(run, case), file_name(case)
        title = f"{network}, {case}: predicted {found.predicted}, truth {found.truth}"
        yield f"{name}-methods", draw_methods(found.image, _shown(found), backdrop="image", title=title, columns=5)
        yield f"{name}-shap", shap_from_run(run.folder, SHAP, case)
        yield f"{name}-levels", _levels(run, found, title, counters)
        for rule in rules:
            yield f"{name}-ensemble-{rule}", _fused(folder, network, rule, found)


def _levels(run: Run, found: CaseMaps, title: str, counters: dict[str, int]) -> Picture:
    """The levels of occlusion that were searched; an empty picture of another one would look like an answer."""
    one = found.of_method(OCCLUSION)[0]
    names = sorted(name for name in one.parts if name.startswith("level_"))
    left = [name.removeprefix("level_") for name in names if not one.numbers.get(f"windows_{name}", 1)]
    parts = {
        name.replace("_", " "): np.rint(one.parts[name].max(axis=0))
        for name in names
        if name.removeprefix("level_") not in left
    }
    if left:
        title += f"; not searched: level {', '.join(left)}"
    return levels_from_run(run.folder, found.identifier, title=title, counters=counters, parts=parts)


def _counters(run: Path) -> dict[str, int]:
    """The counters of occlusion over all tiles, with the classes' names, as the figure of levels tells them."""
    words = {"predicted ": "predicted_as_", "informative ": "informative_as_"}
    told = {}
    for name, value in occlusion_counters(run).items():
        first = next((one for one in words if name.startswith(one)), "")
        told[words.get(first, "") + name.removeprefix(first)] = value
    return told


def featured(cases: dict[str, tuple[str, bool]]) -> list[str]:
    """The cases that get figures of their own, from their truth and whether they are wrong."""
    wrong = [case for case, (_, bad) in cases.items() if bad][:1]
    turns: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    for case, (truth, _) in cases.items():
        if case not in wrong:
            seen[truth] = seen.get(truth, 0) + 1
            turns.append((seen[truth], case))
    return [*wrong, *(case for _, case in sorted(turns, key=lambda one: one[0]))][:FEATURED]


def _shown(found: CaseMaps) -> list[Shown]:
    return [Shown.of(one, method_name(one)) for one in found.maps]


def _fused(folder: Path, network: str, rule: str, found: CaseMaps) -> Picture:
    """The members that took part, what they make together, votes and rank correlations."""
    place = place_of(folder / "ensembles" / network, rule, found.truth, found.identifier)
    joined = Attribution.load(place)
    members = [Shown.of(one, method_name(one)) for one in found.maps if informative(one)]
    told: dict[str, Any] = {"correlations": joined.numbers["rank_correlations"], "unit": joined.unit}
    told["agreement"] = joined.parts["agreement"].mean(axis=0)
    left = "" if len(members) == len(found.maps) else f"; {OCCLUSION} says nothing here and is left out"
    title = f"{network}, {found.identifier}: rule {rule}, {len(members)} maps{left}"
    return draw_fused(found.image, members, joined.values.mean(axis=0), title=title, **told)
