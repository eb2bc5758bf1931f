"""How far a map holds: its standard error beside it, and where the maps of several methods agree."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import Array, Scale
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_ensemble import correlations_cell, votes_cell
from voxplain.report.figures_runs import case_maps
from voxplain.report.figures_view import Shown, checked, image_cell, map_cell, reading, scales, view
from voxplain.report.palettes import painted
from voxplain.report.percentiles import kth_largest
from voxplain.types import Quantity

SURE = 2.0
"""Standard errors that a value must exceed to be shown as sure: a normal error does so in 5 of 100 voxels."""

MOST_RANKED = 100_000
"""Voxels whose ranks are compared, evenly spaced: more would not change the second digit."""


def draw_error(image: Image, shown: Shown, standard_error: npt.ArrayLike, *, title: str = "", **where: Any) -> Picture:
    """The map, its standard error (i, j, k) on the map's own scale, and the map where it exceeds two standard errors.

    For methods that draw at random. Where map and error look alike, the map is chance. `where` chooses the slice as
    `figures_view.view` does. Raises InputError for errors that are negative or not on the image's grid.
    """
    one = checked(image, shown)
    error = checked(image, Shown("standard error", np.asarray(standard_error), Quantity.SALIENCY, one.unit))
    if bool((error.values < 0).any()):
        raise InputError(f"standard_error must not be negative, got {float(error.values.min()):g}")
    on = view(image, [one], **where)
    sure = replace(one, name=f"map beyond {SURE:g} standard errors", values=_sure(one.values, error.values), alarm="")
    scale = scales([one])[0]
    known = painted(error.values, error.quantity, limits=None if scale.blank else (0, scale.high))
    kept = replace(scale, doubt="")
    cells = [
        image_cell(on),
        map_cell(on, one, scale, bar=False),
        map_cell(on, error, _shown_error(known)),
        replace(map_cell(on, sure, kept, bar=False), told=(_share_words(one.values, sure.values),)),
    ]
    words = [*on.words, "The standard error has the upper colour limit of the map: as bright is as large."]
    row = Row(tuple(cells), bar=scale, unit=one.unit or one.quantity.value)
    caption = [*words, *reading([one], shared=True)[1:]]
    return draw_board([row], title=title or f"{image.identifier}: {one.name}", caption=caption)


def _shown_error(scale: Scale) -> Scale:
    """An error that is the same everywhere, or scattered, is no less an error."""
    return replace(scale, doubt="", blank="" if scale.raw[1] > 0 else scale.blank)


def _sure(values: Array, error: Array) -> Array:
    """The map with 0 where it lies within its error; voxels without a known error are not sure."""
    return np.where(np.abs(values) > SURE * np.nan_to_num(error, nan=np.inf, posinf=np.inf), values, np.float32(0))


def _share_words(values: Array, sure: Array) -> str:
    total = float(np.abs(np.nan_to_num(values)).sum(dtype=np.float64))
    kept = float(np.abs(np.nan_to_num(sure)).sum(dtype=np.float64))
    return f"{kept / total:.0%} of the magnitude" if total else "the map is 0"


def draw_agreement(
    image: Image, maps: Sequence[Shown], *, share: float = 0.05, columns: int = 6, title: str = "", **where: Any
) -> Picture:
    """The maps of several methods, at how many of them a voxel is among the strongest, and how alike they rank voxels.

    `share` of the voxels of each map, those of largest evidence, vote (positive values; of derivatives the largest
    magnitudes); correlations are Spearman's. Raises InputError for fewer than two maps or a share out of range.
    """
    if len(maps) < 2:
        raise InputError(f"maps must be at least two to agree, got {len(maps)}")
    if not 0 < share < 1:
        raise InputError(f"share must be between 0 and 1, got {share}")
    shown = [checked(image, replace(one, name=f"{place}  {one.name}")) for place, one in enumerate(maps, 1)]
    on = view(image, shown, **where)
    votes = np.zeros(image.grid.shape, dtype=np.float32)
    for one in shown:
        votes += _strongest(one, share)
    votes /= len(shown)
    drawn = [map_cell(on, one, scale) for one, scale in zip(shown, scales(shown), strict=True)]
    rows = [Row(tuple(drawn[at : at + columns]), name="" if at else "maps") for at in range(0, len(drawn), columns)]
    ranks = correlations_cell(on, rank_correlations([one.values for one in shown]), len(shown))
    together: tuple[Cell, ...] = (image_cell(on), votes_cell(on, image, votes, len(shown)), ranks)
    caption = [
        *on.words,
        f"Votes: for how many maps a voxel is among the strongest {100 * share:g} %.",
        "Rank correlations: rows and columns are the maps in the order of their numbers.",
        *reading(shown, shared=False),
    ]
    title = title or image.identifier
    return draw_board([*rows, Row(together, name="together")], title=title, caption=caption)


def _strongest(one: Shown, share: float) -> npt.NDArray[np.bool_]:
    """Where the evidence of a map is among its largest; never where there is none."""
    values = one.values
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    evidence = np.abs(values) if one.derivative else values
    least = kth_largest(evidence, max(1, round(share * evidence.size)))
    return np.asarray((evidence >= least) & (evidence > 0))


def rank_correlations(maps: Sequence[Array]) -> npt.NDArray[np.float64]:
    """Spearman's correlation (map, map) over at most `MOST_RANKED` voxels; 0 where a map is constant."""
    import torch

    from voxplain.ops import fusion

    step = max(1, maps[0].size // MOST_RANKED)
    some = np.stack([np.nan_to_num(one.reshape(-1)[::step]) for one in maps])[:, None, None]
    return np.asarray(fusion.rank_correlations(torch.from_numpy(some.astype(np.float64)))[0])


def error_from_run(
    folder: Path, method: str, case: str | None = None, *, target: str | None = None, **options: Any
) -> Picture:
    """The error figure of a method's first map that has a standard error; raises InputError where none has."""
    found = case_maps(folder, case, target=target, method=method)
    one = next((one for one in found.maps if one.standard_error is not None), None)
    if one is None or one.standard_error is None:
        raise InputError(f"map of {method!r} must have a standard error, which only methods that draw at random have")
    error = _error(one, one.standard_error)
    return draw_error(found.image, Shown.of(one), error, **{"title": found.title(one), **options})


def _error(one: Attribution, error: Array) -> Array:
    """The standard error (i, j, k) of the map as it is shown; of a sum over channels at most the sum of theirs."""
    if len(error) == 1 or one.quantity.adds_up:
        return np.asarray(error.sum(axis=0, dtype=np.float64), dtype=np.float32)
    strongest = np.abs(one.values).argmax(axis=0)[None]
    return np.asarray(np.take_along_axis(error, strongest, axis=0)[0], dtype=np.float32)


def agreement_from_run(folder: Path, case: str | None = None, *, target: str | None = None, **options: Any) -> Picture:
    """The agreement of all maps of a case of a run folder."""
    found = case_maps(folder, case, target=target)
    title = f"{found.identifier}: {found.maps[0].target_words or found.maps[0].target}"
    return draw_agreement(found.image, [Shown.of(one) for one in found.maps], **{"title": title, **options})
