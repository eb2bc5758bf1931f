"""One method at many layers: the per-layer figure with probabilities, and the montage of the whole network.

Two source studies found early layers blank and could not say why: min-max scaling with an absolute epsilon had
swallowed maps of tiny range. Here every map keeps its raw range in print, and only what is truly constant is called so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import Scale, number
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import CaseMaps, case_maps, method_name
from voxplain.report.figures_view import Shown, checked, image_cell, joint, map_cell, scales, view

OPACITY = 0.5
"""Of a map over the image, as in the source study."""

FAINT = 0.01
"""A layer whose largest magnitude is below this share of the strongest layer's is said to be faint."""

MONTAGE_COLUMNS = 7
"""Pictures in a row of the montage."""


def draw_layers(
    image: Image,
    layers: Sequence[Shown],
    *,
    probabilities: Mapping[str, float] | None = None,
    truth: str = "",
    predicted: str = "",
    shared: bool = False,
    title: str = "",
    **where: Any,
) -> Picture:
    """One row a layer, from deep to shallow as given: map over image, map alone, image; the study's figure has eight.

    Each map is named by its layer; the model's probabilities stand below the first image. `shared` gives all layers
    the same limits; `where` chooses the slice as `figures_view.view` does.
    """
    shown = _checked(image, layers)
    on = view(image, shown, **where)
    own, washed = scales(shown, shared=shared), scales(shown, shared=shared, opacity=OPACITY)
    rows = []
    for place, (one, scale, wash) in enumerate(zip(shown, own, washed, strict=True)):
        over = replace(map_cell(on, one, wash, name="map over image" if place == 0 else "", backdrop="image"), told=())
        alone = map_cell(on, one, scale, name="map alone" if place == 0 else "", backdrop="black")
        bare = replace(on.panel, name="", letters=("", "", "", ""), ruler="", cross=None)
        last = replace(image_cell(on), told=_probabilities(probabilities)) if place == 0 else Cell(bare)
        told = (*alone.told, *_flag(one, scale, shown))
        rows.append(Row((replace(over, scale=None), replace(alone, told=told), last), name=one.name))
    said = [f"truth {truth}" if truth else "", f"predicted {predicted}" if predicted else ""]
    heading = title or image.identifier
    heading += "\n" + "; ".join(part for part in said if part)
    return draw_board(rows, title=heading, caption=[*on.words, *_reading(shown, shared)], largest=(1.7, 1.9))


def draw_flow(
    image: Image,
    layers: Sequence[Shown],
    *,
    prediction: npt.ArrayLike | None = None,
    columns: int = MONTAGE_COLUMNS,
    shared: bool = False,
    title: str = "",
    **where: Any,
) -> Picture:
    """The montage of one method at all layers of a network in their order, such as the 26 of a 3D U-Net.

    Below each map stands the raw range; a constant one is flagged in red and never coloured, a faint one (below 1 % of
    the strongest layer) is named so. A predicted region (i, j, k) is outlined on all pictures.
    """
    if columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    shown = _checked(image, layers)
    on = view(image, shown, mask=prediction, **where)
    drawn = scales(shown, shared=shared)
    cells = [image_cell(on)]
    for count, (one, scale) in enumerate(zip(shown, drawn, strict=True), 1):
        cell = map_cell(on, one, scale, name=f"{count}  {one.name}", bar=not shared)
        cells.append(replace(cell, told=(*cell.told, *_flag(one, scale, shown)), bad=_constant(one)))
    rows = [Row(tuple(cells[start : start + columns])) for start in range(0, len(cells), columns)]
    if shared:
        rows[0] = replace(rows[0], bar=joint(drawn), unit=shown[0].unit or shown[0].quantity.value)
    flat = [str(count) for count, one in enumerate(shown, 1) if _constant(one)]
    summary = f"Truly constant: layer {', '.join(flat)}." if flat else "No layer's map is constant."
    words = [*(word.replace("the mask", "the prediction") for word in on.words), summary, *_reading(shown, shared)]
    return draw_board(rows, title=title or image.identifier, caption=words, largest=(1.45, 1.7))


def _checked(image: Image, layers: Sequence[Shown]) -> list[Shown]:
    if not layers:
        raise InputError("layers must hold at least one map, got none")
    return [checked(image, one) for one in layers]


def _constant(one: Shown) -> bool:
    low, high = one.scale.raw
    return low == high


def _flag(one: Shown, scale: Scale, layers: Sequence[Shown]) -> tuple[str, ...]:
    """What a reader must not overlook about a layer's range."""
    if _constant(one):
        return ("CONSTANT",)
    if scale.blank:
        return (scale.blank,)
    strongest = max(_magnitude(other) for other in layers)
    share = _magnitude(one) / strongest if strongest else 0.0
    return (f"faint: {number(share)} of the strongest layer",) if share < FAINT else ()


def _magnitude(one: Shown) -> float:
    return max(abs(end) for end in one.scale.raw)


def _probabilities(probabilities: Mapping[str, float] | None) -> tuple[str, ...]:
    return tuple(f"{name} {value:.3f}" for name, value in (probabilities or {}).items())


def _reading(layers: Sequence[Shown], shared: bool) -> tuple[str, ...]:
    limits = "All layers share their colour limits." if shared else (
        "Every layer has colour limits of its own: a full colour may stand for a tiny value, so read the raw range."
    )  # fmt: skip
    signed = any(one.quantity.signed for one in layers)
    return (limits, *(["Warm colours speak for what was explained, cold ones against it."] if signed else []))


def layers_from_run(folder: Path, method: str, case: str | None = None, **options: Any) -> Picture:
    """The per-layer figure of a method that was run at several layers, deepest first.

    Raises InputError where the run has no map of the method, or only maps without a layer.
    """
    found, maps = _of_layers(folder, method, case, options.pop("target", None))
    title = f"{found.identifier}: {found.maps[0].target_words or found.maps[0].target}, {method}"
    said = {"probabilities": found.probabilities, "truth": found.truth, "predicted": found.predicted}
    return draw_layers(found.image, maps[::-1], **{"title": title, **said, **options})


def flow_from_run(folder: Path, method: str, case: str | None = None, **options: Any) -> Picture:
    """The montage of a method that was run at several layers, in the order of the run."""
    found, maps = _of_layers(folder, method, case, options.pop("target", None))
    title = f"{found.identifier}: {found.maps[0].target_words or found.maps[0].target}\n{method} at {len(maps)} layers"
    region = None if found.prediction is None else found.prediction > 0
    return draw_flow(found.image, maps, **{"title": title, "prediction": region, **options})


def _of_layers(folder: Path, method: str, case: str | None, target: str | None) -> tuple[CaseMaps, list[Shown]]:
    found = case_maps(folder, case, target=target)
    pairs = zip(found.maps, found.layers, strict=True)
    maps = [Shown.of(one, layer) for one, layer in pairs if method_name(one) == method and layer]
    if not maps:
        found.of_method(method)
        raise InputError(f"maps of {method!r} must be of named layers for a figure of layers, got none with a layer")
    return found, maps
