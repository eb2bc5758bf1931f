"""One method at many layers: the per-layer figure with probabilities, and the montage of the whole network.

Source studies showed early layers blank and could not say why: an absolute epsilon in their scaling swallowed maps of
tiny range, and one fixed slice missed others. Here every map keeps its raw range in print, one that is not on the slice
says so, and only what is truly constant is called so, with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.methods.cam import BLANK
from voxplain.report.display import Scale, number
from voxplain.report.display import scale as scale_of
from voxplain.report.figures import Picture
from voxplain.report.figures_board import Cell, Row, draw_board
from voxplain.report.figures_runs import CaseMaps, case_maps, method_name
from voxplain.report.figures_view import Shown, checked, image_cell, joint, map_cell, scales, view
from voxplain.report.sheet import Ground

OPACITY = 0.5
"""Of a map over the image, as in the source study."""

FAINT = 0.01
"""A layer whose largest magnitude is below this share of the strongest layer's is said to be faint."""

ELSEWHERE = 0.1
"""A slice on which a map stays below this share of its own limit looks blank, and it is said that the map is not."""

MONTAGE_COLUMNS = 7
"""Pictures in a row of the montage."""

EACH_END = 4
"""Layers at either end of a network that the per-layer figure shows of a long one, as in the source study."""


@dataclass(frozen=True, eq=False)
class LayerShown(Shown):
    """A layer's map as a figure shows it, with the raw range of its own cells, which interpolation narrows."""

    raw: tuple[float, float] = (0.0, 0.0)
    why: str = ""
    """Why the map is the same everywhere; '' where it is not."""

    @cached_property
    def scale(self) -> Scale:
        """Colours and limits of the interpolated map, raw range of the layer's own cells."""
        return replace(scale_of(self.values, self.quantity), raw=self.raw)

    @classmethod
    def of(cls, attribution: Attribution, name: str | None = None, *, channel: str | None = None) -> "LayerShown":
        """The map of one layer, under the layer's name."""
        plain = Shown.of(attribution, attribution.layer if name is None else name, channel=channel)
        own = attribution.values if attribution.coarse is None else attribution.coarse.values
        raw = float(own.min()), float(own.max())
        why = [note.removeprefix(BLANK) for note in attribution.notes if note.startswith(BLANK)]
        return cls(**{one.name: getattr(plain, one.name) for one in fields(plain)}, raw=raw, why=" ".join(why))


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
        told = (*alone.told, *_flag(on, one, scale, shown))
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
        cells.append(replace(cell, told=(*cell.told, *_flag(on, one, scale, shown)), bad=_constant(one)))
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


def _flag(on: Ground, one: Shown, scale: Scale, layers: Sequence[Shown]) -> tuple[str, ...]:
    """What a reader must not overlook about a layer's range."""
    if _constant(one):
        why = one.why if isinstance(one, LayerShown) else ""
        return (f"CONSTANT: {why}" if why else "CONSTANT",)
    if scale.blank:
        return (scale.blank,)
    strongest = max(_magnitude(other) for other in layers)
    share = _magnitude(one) / strongest if strongest else 0.0
    faint = (f"faint: {number(share)} of the strongest layer",) if share < FAINT else ()
    here = float(np.abs(on.cut.take(one.values)).max()) / scale.high
    return (*faint, f"not on this slice: it reaches {number(here)} of the limit") if here < ELSEWHERE else faint


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
    """The montage of a method, by its name or its spec, that was run at several layers, in the order of the run."""
    found, maps = _of_layers(folder, method, case, options.pop("target", None))
    title = f"{found.identifier}: {found.maps[0].target_words or found.maps[0].target}\n{method} at {len(maps)} layers"
    region = None if found.prediction is None else found.prediction > 0
    return draw_flow(found.image, maps, **{"title": title, "prediction": region, **options})


def ends(layers: Sequence[Shown]) -> list[Shown]:
    """The first and the last four of many layers, which is what the per-layer figure has room for; else all."""
    return list(layers) if len(layers) <= 2 * EACH_END else [*layers[:EACH_END], *layers[-EACH_END:]]


def maps_of_layers(found: CaseMaps, method: str) -> list[Shown]:
    """A case's maps of a method, by its name or its spec, that were read from layers, in the order of the run."""
    named = [one.method for one in found.maps]
    same = [one for one in found.maps if method == (one.method if method in named else method_name(one))]
    return [LayerShown.of(one) for one in same if one.layer]


def _of_layers(folder: Path, method: str, case: str | None, target: str | None) -> tuple[CaseMaps, list[Shown]]:
    found = case_maps(folder, case, target=target, method=method.partition("(")[0])
    maps = maps_of_layers(found, method)
    if not maps:
        raise InputError(f"maps of {method!r} must be of named layers for a figure of layers, got none with a layer")
    return found, maps
