"""Methods side by side on one slice: the row of all methods, one method alone, one row a modality, methods by class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_labels import label_words, prediction_cells
from voxplain.report.figures_runs import CaseMaps, case_maps, method_name
from voxplain.report.figures_view import Backdrop, Shown, checked, image_cell, joint, map_cell, reading, scales, view
from voxplain.report.sheet import Ground
from voxplain.types import Quantity

OPACITY = 0.5
"""Of a coarse map over the image, as in the source studies."""


def draw_methods(
    image: Image,
    maps: Sequence[Shown],
    *,
    prediction: npt.ArrayLike | None = None,
    class_names: Sequence[str] = (),
    shared: bool = False,
    backdrop: Backdrop = "dimmed",
    columns: int | None = None,
    title: str = "",
    **where: Any,
) -> Picture:
    """All methods in one row: the image, each map, coarse maps alone and laid over, and what was predicted.

    The study's seven methods make its 9 panels, and 11 with a prediction (labels, (i, j, k)). `backdrop` lies below
    fine maps; `columns` breaks the row; `shared` gives maps of one unit the same limits; `where` chooses the slice as
    `figures_view.view` does. Raises InputError for maps that are not on the image's grid.
    """
    shown = [checked(image, one) for one in maps]
    on = view(image, shown, **where)
    cells = [image_cell(on), *_method_cells(on, shown, shared=shared, backdrop=backdrop)]
    words = [*on.words, *reading(shown, shared=shared)]
    if prediction is not None:
        cells += prediction_cells(on, image, prediction)
        words += label_words(prediction, class_names)
    width = columns or len(cells)
    rows = [Row(tuple(cells[start : start + width])) for start in range(0, len(cells), width)]
    return draw_board(rows, title=title or image.identifier, caption=words, largest=(1.6, 1.9))


def _method_cells(on: Ground, maps: Sequence[Shown], *, shared: bool, backdrop: Backdrop) -> list[Cell]:
    cells = []
    own, washed = scales(maps, shared=shared), scales(maps, shared=shared, opacity=OPACITY)
    for one, scale, wash in zip(maps, own, washed, strict=True):
        cells.append(map_cell(on, one, scale, backdrop="black" if one.coarse else backdrop))
        if one.coarse:
            cells.append(map_cell(on, one, wash, name=f"{one.name} over image", backdrop="image"))
    return cells


def draw_single(
    image: Image,
    shown: Shown,
    *,
    layer: str = "",
    class_name: str = "",
    prediction: npt.ArrayLike | None = None,
    class_names: Sequence[str] = (),
    opacity: float = OPACITY,
    title: str = "",
    **where: Any,
) -> Picture:
    """One method alone in 3 panels (image, map, overlay), and 5 with a prediction (labels, (i, j, k)).

    The map is named by method, layer and class. `where` chooses the slice as `figures_view.view` does.
    """
    one = checked(image, shown)
    on = view(image, [one], **where)
    scale, wash = scales([one])[0], scales([one], opacity=opacity)[0]
    name = ", ".join(part for part in (one.name, layer, class_name) if part)
    over = map_cell(on, one, wash, name="map over image", backdrop="image", bar=False)
    cells = [image_cell(on), map_cell(on, one, scale, name=name, backdrop="black", bar=False), replace(over, told=())]
    words = [*on.words, f"{scale.words[0].upper()}{scale.words[1:]}.", *reading([one], shared=True)[1:]]
    if prediction is not None:
        cells += prediction_cells(on, image, prediction)
        words += label_words(prediction, class_names)
    row = Row(tuple(cells), bar=scale, unit=one.unit or one.quantity.value)
    return draw_board([row], title=title or image.identifier, caption=words)


def draw_by_modality(
    image: Image,
    values: npt.ArrayLike,
    quantity: Quantity,
    *,
    unit: str = "",
    shared: bool = True,
    title: str = "",
    **where: Any,
) -> Picture:
    """One column a modality: the image above, that channel's own map over it below, with its share of the whole map.

    `values` is (channel, i, j, k) in the order of the image's channels; by default all share their limits, so that a
    modality that counts for little looks like it. Raises InputError where channels do not match.
    """
    found = np.asarray(values, dtype=np.float32)
    if found.ndim != 4 or len(found) != len(image.channels):
        raise InputError(f"values must be (channel, i, j, k) with {len(image.channels)} channels, got {found.shape}")
    maps = [
        checked(image, Shown(name, one, quantity, unit)) for name, one in zip(image.channels, found, strict=True)
    ]  # fmt: skip
    index = where.pop("index", None)
    plane = where.pop("plane", None)
    first = view(image, maps, index=index, plane=plane, **where)
    total = float(np.abs(found).sum(dtype=np.float64))
    cells = []
    painted = scales(maps, shared=shared)
    for one, scale in zip(maps, painted, strict=True):
        on = view(image, channel=one.name, plane=plane, index=first.cut.index, **where)
        share = float(np.abs(one.values).sum(dtype=np.float64)) / total if total else 0.0
        below = map_cell(on, one, scale, bar=not shared)
        cells.append((image_cell(on), replace(below, told=(f"{share:.1%} of the magnitude", *below.told))))
    bar = joint(painted) if shared else None
    rows = [Row(tuple(above for above, _ in cells)), Row(tuple(below for _, below in cells), bar=bar, unit=unit)]
    words = [*(word for word in first.words if not word.startswith("Image:")), *reading(maps, shared=shared)]
    return draw_board(rows, title=title or image.identifier, caption=words)


def draw_comparison(
    image: Image, methods: Mapping[str, Sequence[Shown]], *, shared: bool = True, title: str = "", **where: Any
) -> Picture:
    """One row a method, one column a class (or case of the same image): Grad-CAM above LIME above SHAP, say.

    Maps of one row share their limits (`shared`), told by the bar at its end. Raises InputError for rows of unequal
    length or with maps of several units.
    """
    rows = {name: [checked(image, one) for one in maps] for name, maps in methods.items()}
    if not rows or len({len(maps) for maps in rows.values()}) != 1:
        counts = ", ".join(f"{name} {len(maps)}" for name, maps in rows.items())
        raise InputError(f"methods must have the same number of maps each, got {counts or 'none'}")
    on = view(image, [one for maps in rows.values() for one in maps], **where)
    drawn: list[Row] = []
    for name, maps in rows.items():
        if shared and len({(one.quantity, one.unit) for one in maps}) > 1:
            raise InputError(f"maps of {name!r} must be of one quantity and unit to share limits; pass shared=False")
        painted = scales(maps, shared=shared)
        cells = [map_cell(on, one, scale, bar=not shared) for one, scale in zip(maps, painted, strict=True)]
        first = image_cell(on) if not drawn else None
        bar = joint(painted) if shared else None
        drawn.append(Row((first, *cells), name=name, bar=bar, unit=maps[0].unit or maps[0].quantity.value))
    every = [one for maps in rows.values() for one in maps]
    limits = "Maps of one row share their colour limits." if shared else ""
    words = [*on.words, *([limits] if limits else []), *reading(every, shared=shared)[1:]]
    return draw_board(drawn, title=title or image.identifier, caption=words)


def methods_from_run(folder: Path, case: str | None = None, *, target: str | None = None, **options: Any) -> Picture:
    """The row of all methods of a case of a run folder, with the prediction where the model segments."""
    found = case_maps(folder, case, target=target)
    return draw_methods(found.image, [Shown.of(one) for one in found.maps], **{**_told(found), **options})


def single_from_run(
    folder: Path,
    method: str,
    case: str | None = None,
    *,
    target: str | None = None,
    colours: str | None = None,
    **options: Any,
) -> Picture:
    """The 3 or 5 panels of a method's first map for a case of a run folder."""
    found = case_maps(folder, case, target=target, method=method)
    one = found.maps[0]
    shown, told = replace(Shown.of(one, method_name(one)), colours=colours), _told(found)
    return draw_single(found.image, shown, layer=one.layer, **{**told, **options})


def by_modality_from_run(
    folder: Path, method: str, case: str | None = None, *, target: str | None = None, **options: Any
) -> Picture:
    """One column a modality of a method's first map; raises InputError where the map has one channel for all."""
    found = case_maps(folder, case, target=target, method=method)
    one = found.maps[0]
    if one.channels != found.image.channels:
        there = ", ".join(one.channels)
        raise InputError(f"map of {method!r} must have a channel for each of the image's, got {there}")
    told = {"unit": one.unit, "title": found.title(one)}
    return draw_by_modality(found.image, one.values, one.quantity, **{**told, **options})


def _told(found: CaseMaps) -> dict[str, Any]:
    words = found.maps[0].target_words or found.maps[0].target
    said = found.facts.get("prediction") or {}
    told = [f"truth {found.truth}" if found.truth else "", f"model: {said.get('words', '')}" if said else ""]
    title = f"{found.identifier}: {words}\n{'; '.join(part for part in told if part)}"
    return {"prediction": found.prediction, "class_names": tuple(said.get("class_names") or ()), "title": title}
