"""How voxels become colours: the grey window of an image, the colours and limits of a map, and their blend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import FLAT
from voxplain.errors import InputError, unknown
from voxplain.report.noise import noise_words
from voxplain.report.percentiles import percentiles_of_positive
from voxplain.types import Quantity

Array = npt.NDArray[np.float32]

SOFT_TISSUE_HU = (-160.0, 240.0)
"""The usual abdominal window, level 40 and width 400."""

GREY_PERCENTILES = (1.0, 99.0)
"""Where black and white lie on images without a physical unit: robust to single bright voxels."""

LIMIT_PERCENTILE = 99.9
"""Where full colour is reached: one voxel in a thousand may be stronger without washing out the rest."""

ROUNDING_LOGITS = 1e-6
"""Score units whose absolute values sum to less than this are rounding of a float32 score of order one."""

STRONGEST_ALPHA = 0.85
"""Opacity at the limits; below it, opacity falls in proportion, so that weak evidence cannot hide anatomy."""

DIMMED = 0.65
"""How bright the image is below a map: sparse voxel-fine maps would drown in white tissue, which is shown beside it."""

# Lightness rises with strength on both sides (blue to cyan, red to orange), so that strong evidence glows on a dark
# scan; blue against red-orange stays apart in all common colour blindness.
_COLD = ("#6fd0ff", "#2f8fff", "#1d4ed8")
_HOT = ("#cc1f1a", "#ff5a2a", "#ffb057")
DIVERGING = LinearSegmentedColormap.from_list("voxplain_diverging", [*_COLD, *_HOT], N=256)
# Where every voxel is coloured alike strongly, zero must have a colour that is neither warm nor cold.
DIVERGING_WASH = LinearSegmentedColormap.from_list("voxplain_diverging_wash", [*_COLD, "#4a4a4a", *_HOT], N=255)
SEQUENTIAL: Colormap = colormaps["inferno"]


@dataclass(frozen=True)
class GreyWindow:
    """Which intensities are black and white."""

    low: float
    high: float
    words: str
    """The window as the caption says it."""

    def __call__(self, values: npt.ArrayLike) -> Array:
        """Intensities as grey from 0 to 1."""
        span = max(self.high - self.low, float(np.finfo(np.float32).tiny))
        return np.asarray(np.clip((np.asarray(values, dtype=np.float32) - self.low) / span, 0, 1), dtype=np.float32)


def grey_window(values: Array, unit: str, given: Sequence[float] | None = None) -> GreyWindow:
    """The window of one channel: as given, soft tissue for HU, else percentiles of the voxels that are not 0."""
    if given is not None:
        if len(given) != 2 or not given[0] < given[1]:
            raise InputError(f"window must be (low, high) with low below high, got {tuple(given)}")
        return _window(float(given[0]), float(given[1]), unit, "as asked")
    if unit == "HU":
        return _window(*SOFT_TISSUE_HU, unit, "soft tissue")
    body = _finite(values)
    if not body.any():
        return _window(0.0, 1.0, unit, "image is 0 everywhere")
    if body.min() < 0:
        low, high = (float(value) for value in np.percentile(body[body != 0], GREY_PERCENTILES))
    else:
        low, high = percentiles_of_positive(body, GREY_PERCENTILES)
    if low >= high:
        low, high = low - 0.5, low + 0.5
    return _window(low, high, unit, "1st to 99th percentile of nonzero voxels")


def _window(low: float, high: float, unit: str, why: str) -> GreyWindow:
    return GreyWindow(low, high, f"grey window {number(low)} to {number(high)} ({unit}, {why})")


@dataclass(frozen=True, eq=False)
class Scale:
    """How the values of a map become colour and opacity."""

    low: float
    high: float
    colours: Colormap
    words: str
    """Where the limits lie, as the caption says it."""
    raw: tuple[float, float]
    """Smallest and largest value of the map."""
    blank: str = ""
    """Why nothing may be laid over the image; empty where something may."""
    doubt: str = ""
    """Why what is laid over it may be no evidence; empty where nothing says so."""

    def __call__(self, values: npt.ArrayLike) -> Array:
        """Values as red, green, blue and opacity (..., 4), each from 0 to 1."""
        numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=self.high, neginf=self.low)
        span = self.high - self.low
        if self.blank or span <= 0:
            return np.zeros((*numbers.shape, 4), dtype=np.float32)
        rgba = np.asarray(self.colours(np.clip((numbers - self.low) / span, 0, 1)), dtype=np.float32)
        strength = np.abs(numbers) / self.high if self.low < 0 else (numbers - self.low) / span
        rgba[..., 3] = STRONGEST_ALPHA * np.clip(strength, 0, 1)
        return rgba


def scale(values: Array, quantity: Quantity, limits: Sequence[float] | None = None) -> Scale:
    """Colours and limits of a map: they follow from its quantity, never from a guess at its values.

    Signed quantities get diverging colours with symmetric limits, the others sequential ones from 0; mask
    probabilities always run from 0 to 1. A constant map gets no colours at all.
    """
    finite = _finite(values)
    raw = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    low, high, words = _given(limits, quantity) if limits is not None else _limits(finite, quantity)
    colours, blank = DIVERGING if quantity.signed else SEQUENTIAL, _blank(finite, quantity, raw)
    return Scale(low, high, colours, words, raw, blank, "" if blank else noise_words(values))


def _finite(values: Array) -> Array:
    """The values that are finite; all of them as they are, without a copy, where none is not."""
    if values.size and np.isfinite(values.min()) and np.isfinite(values.max()):  # NaN wins in both
        return values
    return values[np.isfinite(values)]


def _given(limits: Sequence[float], quantity: Quantity) -> tuple[float, float, str]:
    low, high = (float(limit) for limit in limits) if len(limits) == 2 else (0.0, 0.0)
    if not low < high:
        raise InputError(f"limits must be (low, high) with low below high, got {tuple(limits)}")
    if quantity.signed and low != -high:
        raise InputError(f"limits must be (-a, a) for {quantity.value}, got {tuple(limits)}")
    return low, high, f"colour limits {number(low)} to {number(high)} as asked"


def _limits(finite: Array, quantity: Quantity) -> tuple[float, float, str]:
    if quantity is Quantity.MASK:
        return 0.0, 1.0, "colour limits 0 to 1"
    (high,) = percentiles_of_positive(np.abs(finite) if quantity.signed else finite, (LIMIT_PERCENTILE,))
    words = f"{LIMIT_PERCENTILE:g}th percentile of nonzero values"
    if quantity.signed:
        return -high, high, f"colour limits ±{number(high)} ({words} by magnitude)"
    return 0.0, high, f"colour limits 0 to {number(high)} ({words})"


def _blank(finite: Array, quantity: Quantity, raw: tuple[float, float]) -> str:
    if finite.size == 0:
        return "no finite value in the map"
    if raw[1] - raw[0] <= FLAT * max(abs(raw[0]), abs(raw[1])):
        return f"constant map ({number(raw[0])} everywhere)"
    if not quantity.signed and raw[1] <= 0:
        return f"no positive value in the map (largest is {number(raw[1])})"
    if quantity.adds_up and (total := float(np.abs(finite).sum(dtype=np.float64))) < ROUNDING_LOGITS:
        return f"only rounding noise (absolute values sum to {number(total)})"
    return ""


def blend(grey: Array, colour: Array) -> Array:
    """Grey (...) from 0 to 1 under colours (..., 4), each from 0 to 1: red, green, blue (..., 3)."""
    alpha = colour[..., 3:]
    return np.asarray(grey[..., None] * (1 - alpha) + colour[..., :3] * alpha, dtype=np.float32)


def one_map(attribution: Attribution, channel: str | None = None) -> tuple[Array, str]:
    """The map (i, j, k) to show and how it came from the channels, in words ('' for a map of one channel)."""
    values, names = attribution.values, attribution.channels
    if values.shape[0] == 1:
        return values[0], ""
    if channel is not None:
        if channel not in names:
            raise unknown("channel", channel, names)
        return values[names.index(channel)], f"map of channel {channel}"
    if attribution.quantity.adds_up:
        return values.sum(axis=0, dtype=np.float64).astype(np.float32), f"sum over {len(names)} channels"
    strongest = np.abs(values).argmax(axis=0)[None]
    return np.take_along_axis(values, strongest, axis=0)[0], f"strongest of {len(names)} channels at each voxel"


def number(value: float) -> str:
    """A number at three significant digits, as captions and tables print it."""
    # Adding 0 turns -0.0, which would read as a negative number, into 0.
    return f"{value + 0.0:.3g}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else str(value)
