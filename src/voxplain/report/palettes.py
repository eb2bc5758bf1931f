"""Colours by name: the house's own, and those of the five source studies with their scales, defects left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from voxplain.errors import InputError, unknown
from voxplain.report.display import DIVERGING, DIVERGING_WASH, SEQUENTIAL, Array, Scale, number, scale
from voxplain.types import Quantity

STEPS = 511
"""Colours in a two-sided palette; odd, so that zero has one of its own."""

CLIP = 0.01
"""Share of the nonzero voxels on either side that may lie beyond the limits: what the pumpkin study meant."""


@dataclass(frozen=True)
class Palette:
    """Colours of one name."""

    colours: Colormap
    signed: bool
    """True for two-sided colours whose middle is zero: warm for, cold against."""
    source: str
    """Who uses it."""


def _anchored(name: str, anchors: Sequence[tuple[float, str]]) -> Colormap:
    return LinearSegmentedColormap.from_list(name, list(anchors), N=STEPS)


PALETTES: Mapping[str, Palette] = {
    "diverging": Palette(DIVERGING, True, "Voxplain, signed maps"),
    "sequential": Palette(SEQUENTIAL, False, "Voxplain, unsigned maps"),
    "black_fire_red": Palette(
        # Each primary colour is ramped up after the other: black, red, yellow, white, and black, blue, cyan, white.
        _anchored(
            "black_fire_red",
            [(0, "#ffffff"), (0.25, "#00ffff"), (0.375, "#0000ff"), (0.5, "#000000"),
             (0.625, "#ff0000"), (0.75, "#ffff00"), (1, "#ffffff")],
        ),
        True,
        "pumpkin study, relevance",
    ),
    "red_white_blue": Palette(
        _anchored(
            "red_white_blue",
            [(0, "#0b3c8c"), (0.25, "#5b8fd6"), (0.5, "#ffffff"), (0.75, "#e0705c"), (1, "#8c0d1c")],
        ),
        True,
        "Xception study, LIME weights",
    ),
    "red_blue": Palette(
        _anchored("red_blue", [(0, "#0a6fd8"), (0.5, "#b9a7c9"), (1, "#e8174f")]), True, "SHAP image rows"
    ),
    "parula_like": Palette(
        # Own anchors: lightness rises all the way from dark blue over teal and olive to yellow.
        _anchored("parula_like", [(0, "#2d2a86"), (0.2, "#1f62c4"), (0.42, "#1795b4"), (0.62, "#5cb37d"),
                                  (0.82, "#d3b843"), (1, "#f8f32f")]),
        False,
        "myopathy study, occlusion and ensemble",
    ),
    "viridis": Palette(colormaps["viridis"], False, "Xception study, Grad-CAM"),
    "jet": Palette(colormaps["jet"], False, "NeuroXAI, chest view: CAM; not uniform, it draws edges of its own"),
    "grey": Palette(colormaps["gray"], False, "NeuroXAI, gradients"),
    "bone": Palette(colormaps["bone"], False, "NeuroXAI, gradients laid over the image"),
    "gist_heat": Palette(colormaps["gist_heat"], False, "pumpkin study, images"),
}  # fmt: skip
"""Every palette by name."""


@dataclass(frozen=True, eq=False)
class Wash(Scale):
    """The same opacity everywhere: colours laid over an image as most tools do."""

    opacity: float = 0.5
    bare_zero: bool = False
    """Exact zeros, such as voxels that a rule cut away, leave the image bare."""

    def __call__(self, values: npt.ArrayLike) -> Array:
        rgba = super().__call__(values)
        rgba[..., 3] = 0 if self.blank else self.opacity
        if self.bare_zero:
            rgba[..., 3] *= np.asarray(values) != 0
        return rgba


@dataclass(frozen=True, eq=False)
class Stepped(Wash):
    """Whole numbers, such as levels or votes, that its bar counts."""


@dataclass(frozen=True, eq=False)
class Fire(Scale):
    """Black-fire-red: opacity is a power of strength, so that near-black colours of weak relevance let tissue through.

    The ends are white on both sides, so the bar beside a map of this scale counts.
    """

    intensifier: float = 1.0
    """Colours are multiplied by this and cut at 1."""
    gamma: float = 0.5
    """Opacity is strength to this power."""
    true_scale: bool = True
    """The bar counts in the map's unit; false: in shares of the limit, from -1 to 1."""

    def __call__(self, values: npt.ArrayLike) -> Array:
        rgba = super().__call__(values)
        if self.blank or self.high <= 0:
            return rgba
        known = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=self.high, neginf=-self.high)
        rgba[..., :3] = np.clip(rgba[..., :3] * self.intensifier, 0, 1)
        rgba[..., 3] = np.clip(np.abs(known) / self.high, 0, 1) ** self.gamma
        return rgba


def palette(name: str) -> Palette:
    """The palette of a name; raises OptionError with a suggestion for an unknown one."""
    if name not in PALETTES:
        raise unknown("palette", name, PALETTES)
    return PALETTES[name]


def painted(
    values: Array,
    quantity: Quantity,
    *,
    colours: str | None = None,
    opacity: float | None = None,
    limits: Sequence[float] | None = None,
    known: Scale | None = None,
) -> Scale:
    """Colours, opacity and limits of a map: they follow from its quantity unless a palette is named.

    `opacity` from 0 to 1 is the same everywhere; left out, it grows with the strength. Raises InputError for a palette
    whose sides do not fit the quantity (a signed map in one-sided colours would hide what speaks against).
    """
    base = known if known is not None and limits is None else scale(values, quantity, limits)
    if opacity is not None and not 0 < opacity <= 1:
        raise InputError(f"opacity must be more than 0 and at most 1, got {opacity}")
    if colours is not None:
        chosen = palette(colours)
        if chosen.signed != quantity.signed:
            sides, wanted = ("two", "signed") if chosen.signed else ("one", "unsigned")
            raise InputError(
                f"palette {colours!r} has {sides} side{'s' * chosen.signed} and must be for a map that is {wanted}, "
                f"got {quantity.value}"
            )
        base = _changed(base, colours=chosen.colours)
    if opacity is None:
        return base
    if colours is None and quantity.signed:
        base = _changed(base, colours=DIVERGING_WASH)
    return Wash(**_entries(base), opacity=opacity)


def fire(
    values: Array,
    *,
    clip: float = CLIP,
    weaker_side: bool = False,
    intensifier: float = 1.0,
    gamma: float = 0.5,
    true_scale: bool = True,
    limits: Sequence[float] | None = None,
) -> Fire:
    """Black-fire-red colours of a signed relevance map, with symmetric limits.

    The limit leaves a share `clip` of the nonzero voxels beyond it on the stronger side, or on the weaker one with
    `weaker_side`; `limits` fixes it. The study's own pictures have clip=0.0001, intensifier=5 and gamma=0.2, which
    colour nearly every voxel that is not 0. Raises InputError for options out of range.
    """
    if not 0 <= clip < 0.5:
        raise InputError(f"clip must be at least 0 and below 0.5, got {clip}")
    for name, value in (("intensifier", intensifier), ("gamma", gamma)):
        if value <= 0:
            raise InputError(f"{name} must be more than 0, got {value}")
    base = scale(values, Quantity.RELEVANCE, limits)
    if limits is None:
        base = _clipped(base, values, clip, weaker_side)
    options = {"intensifier": intensifier, "gamma": gamma, "true_scale": true_scale}
    return Fire(**{**_entries(base), "colours": PALETTES["black_fire_red"].colours, **options})


def _clipped(base: Scale, values: Array, clip: float, weaker_side: bool) -> Scale:
    present = values[np.isfinite(values) & (values != 0)]
    if base.blank or not present.size:
        return base
    low, high = (float(end) for end in np.quantile(present, (clip, 1 - clip)))
    sides = max(-low, 0.0), max(high, 0.0)
    limit = min(sides) if weaker_side else max(sides)
    if limit == 0:
        raise InputError("weaker_side needs a map with values on both sides of 0, got a one-sided one")
    words = f"colour limits ±{number(limit)} ({100 * clip:g} % of the nonzero voxels beyond on either side)"
    return _changed(base, low=-limit, high=limit, words=words)


def stepped(values: Array, highest: int, *, colours: str = "parula_like", opacity: float = 0.5) -> Stepped:
    """Colours of whole numbers from 0 to `highest`; raises InputError for other values, as these would lie."""
    if highest < 1:
        raise InputError(f"highest must be at least 1, got {highest}")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > highest or bool(np.any(values != np.rint(values))):
        raise InputError(f"values must be whole numbers from 0 to {highest}, got {number(low)} to {number(high)}")
    blank = "" if high > 0 else "0 everywhere"
    words = f"colours 0 to {highest} in whole steps"
    base = Scale(0.0, float(highest), palette(colours).colours, words, (low, high), blank)
    return Stepped(**_entries(base), opacity=opacity, bare_zero=True)


def shared_limits(maps: Sequence[Array], quantity: Quantity) -> tuple[float, float]:
    """Colour limits (low, high) for several maps of one quantity: those of the strongest map.

    Raises InputError where all of them are 0: no colour could tell them apart.
    """
    if not maps:
        raise InputError("shared limits must have at least one map, got none")
    return widest([scale(one, quantity) for one in maps])


def widest(known: Sequence[Scale]) -> tuple[float, float]:
    """The limits that hold all of the given scales; raises InputError where none of them may be shown."""
    shown = [one for one in known if not one.blank]
    if not shown:
        raise InputError("shared limits must have a map that is not constant, got none")
    return min(one.low for one in shown), max(one.high for one in shown)


def _entries(base: Scale) -> dict[str, Any]:
    return {entry.name: getattr(base, entry.name) for entry in fields(Scale)}


def _changed(base: Scale, **entries: Any) -> Scale:
    return Scale(**{**_entries(base), **entries})
