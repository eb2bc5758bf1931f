"""Pumpkins that age: the simulator of the brain-age study of Hofmann et al., NeuroImage 261 (2022) 119504.

Rebuilt from a description of its parameters. Both placements below draw from the distribution that the study reached by
trying pixels until one was accepted, without the tries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.ndimage import minimum_filter, uniform_filter

from voxplain.errors import OptionError
from voxplain.phantoms.base import (
    Array,
    Cell,
    Kept,
    Sample,
    Simulation,
    dealt,
    generator,
    label_picture,
    picture,
)

YOUNGEST, OLDEST = 20, 80
"""Years."""

SIDE, CENTRE = 98, 49
"""Pixels of the canvas, and where the pumpkin's middle lies on both axes."""

ADULT = (80.0, 65.0)
"""Height and width in pixels of a grown pumpkin."""

SKIN, GRAIN = 0.8, 0.05
"""Brightness of the flesh and the share by which it varies from pixel to pixel."""

PEAK_SHARE, PEAK_YEARS = 5, 4.0
"""One age in this many comes from the peak around the target bias; its deviation in years."""

LESIONS_FROM, MOST_LESIONS = 40, 40
"""Age at which lesions begin (one a year), and the most of them."""

ATROPHIES_A_YEAR, MOST_ATROPHIES = 5, 400

TRIES = 2001
"""Values that a count is picked from."""

FEW = 5
"""With no value in range, an expectation up to this one gives none, a larger one the most."""

ATROPHY, LESION, TUMOUR = 1, 2, 3
"""Labels of the mask."""

SIZES: dict[str, Callable[[float], tuple[float, float]]] = {
    "human": lambda age: (40 + 2 * min(age, 20.0), 25 + 2 * min(age, 20.0)),
    "eternal": lambda age: (ADULT[0] * age / OLDEST, ADULT[1] * age / OLDEST),
    "tang_ping": lambda age: (100 - age, age),
    "no_growth": lambda age: ADULT,
}
"""Growth mode -> height and width in pixels at an age in years."""


@dataclass(frozen=True)
class Pumpkins(Simulation):
    """Pictures of 98 x 98 pixels of pumpkins whose age, 20 to 80 years, shows in marks or in shape."""

    name: ClassVar[str] = "pumpkins"
    title: ClassVar[str] = "ageing pumpkins: the age is the value to predict, every mark of age is known"
    kept: ClassVar[Kept] = "16-bit"
    mask_labels: ClassVar[tuple[str, ...]] = ("atrophy", "lesion", "tumour")

    growth_mode: Literal["human", "eternal", "tang_ping", "no_growth"] = "human"
    """human: atrophies and lesions; eternal: size; tang_ping: it lies down flatter; no_growth: a tumour brightens."""
    uniform: bool = True
    """Whether ages are spread evenly; if not, every fifth one lies around target_bias."""
    target_bias: float | None = None
    """Centre in years of the extra peak of ages, for uniform=False."""

    def _check(self) -> None:
        if self.uniform and self.target_bias is not None:
            raise OptionError(f"pumpkins: target_bias needs uniform=False, got {self.target_bias} with uniform=True")
        if not self.uniform:
            within = self.target_bias is not None and YOUNGEST <= self.target_bias <= OLDEST
            self._require(within, "target_bias", f"from {YOUNGEST} to {OLDEST} years with uniform=False")

    def sample(self, number: int, seed: int) -> Sample:
        """Pumpkin `number`: ages first, then body, lesions and atrophies."""
        draw = generator(seed, "sample", number)
        age = self._age(number, seed, draw)
        height, width = (size + draw.normal(0, SIZES[self.growth_mode](age)[0] / 20) for size in self._size(age))
        flesh = body(height, width, draw)
        labels = np.zeros(flesh.shape, dtype=np.uint8)
        truth: dict[str, Cell] = {"age": age, "height": round(height, 3), "width": round(width, 3)}
        if self.growth_mode == "human":
            lesions = grow_lesions(flesh, labels, age, draw)
            atrophies = grow_atrophies(flesh, labels, age, draw)
            truth |= {"lesions": len(lesions), "atrophies": len(atrophies)}
            truth |= {"lesion_places": places(lesions), "atrophy_places": places(atrophies)}
        elif self.growth_mode == "no_growth":
            grow_tumour(flesh, labels, age, draw)
        identifier = f"pumpkin-{number:05d}"
        truth["pseudonym"] = pseudonym(draw)
        image = picture(flesh, identifier, bits=16)
        return Sample(identifier, image, label_picture(labels, identifier), str(age), identifier, truth)

    def _size(self, age: int) -> tuple[float, float]:
        return SIZES[self.growth_mode](age)

    def _age(self, number: int, seed: int, draw: np.random.Generator) -> int:
        """Whole years: evenly spread, or one in five from the peak; what falls outside is drawn evenly."""
        if self.uniform or self.target_bias is None:
            return int(draw.integers(YOUNGEST, OLDEST, endpoint=True))
        even = round(draw.uniform(YOUNGEST, OLDEST))
        peak = round(draw.normal(self.target_bias, PEAK_YEARS))
        from_peak = dealt(PEAK_SHARE, number, seed) == 0 and YOUNGEST <= peak <= OLDEST
        return peak if from_peak else even


def body(height: float, width: float, draw: np.random.Generator) -> Array:
    """A grainy ellipse (rows, columns) with a hole whose radii are a fifth of the diameters."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    up, across = (rows - CENTRE) / height, (columns - CENTRE) / width
    radius = up**2 + across**2  # in units of the diameters
    flesh = np.where((radius < 0.5**2) & (radius >= 0.2**2), SKIN, 0.0)
    return np.asarray(np.clip(flesh * (1 - GRAIN * draw.standard_normal(flesh.shape)), 0, 1))


def drawn_count(expected: float, deviation: float, most: int, draw: np.random.Generator) -> int:
    """A count near `expected` within 0 ... most: one of the rounded normal values that lie in that range."""
    values = np.rint(draw.normal(expected, deviation, TRIES)).astype(int)
    kept = values[(values >= 0) & (values <= most)]
    if not len(kept):
        return 0 if expected <= FEW else most
    return int(kept[draw.integers(len(kept))])


def grow_lesions(flesh: Array, labels: Array, age: int, draw: np.random.Generator) -> Array:
    """Brighten 3 x 3 pixels around each lesion; returns the centres (count, row and column), which may repeat.

    A lesion keeps 5 x 5 pixels of flesh around its centre. Lesions never make a pixel zero, so the places open to them
    stay the same and can be drawn at once.
    """
    count = drawn_count(age - LESIONS_FROM, 1.0, MOST_LESIONS, draw)
    free = np.argwhere(minimum_filter(flesh, 5, mode="constant") > 0)
    centres = free[draw.integers(len(free), size=count if len(free) else 0)]
    for (row, column), brighter in zip(centres, draw.normal(0.2, 0.025, len(centres)), strict=True):
        spot = (slice(row - 1, row + 2), slice(column - 1, column + 2))
        flesh[spot] = np.clip(flesh[spot] + brighter, 0, 1)
        labels[spot] = LESION
    return np.asarray(centres)


def grow_atrophies(flesh: Array, labels: Array, age: int, draw: np.random.Generator) -> Array:
    """Take single pixels off both rims; returns them (count, row and column) in their order.

    The chance of a pixel is the share of empty ones among its neighbours: a rim is eaten inwards.
    """
    count = drawn_count(ATROPHIES_A_YEAR * age, 1.5, MOST_ATROPHIES, draw)
    neighbours = np.rint(9 * uniform_filter(np.ones(flesh.shape), 3, mode="constant")) - 1
    empty = np.rint(9 * uniform_filter((flesh == 0).astype(float), 3, mode="nearest"))
    chance = np.where(flesh > 0, empty / neighbours, 0.0)
    taken = []
    for share in draw.random(count):
        total = np.cumsum(chance)
        if total[-1] <= 0:  # nothing is left to take
            break
        row, column = divmod(int(np.searchsorted(total, share * total[-1], side="right")), SIDE)
        near = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
        flesh[row, column], labels[row, column] = 0, ATROPHY
        chance[near] += (flesh[near] > 0) / neighbours[near]
        chance[row, column] = 0
        taken.append((row, column))
    return np.array(taken, dtype=int).reshape(-1, 2)


def grow_tumour(flesh: Array, labels: Array, age: int, draw: np.random.Generator) -> None:
    """A block in the middle of the upper arc whose brightness is the age as a share of the oldest."""
    column = np.flatnonzero(flesh[:CENTRE, CENTRE])
    top, bottom = int(column[0]), int(column[-1])
    thick = bottom - top
    block = (slice(top + thick // 10, bottom - thick // 10), slice(CENTRE - thick // 3, CENTRE + thick // 3))
    flesh[block] = np.clip(draw.normal(0, 0.025) + age / OLDEST + draw.normal(0, 0.025), 0, 1)
    labels[block] = TUMOUR


def places(centres: Array) -> str:
    """Rows and columns as text: 'column:row column:row ...', in the order in which they came."""
    return " ".join(f"{column}:{row}" for row, column in centres)


def pseudonym(draw: np.random.Generator) -> str:
    """PH, three letters and nine digits."""
    letters = "".join(chr(ord("A") + int(one)) for one in draw.integers(0, 26, 3))
    return f"PH{letters}{int(draw.integers(0, 10**9)):09d}"
