"""Maps of the NeuroXAI study in the source's look: magnitudes in grey, class activation maps in jet, or with signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.writing import written_beside
from voxplain.report.display import Array, Scale, number, scale
from voxplain.report.figures_overlay import overlay_pixels
from voxplain.report.figures_runs import CaseMaps
from voxplain.report.figures_view import Shown, scales, view
from voxplain.study.study_neuroxai_flow import Layer, joined
from voxplain.study.study_neuroxai_methods import TITLES
from voxplain.types import Quantity

GREY, JET = "grey", "jet"

OPACITY = 0.5
"""Of a class activation map over the image."""


@dataclass(frozen=True, eq=False)
class ShownSlice(Shown):
    """One slice of a map, with colours and ranges of the whole map."""

    low: float = 0.0
    high: float = 0.0
    limit: float = 0.0
    """Where full colour is reached."""

    @cached_property
    def scale(self) -> Scale:
        """Limits and raw range of the whole map: the slice alone would look stronger than it is."""
        whole = np.array([self.low, self.high], dtype=np.float32)
        if self.limit <= 0 or self.low == self.high:
            return scale(whole, self.quantity)
        words = f"colour limits 0 to {number(self.limit)} (from the whole map)"
        return replace(scale(whole, self.quantity, (0.0, self.limit)), words=words)


def by_name(found: CaseMaps, methods: Mapping[str, str]) -> dict[str, Attribution]:
    """The maps of a case by the source's short names, in the order of its panels."""
    own = {one.method: one for one in found.maps}
    return {name: own[methods[name]] for name in TITLES if methods.get(name) in own}


def in_grey(name: str, one: Attribution) -> Shown:
    """A map as the source shows it: magnitudes summed over channels, grey for gradients and jet for Grad-CAM."""
    coarse = one.coarse is not None
    alarm = ", ".join(check.name for check in one.certificate.failures)
    colours = JET if coarse else GREY
    return Shown(
        TITLES[name], joined(one.values), Quantity.SALIENCY, one.unit, alarm=alarm, coarse=coarse, colours=colours
    )


def signed(name: str, one: Attribution) -> Shown:
    """A map in the house's colours, with its signs."""
    return Shown.of(one, TITLES[name])


def of_layer(one: Layer, name: str, *, over_image: bool = False) -> ShownSlice:
    """A layer's slice in the source's look; `over_image` in the house's colours where grey would pass for tissue."""
    values = joined(one.values)
    colours = JET if name == "gcam" else None if over_image else GREY
    return ShownSlice(
        one.name, values, Quantity.SALIENCY, one.unit, colours=colours, low=one.low, high=one.high, limit=one.limit
    )


def write_panels(
    folder: Path,
    names: Mapping[str, str],
    image: Image,
    maps: Mapping[str, Shown],
    labels: Mapping[str, npt.NDArray[Any]],
    **where: Any,
) -> list[Path]:
    """Every panel alone, one pixel a voxel, as the source saves them; `names` is suffix -> file name.

    `maps` are by short name, `labels` (i, j, k) by suffix ('pred', 'truth'); `where` chooses slice and channel as
    `figures_view.view` does.
    """
    shown = dict(maps)
    on = view(image, list(shown.values()), **where)
    painted = dict(zip(shown, scales(list(shown.values())), strict=True))
    grey = on.panel.pixels[..., 0]
    pictures = {name: overlay_pixels(on, one, painted[name], heat_only=True) for name, one in shown.items()}
    if "gcam" in shown:
        wash = scales([shown["gcam"]], opacity=OPACITY)[0]
        pictures["gcam_overlay"] = overlay_pixels(on, shown["gcam"], wash)
    pictures["MRI"] = _grey_pixels(grey)
    for suffix, values in labels.items():
        cut = np.asarray(on.cut.take(values), dtype=np.float32)
        pictures[suffix] = _grey_pixels(cut / max(1.0, float(values.max())))
    written = []
    for suffix, pixels in pictures.items():
        with written_beside(folder / names[suffix]) as beside:
            PIL.Image.fromarray(pixels).save(beside)
        written.append(folder / names[suffix])
    return written


def _grey_pixels(grey: Array) -> npt.NDArray[np.uint8]:
    return np.rint(np.repeat(np.clip(grey, 0, 1).T[..., None], 3, axis=-1) * 255).astype(np.uint8)


def shown_maps(found: Mapping[str, Attribution]) -> Sequence[Shown]:
    """All maps in the source's look, in the order of its panels."""
    return [in_grey(name, one) for name, one in found.items()]
