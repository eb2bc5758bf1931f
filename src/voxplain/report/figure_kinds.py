"""Every kind of figure that a run folder can be drawn as, by name: what `voxplain figure` offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.errors import OptionError, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPOKEN = {"index": "slice", "colours": "palette"}
"""Options that the command line has another name for, taken from medicine rather than from arrays."""

WHERE = ("plane", "index", "channel")
"""Options of a figure that shows one slice."""

CASE, CASES, SAMPLES = ("case", "target"), ("cases", "target"), ("method", "cases")
"""Options of a figure of one case, of several, and of several with one method."""

MAP = ("method", *CASE)
"""Options of a figure of one method's map."""


@dataclass(frozen=True)
class Kind:
    """One kind of figure."""

    place: str
    """The function that draws it: module:name in voxplain.report, taking a run folder and the options."""
    words: str
    """What it shows, in a line."""
    takes: tuple[str, ...] = ()
    """Options besides `title` that it has."""


KINDS: Mapping[str, Kind] = {
    "planes": Kind(
        "figures_overlay:planes_from_run",
        "three planes through the evidence with a crosshair in mm; a 2D image beside its overlay",
        (*MAP, "channel"),
    ),
    "overlay": Kind(
        "figures_overlay:overlay_from_run",
        "one map over the image at constant opacity, with outlines",
        (*MAP, "opacity", "colours", *WHERE),
    ),
    "montage": Kind(
        "figures_montage:montage_from_run",
        "one map on slices through the whole volume",
        (*MAP, "slices", "columns", "colours", "plane", "channel"),
    ),
    "methods": Kind("figures_rows:methods_from_run", "all methods in a row", (*CASE, "shared", "columns", *WHERE)),
    "single": Kind(
        "figures_rows:single_from_run", "one method alone in 3 or 5 panels", (*MAP, "opacity", "colours", *WHERE)
    ),
    "modalities": Kind(
        "figures_rows:by_modality_from_run",
        "one column a modality with its share of the map",
        (*MAP, "shared", "plane", "index"),
    ),
    "matrix": Kind("figures_matrix:matrix_from_run", "methods by cases", (*CASES, "shared", "plane", "channel")),
    "layer-matrix": Kind(
        "figures_matrix:layer_matrix_from_run",
        "layers of one method by cases",
        ("method", *CASES, "shared", "plane", "channel"),
    ),
    "layers": Kind(
        "figures_layers:layers_from_run", "one row a layer with the model's probabilities", (*MAP, "shared", *WHERE)
    ),
    "flow": Kind(
        "figures_layers:flow_from_run", "one method at all layers of the network", (*MAP, "shared", "columns", *WHERE)
    ),
    "segments": Kind("figures_segments:signed_from_run", "segments for and against each class", ("method", "case")),
    "shap": Kind("figures_shap:shap_from_run", "SHAP's row: red and blue for each class", ("method", "case", *WHERE)),
    "gallery": Kind("figures_pumpkins:gallery_from_run", "relevance of 2D images by age", ("method", "columns")),
    "ensemble": Kind("figures_ensemble:fused_from_run", "joined map, its members and their votes", ("case", *WHERE)),
    "levels": Kind("figures_ensemble:levels_from_run", "levels of hierarchical occlusion", (*CASE, *WHERE)),
    "error": Kind("figures_trust:error_from_run", "a map beside its standard error", (*MAP, *WHERE)),
    "agreement": Kind("figures_trust:agreement_from_run", "where the methods agree", (*CASE, "columns", *WHERE)),
    "grid": Kind("figures_grids:grid_from_run", "cases in a grid, wrong predictions red", (*SAMPLES, "columns")),
    "right-wrong": Kind("figures_grids:right_wrong_from_run", "right predictions beside wrong ones", SAMPLES),
    "distributions": Kind(
        "figures_measured:distributions_from_run", "a number of every case by method", ("measure", "target")
    ),
    "ranks": Kind(
        "figures_measured:ranks_from_run", "critical-difference diagram of the methods", ("measure", "target", "test")
    ),
}
"""Every kind by name."""

DEFAULT_METHOD = ("planes", "overlay", "montage", "single", "modalities", "layer-matrix", "layers", "flow", "error",
                  "grid", "right-wrong")  # fmt: skip
"""Kinds of one method that are drawn of the run's first one where none is named."""


def draw_kind(folder: Path, kind: str, **options: Any) -> "Figure":
    """A figure of a run folder by its kind's name; `options` are those of the kind, None for one that is left out.

    Raises OptionError for an unknown kind and for an option that the kind does not have.
    """
    if kind not in KINDS:
        raise unknown("kind of figure", kind, KINDS)
    given = {key: value for key, value in options.items() if value is not None}
    known = KINDS[kind].takes
    for key in given:
        if key not in (*known, "title"):
            there = ", ".join(SPOKEN.get(one, one) for one in known)
            raise OptionError(f"kind {kind!r} has no option {SPOKEN.get(key, key)!r}; it has {there}")
    if kind in DEFAULT_METHOD and "method" not in given:
        from voxplain.report.figures_runs import first_method

        given["method"] = first_method(folder, given.get("case"), with_error=kind == "error")
    module, name = KINDS[kind].place.split(":")
    drawn: Figure = getattr(import_module(f"voxplain.report.{module}"), name)(folder, **given)
    return drawn
