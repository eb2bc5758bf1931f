"""Ensembles and hierarchical occlusion: the stack of maps, what they agree on, and the levels of occlusion."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.contents import Run, read_run
from voxplain.report.display import Scale
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names
from voxplain.report.figures_view import Shown, checked, image_cell, map_cell, on_grid, scales, view
from voxplain.report.palettes import PALETTES, Wash, painted, stepped
from voxplain.report.panels import Panel
from voxplain.report.sheet import Ground
from voxplain.types import Quantity

LEVELS = "levels"
"""The unit of occlusion maps that count levels, by which they are known."""

OPACITY = 0.5
"""Of fused maps and levels over the image, as in the source study."""


def draw_stack(image: Image, members: Sequence[Shown], *, title: str = "", columns: int = 6, **where: Any) -> Picture:
    """The image and the maps that an ensemble joins, numbered, each with its own limits and raw range."""
    shown = _members(image, members)
    on = view(image, shown, **where)
    cells = _member_cells(on, shown)
    rows = [Row(tuple(cells[at : at + columns])) for at in range(0, len(cells), columns)]
    return draw_board(rows, title=title or image.identifier, caption=[*on.words, _unshared()])


def draw_fused(
    image: Image,
    members: Sequence[Shown],
    fused: npt.ArrayLike,
    *,
    agreement: npt.ArrayLike | None = None,
    correlations: npt.ArrayLike | None = None,
    unit: str = "share of the largest common value",
    title: str = "",
    **where: Any,
) -> Picture:
    """Above the image and its maps, below what they make together: fused map, votes, and how alike they rank voxels.

    `fused` (i, j, k) runs from 0 to 1, `agreement` is the share of members that vote for a voxel, `correlations`
    (member, member) are Spearman's. Raises InputError where shapes do not fit.
    """
    shown = _members(image, members)
    joined = checked(image, Shown("fused", np.asarray(fused), Quantity.SALIENCY, unit, colours="parula_like"))
    on = view(image, [joined], **where)
    scale = _bare_zero(painted(joined.values, joined.quantity, colours=joined.colours, opacity=OPACITY, limits=(0, 1)))
    cells = [image_cell(on, "image"), map_cell(on, joined, scale, backdrop="image")]
    words = [*on.words, _unshared(), "Fused map: colours 0 to 1 at opacity 0.5."]
    if agreement is not None:
        cells.append(votes_cell(on, image, agreement, len(shown)))
        words.append(f"Votes: how many of the {len(shown)} maps count a voxel in.")
    if correlations is not None:
        cells.append(correlations_cell(on, np.asarray(correlations, dtype=np.float64), len(shown)))
        words.append("Rank correlations: rows and columns are the maps in the order of their numbers.")
    rows = [Row(tuple(_member_cells(on, shown)[1:]), name="maps"), Row(tuple(cells), name="together")]
    return draw_board(rows, title=title or image.identifier, caption=words)


def draw_levels(
    image: Image,
    levels: npt.ArrayLike,
    *,
    highest: int | None = None,
    parts: Mapping[str, npt.ArrayLike] | None = None,
    counters: Mapping[str, Any] | None = None,
    title: str = "",
    **where: Any,
) -> Picture:
    """Hierarchical occlusion by labels: at how many levels hiding a voxel's window changed the label.

    `levels` (i, j, k) are whole numbers from 0 to `highest` (left out: its largest value); `parts` are the maps of
    single levels, `counters` the study's counts, both told. A map without any flip says so and gets no colour.
    """
    found = on_grid(levels, image, "levels").astype(np.float32)
    top = highest if highest is not None else max(int(np.max(found, initial=0)), 1)
    scale = stepped(found, top, opacity=OPACITY)
    if scale.blank:
        scale = replace(scale, blank="hiding no window changes the label")
    whole = Shown("levels", found, Quantity.SALIENCY, "levels")
    on = view(image, [whole], **where)
    cells = [image_cell(on), replace(map_cell(on, whole, scale, backdrop="image", bar=False))]
    for name, values in (parts or {}).items():
        one = checked(image, Shown(name, np.asarray(values), Quantity.SALIENCY))
        cells.append(map_cell(on, one, stepped(one.values, 1, opacity=OPACITY), backdrop="image", bar=False))
    told = f"{float((found > 0).mean()):.1%} of the image flips the label at one level or more."
    words = [*on.words, "Colours count levels, coarse to fine.", told, *counter_words(counters or {})]
    row = Row(tuple(cells), bar=scale, unit="levels")
    return draw_board([row], title=title or image.identifier, caption=words, largest=(2.0, 2.2))


def counter_words(counters: Mapping[str, Any]) -> tuple[str, ...]:
    """The study's counters in sentences: of each predicted class how many images, and how many maps that say something.

    `predicted_as_<label>` and `informative_as_<label>` belong together; other entries are told as they are.
    """
    sentences = []
    for name, value in counters.items():
        label = str(name).removeprefix("predicted_as_")
        if label != name:
            some = counters.get(f"informative_as_{label}", 0)
            sentences.append(f"Predicted as {label}: {value}, with an informative map: {some}.")
        elif not str(name).startswith("informative_as_"):
            sentences.append(f"{str(name).replace('_', ' ').capitalize()}: {value}.")
    return tuple(sentences)


def _members(image: Image, members: Sequence[Shown]) -> list[Shown]:
    if not members:
        raise InputError("members must be at least one map, got none")
    return [checked(image, replace(one, name=f"{place}  {one.name}")) for place, one in enumerate(members, 1)]


def _member_cells(on: Ground, shown: Sequence[Shown]) -> list[Cell]:
    maps = [map_cell(on, one, scale) for one, scale in zip(shown, scales(shown), strict=True)]
    return [image_cell(on, "image"), *maps]


def votes_cell(on: Ground, image: Image, agreement: npt.ArrayLike, count: int) -> Cell:
    """How many of `count` maps count a voxel in; `agreement` (i, j, k) is their share."""
    votes = on_grid(agreement, image, "agreement").astype(np.float32) * np.float32(count)
    if bool(np.any(np.abs(votes - np.rint(votes)) > 0.01)):
        # Brought from the network's grid to the image's, votes lie between whole numbers at rims.
        shown = Shown("votes", (votes / count).astype(np.float32), Quantity.MASK, "of the maps")
        drawn = painted(shown.values, shown.quantity, colours="parula_like", opacity=OPACITY)
        return map_cell(on, shown, _bare_zero(drawn), backdrop="image")
    whole = np.rint(votes).astype(np.float32)
    shown = Shown("votes", whole, Quantity.SALIENCY, f"of {count} maps")
    return map_cell(on, shown, stepped(whole, count, opacity=OPACITY), backdrop="image")


def correlations_cell(on: Ground, matrix: npt.NDArray[np.float64], count: int) -> Cell:
    """A matrix of correlations (map, map) in colours and numbers."""
    if matrix.shape != (count, count):
        raise InputError(f"correlations must be ({count}, {count}), one for each pair of maps, got {matrix.shape}")
    wide, _ = on.panel.size
    colours = PALETTES["red_white_blue"].colours((np.nan_to_num(matrix) + 1) / 2)[..., :3]
    panel = Panel(
        "rank correlations", np.asarray(colours.transpose(1, 0, 2), np.float32), (wide / count,) * 2, ruler=""
    )
    return Cell(panel, ("red 1, white 0, blue −1",), more=_numbers(matrix, wide / count))


def _numbers(matrix: npt.NDArray[np.float64], step: float) -> Callable[[Axes], None]:
    def numbers(axes: Axes) -> None:
        axes.images[0].set_interpolation("nearest")
        for (row, column), value in np.ndenumerate(matrix):
            ink = "white" if abs(value) > 0.6 else "black"
            axes.text(column * step, row * step, f"{value:.2f}", color=ink, fontsize=6.5, ha="center", va="center")

    return numbers


def _bare_zero(scale: Scale) -> Scale:
    return replace(scale, bare_zero=True) if isinstance(scale, Wash) else scale


def _unshared() -> str:
    return "Every map has colour limits of its own: compare places, not brightness."


def fused_from_run(folder: Path, case: str | None = None, *, rank: int = 0, **options: Any) -> Picture:
    """The ensemble of a case of a run folder with the members that were also run on their own.

    `rank` picks among several ensembles. Raises InputError where the run has no ensemble, or not all of its members.
    """
    found = case_maps(folder, case)
    ensembles = found.of_method("ensemble")
    if not 0 <= rank < len(ensembles):
        raise InputError(f"rank must be between 0 and {len(ensembles) - 1}, got {rank}")
    fused = ensembles[rank]
    by_method = {one.method: one for one in found.maps}
    names = [str(name) for name in fused.numbers.get("members", ())]
    lacking = [name for name in names if name not in by_method]
    if lacking or not names:
        raise InputError(f"members must have been run as well to be shown, the run lacks {', '.join(lacking) or 'all'}")
    members = [Shown.of(by_method[name]) for name in names]
    title = f"{found.identifier}: {fused.target_words or fused.target}\n{len(names)} maps joined"
    agreement = fused.parts.get("agreement")
    told: dict[str, Any] = {"title": title, "correlations": fused.numbers.get("rank_correlations"), "unit": fused.unit}
    told["agreement"] = None if agreement is None else agreement.mean(axis=0)
    return draw_fused(found.image, members, fused.values.mean(axis=0), **{**told, **options})


def levels_from_run(folder: Path, case: str | None = None, *, target: str | None = None, **options: Any) -> Picture:
    """The levels of a case of a run folder, single levels beside them, with the counters of all its cases.

    Levels that were enlarged to the image's grid are rounded to whole numbers. Raises InputError where occlusion was
    not run by labels.
    """
    run = read_run(folder)
    found = case_maps(run, case, target=target)
    one = _by_labels(found)
    if one is None:
        raise InputError(f"case {found.identifier!r} must have a map of hierarchical_occlusion(mode='label_flip')")
    parts = {
        name.replace("_", " "): np.rint(values.max(axis=0))
        for name, values in one.parts.items()
        if name.startswith("level_")
    }
    told = {"parts": parts, "highest": max(len(parts), 1), "counters": _counters(run), "title": found.identifier}
    return draw_levels(found.image, np.rint(one.values.max(axis=0)), **{**told, **options})


def _by_labels(found: CaseMaps) -> Attribution | None:
    return next((one for one in found.maps if one.unit == LEVELS), None)


def _counters(run: Run) -> dict[str, int]:
    """The counters of all cases together."""
    total: dict[str, int] = {}
    for name in case_names(run):
        one = _by_labels(case_maps(run, name))
        for key, value in () if one is None else one.numbers.items():
            if key.startswith(("predicted_as_", "informative_as_")):
                total[key] = total.get(key, 0) + int(value)
    return dict(sorted(total.items()))
