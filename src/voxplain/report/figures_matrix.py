"""Matrices of maps: methods by cases and layers by cases, every case on its own slice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import FileError, InputError
from voxplain.report.contents import read_run
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names, method_name
from voxplain.report.figures_view import Shown, checked, image_cell, joint, map_cell, reading, scales, view
from voxplain.report.sheet import Ground

MOST_CASES = 6
"""Cases that a matrix takes from a run where none are named: more would not be legible on a page."""


@dataclass(frozen=True, eq=False)
class Column:
    """One case of a matrix."""

    image: Image
    maps: Mapping[str, Shown]
    """The map of each row by the row's name; a row without one leaves its place empty."""
    words: str = ""
    """What stands above the image: the case, what is true, what was predicted."""
    wrong: bool = False
    """True for a wrong prediction, whose words are red."""
    mask: Any = None
    """(i, j, k), what is outlined on all pictures of the case; None for nothing."""


def draw_matrix(
    columns: Sequence[Column],
    *,
    shared: bool = False,
    plane: str | None = None,
    channel: str | None = None,
    title: str = "",
    caption: Sequence[str] = (),
) -> Picture:
    """One column a case, its image above; one row a method (or layer) in the order in which they are first met.

    Each case is cut where its maps together are strongest, and says where. `shared` gives the maps of one row common
    limits and one bar at its end; a row with maps of several units is refused then. Raises InputError without maps.
    """
    names = list(dict.fromkeys(name for one in columns for name in one.maps))
    if not names:
        raise InputError("a matrix must have at least one map, got none")
    found = [{name: checked(one.image, shown) for name, shown in one.maps.items()} for one in columns]
    places = zip(columns, found, strict=True)
    grounds = [
        view(one.image, list(maps.values()), mask=one.mask, plane=plane, channel=channel) for one, maps in places
    ]
    rows = [Row(tuple(_head(one, on) for one, on in zip(columns, grounds, strict=True)), name="image")]
    rows += [_row(name, grounds, [maps.get(name) for maps in found], shared=shared) for name in names]
    every = [shown for maps in found for shown in maps.values()]
    limits = ["Maps of one row share their colour limits: brightness compares within a row."] if shared else []
    empty = ["An empty place: no map."] if any(name not in maps for name in names for maps in found) else []
    words = [*_common(grounds), *caption, *empty, *limits, *reading(every, shared=shared)[1 if shared else 0 :]]
    return draw_board(rows, title=title, caption=words, largest=(1.6, 1.8))


def _head(one: Column, on: Ground) -> Cell:
    told = () if one.image.grid.is_2d else (on.words[0],)
    return replace(image_cell(on, one.words or one.image.identifier), bad=one.wrong, told=told)


def _row(name: str, grounds: Sequence[Ground], maps: Sequence[Shown | None], *, shared: bool) -> Row:
    there = [one for one in maps if one is not None]
    if shared and len({(one.quantity, one.unit) for one in there}) > 1:
        raise InputError(f"maps of {name!r} must be of one quantity and unit to share limits; pass shared=False")
    drawn = scales(there, shared=shared)
    found = iter(zip(there, drawn, strict=True))
    cells: list[Cell | None] = []
    for on, one in zip(grounds, maps, strict=True):
        if one is None:
            cells.append(None)
            continue
        shown, scale = next(found)
        cells.append(map_cell(on, shown, scale, name="", bar=not shared))
    unit = there[0].unit or there[0].quantity.value
    return Row(tuple(cells), name=name, bar=joint(drawn) if shared else None, unit=unit)


def _common(grounds: Sequence[Ground]) -> list[str]:
    """The sentences that hold for all cases; slices stand below the images."""
    return [words for words in grounds[0].words[1:] if all(words in on.words for on in grounds)]


def matrix_from_run(
    folder: Path, cases: Sequence[str] | None = None, *, target: str | None = None, **options: Any
) -> Picture:
    """All methods of a run folder by its cases, at most the first six where none are named."""

    def row_name(one: Attribution, layer: str) -> str:
        return f"{one.method}, {layer}" if layer else one.method

    columns, words = _columns(folder, cases, target, row_name)
    return draw_matrix(columns, **{"title": "methods by cases", "caption": words, **options})


def layer_matrix_from_run(
    folder: Path, method: str, cases: Sequence[str] | None = None, *, target: str | None = None, **options: Any
) -> Picture:
    """One method at all its layers by cases; raises InputError where it was run at no named layer."""
    columns, words = _columns(folder, cases, target, lambda one, layer: layer * (method_name(one) == method))
    if not any(one.maps for one in columns):
        raise InputError(f"maps of {method!r} must be of named layers for a matrix of layers, got none with a layer")
    return draw_matrix(columns, **{"title": f"{method}: layers by cases", "caption": words, **options})


def _columns(
    folder: Path, cases: Sequence[str] | None, target: str | None, row_name: Callable[[Attribution, str], str]
) -> tuple[list[Column], list[str]]:
    """The cases of a run as columns, and which of them they are in a sentence."""
    run = read_run(folder)
    known = case_names(run)
    chosen = list(cases) if cases is not None else list(known[:MOST_CASES])
    found = [case_maps(run, name, target=target) for name in chosen]
    if not found:
        raise FileError(f"run folder {folder.name!r} must hold a case with an image and a map, got none")
    rest = f"The first {len(chosen)} of {len(known)} cases." if cases is None and len(known) > len(chosen) else ""
    return [_column(one, row_name) for one in found], [rest] if rest else []


def _column(found: CaseMaps, row_name: Callable[[Attribution, str], str]) -> Column:
    named = [(row_name(one, layer), one) for one, layer in zip(found.maps, found.layers, strict=True)]
    said = [f"truth {found.truth}" if found.truth else "", f"predicted {found.predicted}" if found.predicted else ""]
    words = ", ".join([found.identifier, *(part for part in said if part)])
    wrong = bool(found.truth and found.predicted) and found.truth != found.predicted
    maps = {name: Shown.of(one, name) for name, one in named if name}
    return Column(found.image, maps, f"{words}{', WRONG' * wrong}", wrong, found.mask)
