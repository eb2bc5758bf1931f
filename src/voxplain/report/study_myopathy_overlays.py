"""Overlays of the myopathy study as bare pictures: every map and every ensemble over its tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image as Picture

from voxplain.data.attribution import Attribution
from voxplain.data.writing import written_beside
from voxplain.report.contents import Run
from voxplain.report.figures_overlay import overlay_pixels
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names, method_name
from voxplain.report.figures_view import Shown, view
from voxplain.report.palettes import painted
from voxplain.study.plan import file_name
from voxplain.study.study_myopathy_ensemble import place_of

OPACITY = 0.5
"""Half image, half heat, as in the source."""

HEAT = {"grad_cam": "jet", "grad_cam_pp": "jet", "hires_cam": "jet", "partition_shap": "red_blue"}
"""The source's colours of its methods; occlusion and ensembles have the fallback below."""

OTHERS = "parula_like"


def write_overlays(run: Run, ensembles: Path, rules: Sequence[str], out: Path) -> list[Path]:
    """`<method>/<predicted class>/<case>.png` and `<rule>/<true class>/<case>.png`, one pixel a voxel, 8 bit."""
    written = []
    for case in case_names(run):
        found = case_maps(run, case)
        for folder, one in _maps(found, ensembles, rules):
            written.append(_written(found, one, out / folder / f"{file_name(case)}.png"))
    return written


def _maps(found: CaseMaps, ensembles: Path, rules: Sequence[str]) -> Iterator[tuple[Path, Shown]]:
    for one in found.maps:
        name = method_name(one)
        colours = HEAT.get(name, OTHERS)
        yield Path(name, file_name(found.predicted)), _coloured(one, name, colours)
    for rule in rules:
        joined = Attribution.load(place_of(ensembles, rule, found.truth, found.identifier))
        yield Path(rule, file_name(found.truth)), _coloured(joined, rule, OTHERS)


def _coloured(one: Attribution, name: str, colours: str) -> Shown:
    plain = Shown.of(one, name)
    return Shown(name, plain.values, plain.quantity, plain.unit, plain.alarm, colours=colours)


def _written(found: CaseMaps, shown: Shown, path: Path) -> Path:
    scale = painted(shown.values, shown.quantity, colours=shown.colours, opacity=OPACITY)
    pixels = overlay_pixels(view(found.image, [shown]), shown, scale)
    with written_beside(path) as beside:
        Picture.fromarray(pixels).save(beside, format="PNG")
    return path
