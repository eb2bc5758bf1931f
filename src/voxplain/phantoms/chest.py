"""Chest films from the back (PA) and from the side, with a letter near the border as an optional shortcut."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np

from voxplain.data.image import Image
from voxplain.phantoms.base import Array, Cell, Sample, Simulation, dealt, generator, label_picture, picture
from voxplain.phantoms.head import within
from voxplain.phantoms.waves import Waves

CLASSES = ("pa", "lateral")

LUNG, HEART, MARKER = 1, 2, 3
"""Labels of the mask."""

LETTER = np.array(["X....", "X....", "X....", "X....", "X....", "X....", "XXXXX"])
"""The letter L that marks the patient's left, as films have it."""


@dataclass(frozen=True)
class Chest(Simulation):
    """Films of the chest in two views; `marker` gives each view the chance of a bright letter near the border."""

    name: ClassVar[str] = "chest"
    title: ClassVar[str] = "chest films, PA and lateral, with an optional marker as planted shortcut"
    labels: ClassVar[tuple[str, ...]] = CLASSES
    mask_labels: ClassVar[tuple[str, ...]] = ("lung", "heart", "marker")
    shares: ClassVar[tuple[tuple[str, float], ...]] = (("train", 0.7), ("test", 0.3))

    side: int = 227
    """Pixels of the square film's side."""
    marker: tuple[float, float] = (0.0, 0.0)
    """Probability of the marker on PA and on lateral films."""
    noise: float = 0.012
    """Deviation of the grain, as a share of white."""

    def _check(self) -> None:
        self._require(64 <= self.side <= 1024, "side", "from 64 to 1024 pixels")
        self._require(all(0 <= one <= 1 for one in self.marker), "marker", "two probabilities from 0 to 1")
        self._require(0 <= self.noise <= 0.5, "noise", "from 0 to 0.5")

    def sample(self, number: int, seed: int) -> Sample:
        """Film `number`; everything but the marker's pixels is the same with and without it."""
        draw = generator(seed, "sample", number)
        view = dealt(2, number, seed)
        film, mask = (_front if view == 0 else _side)(_canvas(self.side), draw)
        film = film + self.noise * draw.standard_normal(film.shape)
        marked, spot = bool(draw.random() < self.marker[view]), _marker_spot(self.side, draw)
        if marked:
            film[spot], mask[spot] = (
                np.where(_letter(spot), 0.99, film[spot]),
                np.where(_letter(spot), MARKER, mask[spot]),
            )
        identifier = f"{CLASSES[view]}-{number:04d}"
        truth: dict[str, Cell] = {"marker": int(marked), "marker_row": spot[0].start, "marker_column": spot[1].start}
        image, labels = picture(film, identifier), label_picture(mask, identifier)
        return Sample(identifier, image, labels, CLASSES[view], identifier, truth)

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """Folders named by label, as the study has them."""
        name = f"{sample.label}/{sample.identifier}.png"
        return {
            "image": (PurePosixPath("films", name), sample.image),
            "mask": (PurePosixPath("masks", name), sample.mask),
        }


def _canvas(side: int) -> Array:
    """Rows and columns (2, side, side) from -1 to 1."""
    return np.asarray((np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2))


def _over(film: Array, brightness: Array | float, cover: Array) -> Array:
    return np.asarray(film + cover * (brightness - film))


def _dome(distance: Array) -> Array:
    """Thickness of a round body across which rays pass, from 0 at its rim to 1."""
    return np.asarray(np.sqrt(np.clip(distance, 0, 1)))


def _posed(canvas: Array, draw: np.random.Generator) -> Array:
    """The canvas as this patient stands before it: leaning by some degrees, off the middle, tall or short."""
    lean, (down, right), tall = draw.normal(0, 0.04), draw.normal(0, 0.03, 2), draw.uniform(0.93, 1.07)
    turned = np.stack(
        [
            canvas[0] * np.cos(lean) - canvas[1] * np.sin(lean),
            canvas[0] * np.sin(lean) + canvas[1] * np.cos(lean),
        ]
    )
    return np.asarray(turned / np.reshape([tall, 1.0], (2, 1, 1)) + np.reshape([down, right], (2, 1, 1)))


def _front(canvas: Array, draw: np.random.Generator) -> tuple[Array, Array]:
    """A PA film (rows, columns) and its mask."""
    rows, columns = _posed(canvas, draw)
    soft, wide = 0.03, draw.uniform(0.90, 1.08)
    across = columns / wide
    film = _trunk(rows, across, soft, draw)
    floor = np.where(across < 0, 0.42, 0.48) + draw.normal(0, 0.03) + 0.9 * (np.abs(across) - 0.34) ** 2 * 3
    half = 0.30 - 0.10 * np.clip(-rows - 0.15, 0, 1) * 1.6
    away = ((np.abs(across) - 0.37) / half) ** 2 + ((rows + 0.12) / 0.66) ** 2
    lung = np.minimum(0.28 * (1 - away), floor - rows)
    film = _over(film, 0.24 + 0.10 * np.clip(rows + 0.6, 0, 1), within(lung, soft) * 0.92)
    film = film + within(lung, 0.08) * _vessels(canvas, [(-0.05, -0.16), (-0.05, 0.18)], draw)
    heart = _heart(rows, across, draw)
    film = _over(film, 0.80, 0.88 * within(heart, 0.05) * within(floor + 0.1 - rows, 0.1))
    middle = within(0.115 + 0.03 * np.clip(rows, 0, 1) - np.abs(across), 0.07)
    film = _over(film, 0.80, 0.85 * middle)
    film = film + _ribs_front(rows, across, lung) + _spine_front(rows, across) + _collar(rows, across)
    mask = np.where(lung > 0, LUNG, 0)
    mask = np.where((heart > 0) & (rows < floor), HEART, mask)
    return _exposed(film, canvas, draw), mask.astype(np.uint8)


def _trunk(rows: Array, across: Array, soft: float, draw: np.random.Generator) -> Array:
    """Shoulders, chest wall, belly and arms over the dark of the film."""
    flank = 0.80 + 0.04 * np.sin(2.5 * rows) + 0.02 * draw.standard_normal()
    shoulder = rows - (-0.82 + 0.42 * np.clip(np.abs(across) - 0.22, 0, 1) ** 1.3)
    neck = 0.22 - np.abs(across)
    film = np.full(rows.shape, 0.03)
    chest = np.minimum(flank - np.abs(across), shoulder)
    film = _over(film, 0.40 + 0.34 * _dome(1 - (across / 0.85) ** 2), within(np.maximum(chest, neck), soft))
    arm = np.minimum(0.17 - np.abs(np.abs(across) - 0.98 - 0.06 * rows), shoulder)
    film = _over(film, 0.46, within(arm, soft) * within(0.75 - rows, 0.2))
    humerus = np.minimum(0.05 - np.abs(np.abs(across) - 0.96 - 0.06 * rows), rows + 0.52)
    film = film + 0.22 * within(humerus, soft)
    belly = _over(film, 0.86, 0.9 * within(rows - 0.30, 0.5) * within(flank - 0.03 - np.abs(across), 0.08))
    return np.asarray(belly)


def _heart(rows: Array, across: Array, draw: np.random.Generator) -> Array:
    """Inside positive: a tilted oval towards the patient's left (right in the film), and the arch above."""
    size = draw.uniform(0.9, 1.12)
    turned = 0.82 * (across - 0.13) + 0.42 * (rows - 0.22)
    upright = -0.42 * (across - 0.13) + 0.82 * (rows - 0.22)
    oval = 1 - (turned / (0.31 * size)) ** 2 - (upright / (0.25 * size)) ** 2
    arch = 1 - ((across - 0.11) / 0.085) ** 2 - ((rows + 0.34) / 0.10) ** 2
    return np.asarray(np.maximum(0.2 * oval, 0.07 * arch))


def _ribs_front(rows: Array, across: Array, lung: Array) -> Array:
    """Ten pairs of ribs: behind they fall outwards, in front they rise towards the flank."""
    total = np.zeros(rows.shape)
    out = np.abs(across)
    cage = within(0.72 - out, 0.05) * within(out - 0.08, 0.05)
    for number in range(10):
        top = -0.86 + 0.128 * number
        behind = rows - (top + 0.05 + 0.34 * np.clip(out - 0.1, 0, 1) ** 1.5 - 0.16 * out)
        before = rows - (top + 0.40 - 0.42 * np.clip(out - 0.22, 0, 1))
        total += 0.085 * cage * _band(behind, 0.026) * within(out * 0 + 0.62 - rows, 0.2)
        total += 0.045 * cage * _band(before, 0.030) * within(lung, 0.05)
    return np.asarray(total)


def _band(distance: Array, half: float) -> Array:
    """A flat tube: brighter along its edges, as bone is."""
    inside = within(half - np.abs(distance), 0.018)
    return np.asarray(inside * (0.75 + 0.25 * np.clip(np.abs(distance) / half, 0, 1) ** 2))


def _spine_front(rows: Array, across: Array) -> Array:
    discs = 0.5 + 0.5 * np.cos(2 * np.pi * rows / 0.125)
    return np.asarray(within(0.07 - np.abs(across), 0.03) * (0.02 + 0.045 * discs))


def _collar(rows: Array, across: Array) -> Array:
    """Collar bones, and the inner edges of the shoulder blades."""
    out = np.abs(across)
    bones = (
        _band(rows - (-0.56 - 0.26 * out + 0.12 * np.sin(5 * out)), 0.028)
        * within(out - 0.08, 0.05)
        * within(0.78 - out, 0.05)
    )
    blades = _band(out - 0.66 - 0.18 * (rows + 0.1), 0.02) * within(0.18 - np.abs(rows + 0.28), 0.1)
    return np.asarray(0.16 * bones + 0.07 * blades)


def _vessels(canvas: Array, roots: list[tuple[float, float]], draw: np.random.Generator) -> Array:
    """Branches that fade away from the roots of the lungs."""
    net = np.exp(-((Waves.draw(0.20, draw, axes=2).at(canvas) / 0.28) ** 2))
    fine = np.exp(-((Waves.draw(0.09, draw, axes=2).at(canvas) / 0.3) ** 2))
    near = sum(np.exp(-(((canvas[0] - row) ** 2 + (canvas[1] - column) ** 2) / 0.09)) for row, column in roots)
    return np.asarray(near * (0.06 + 0.16 * net + 0.06 * fine) + 0.035 * fine)


def _side(canvas: Array, draw: np.random.Generator) -> tuple[Array, Array]:
    """A lateral film: chest to the left, spine to the right, arms raised."""
    rows, columns = _posed(canvas, draw)
    deep, soft = draw.uniform(0.90, 1.10), 0.03
    along = columns / deep
    front = -0.60 - draw.uniform(0.08, 0.20) * np.sin(1.6 * (rows + 0.5)) + 0.14 * np.clip(-rows - 0.45, 0, 1) * 2
    back = 0.64 + draw.uniform(0.06, 0.18) * np.cos(1.7 * (rows + 0.15))
    body = np.minimum(along - front, back - along)
    film = _over(np.full(rows.shape, 0.03), 0.50 + 0.16 * _dome(body / 0.6), within(body, soft))
    raised = within(0.34 - np.abs(along + 0.02 - 0.25 * (rows + 1)), 0.10) * within(-0.60 - rows, 0.25)
    film = _over(film, 0.76, raised)
    floor = 0.50 - 0.28 * np.exp(-(((along + 0.12) / 0.36) ** 2)) + draw.normal(0, 0.03)
    lung = np.minimum(np.minimum(along - front - 0.10, back - 0.16 - along), np.minimum(floor - rows, rows + 0.82))
    lung = np.minimum(lung, 0.5 * (1.0 - ((along - 0.02) / 0.62) ** 2 - ((rows + 0.1) / 0.80) ** 2))
    film = _over(film, 0.30 + 0.10 * np.clip(-rows, 0, 1), 0.85 * within(lung, 0.05))
    film = film + within(lung, 0.08) * 0.8 * _vessels(canvas, [(-0.10, 0.02)], draw)
    heart = np.minimum(_heart_side(rows, along, draw), floor + 0.05 - rows)
    film = _over(film, 0.74, 0.8 * within(heart, 0.06))
    film = _over(film, 0.88, 0.9 * within(rows - floor, 0.05) * within(body - 0.04, 0.08))
    film = film + _bones_side(rows, along, front, back, body)
    mask = np.where(lung > 0, LUNG, 0)
    mask = np.where(heart > 0, HEART, mask)
    return _exposed(film, canvas, draw), mask.astype(np.uint8)


def _heart_side(rows: Array, along: Array, draw: np.random.Generator) -> Array:
    """Inside positive: an oval low in front."""
    size = draw.uniform(0.9, 1.12)
    turned = 0.8 * (along + 0.27) + 0.5 * (rows - 0.24)
    upright = -0.5 * (along + 0.27) + 0.8 * (rows - 0.24)
    return np.asarray(0.2 * (1 - (turned / (0.30 * size)) ** 2 - (upright / (0.27 * size)) ** 2))


def _bones_side(rows: Array, along: Array, front: Array, back: Array, body: Array) -> Array:
    """Vertebrae with dark discs, breastbone, and ribs that fall forwards."""
    behind = back - 0.22 - along
    discs = within(np.cos(2 * np.pi * rows / 0.145) + 0.75, 0.5)
    spine = within(0.085 - np.abs(behind), 0.03) * (0.05 + 0.12 * discs)
    breast = 0.14 * _band(along - front - 0.055, 0.03) * within(0.42 - np.abs(rows + 0.22), 0.1)
    ribs = np.zeros(rows.shape)
    for number in range(9):
        fall = rows - (-0.80 + 0.15 * number + 0.55 * np.clip(back - 0.15 - along, 0, 2) ** 1.2 * 0.8)
        ribs += 0.05 * _band(fall, 0.024) * within(body - 0.06, 0.05) * within(0.60 - rows, 0.2)
    return np.asarray(spine * (1 - 0.8 * within(rows - 0.45, 0.3)) + breast + ribs * (1 - within(rows - 0.4, 0.3)))


def _exposed(film: Array, canvas: Array, draw: np.random.Generator) -> Array:
    """The film with the exposure and contrast of its day."""
    uneven = 0.03 * Waves.draw(2.5, draw, axes=2).at(canvas)
    return np.asarray(np.clip(film * draw.uniform(0.92, 1.06) + uneven * film, 0, 0.97))


def _marker_spot(side: int, draw: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of the letter: in an upper corner, near the border."""
    step = max(side // 90, 1)
    high, wide = LETTER.size * step, len(str(LETTER[0])) * step
    row = int(draw.integers(round(0.04 * side), round(0.10 * side)))
    column = int(draw.integers(round(0.03 * side), round(0.08 * side)))
    column = side - column - wide if draw.random() < 0.5 else column
    return slice(row, row + high), slice(column, column + wide)


def _letter(spot: tuple[slice, slice]) -> Array:
    """True where the letter is bright, for the pixels of its spot."""
    strokes = np.array([[one == "X" for one in str(line)] for line in LETTER])
    step = (spot[0].stop - spot[0].start) // len(LETTER)
    return np.asarray(np.kron(strokes, np.ones((step, step), dtype=bool)).astype(bool))
