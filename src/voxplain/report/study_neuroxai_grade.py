"""Figures of the NeuroXAI study's classifier: nine panels a slice, three panels a method, and every panel alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxplain.report.contents import read_run
from voxplain.report.figures import save
from voxplain.report.figures_names import file_name
from voxplain.report.figures_rows import draw_methods, draw_single
from voxplain.report.figures_runs import CaseMaps, case_maps
from voxplain.report.study_neuroxai_maps import by_name, in_grey, shown_maps, signed, write_panels
from voxplain.study.plan import file_name as plain
from voxplain.study.study_neuroxai_numbers import read_explained


def write_grade_figures(folder: Path, out: Path) -> list[Path]:
    """Rows and panels of all slices; single methods and a row with signs for the first slice of each grade."""
    told = read_explained(folder)
    run = read_run(folder / "run")
    written, shown = [], set[str]()
    for case in told["cases"]:
        found = case_maps(run, case["id"])
        written.append(_row(found, told, out))
        written += _panels(found, told, out)
        if str(case["label"]) not in shown:
            shown.add(str(case["label"]))
            written += _singles(found, told, out)
            written.append(_row(found, told, out, signs=True))
    return written


def _row(found: CaseMaps, told: Mapping[str, Any], out: Path, *, signs: bool = False) -> Path:
    maps = by_name(found, told["methods"])
    shown = [signed(name, one) for name, one in maps.items()] if signs else shown_maps(maps)
    figure = draw_methods(
        found.image, shown, title=_title(found), channel=_flair(found), backdrop="dimmed" if signs else "black"
    )
    name = "methods_signed" if signs else "methods"
    return save(figure, out / file_name(found.identifier, "", _class(found), "", name))


def _singles(found: CaseMaps, told: Mapping[str, Any], out: Path) -> list[Path]:
    written = []
    for name, one in by_name(found, told["methods"]).items():
        figure = draw_single(
            found.image,
            in_grey(name, one),
            layer=one.layer,
            class_name=found.predicted,
            title=_title(found),
            channel=_flair(found),
        )
        file = file_name(found.identifier, one.layer, _class(found), _flair(found) or "", name.upper())
        written.append(save(figure, out / file))
    return written


def _panels(found: CaseMaps, told: Mapping[str, Any], out: Path) -> list[Path]:
    maps = {name: in_grey(name, one) for name, one in by_name(found, told["methods"]).items()}
    suffixes = [*maps, "gcam_overlay", "MRI"]
    names = {suffix: file_name(found.identifier, "", _class(found), "", suffix) for suffix in suffixes}
    where = out / "panels" / plain(found.identifier)
    return write_panels(where, names, found.image, maps, {}, channel=_flair(found))


def _class(found: CaseMaps) -> str:
    return str((found.facts.get("prediction") or {}).get("predicted", ""))


def _flair(found: CaseMaps) -> str | None:
    """The channel that the classifier reads, where the image has names for its channels."""
    return "flair" if "flair" in found.image.channels else None


def _title(found: CaseMaps) -> str:
    said = (found.facts.get("prediction") or {}).get("words", "")
    place = found.facts.get("slice")
    where = f", axial slice {place}" if place is not None else ""
    return f"{found.identifier}{where}\ntruth {found.truth}; model: {said}; explained: {found.maps[0].target_words}"
