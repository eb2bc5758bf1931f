"""A made-up person's head as tissues: the head phantom with skull base, face and neck, in any plane or volume.

Unlike a noise drawn on the voxels, everything here is a function of the place in the head: slices in three planes and
volumes of any size show the same furrows.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from voxplain.phantoms.head import Head, softness, within
from voxplain.phantoms.waves import Field, Waves
from voxplain.space.grid import Grid

TISSUES = ("air", "fat", "bone", "fluid", "grey", "white", "muscle", "mucosa")

FISSURE_MM, FURROW_MM = 26.0, 15.0
"""Depth of the cleft between the halves of the brain and of the furrows."""

FRONT_BASE, MIDDLE_BASE, BACK_BASE = -22.0, -42.0, -62.0
"""Height z in mm of the floor under the frontal lobes, the temporal lobes and the cerebellum."""


@dataclass(frozen=True, eq=False)
class Person:
    """One head and the random fields that fold and mottle it."""

    head: Head
    folds: Waves
    leaves: Waves
    """The fine furrows of the cerebellum."""
    mottle: Waves

    @classmethod
    def draw(cls, draw: np.random.Generator) -> Self:
        """A random person."""
        head = Head.draw(draw)
        return cls(head, Waves.draw(17.0, draw), Waves.draw(7.0, draw), Waves.draw(9.0, draw))

    def on(self, grid: Grid) -> "Tissues":
        """The tissues of this person at the voxels of `grid`."""
        anatomy, soft = self.head.on(grid), softness(grid)
        places = anatomy.places.astype(np.float32)
        below_skin = np.maximum(anatomy.below_skin, _below_face(places)).astype(np.float32)
        to_bone = anatomy.below_skin - self.head.scalp_mm - self.head.skull_mm
        below_brain = np.minimum(to_bone - self.head.fluid_mm, places[2] - _floor(places)).astype(np.float32)
        tissues = Tissues(places, below_skin, below_brain, anatomy.to_ventricle.astype(np.float32), soft, {})
        tissues.shares["air"] = np.ones(grid.shape, np.float32)
        self._cover(tissues)
        self._face(tissues)
        self._skull(tissues, anatomy.below_skin.astype(np.float32))
        self._brain(tissues)
        return tissues

    def _cover(self, tissues: "Tissues") -> None:
        tissues.put("fat", within(tissues.below_skin, tissues.soft))
        tissues.put("muscle", within(tissues.below_skin - self.head.scalp_mm, tissues.soft))

    def _face(self, tissues: "Tissues") -> None:
        """Muscle and fat below the skull, eyes, nose and sinuses; jaw and spine as bone."""
        x, y, z = tissues.places
        side = np.abs(x)
        streaks = self.mottle.at(tissues.places)
        under = within(FRONT_BASE + 4 - z, 6.0)
        tissues.put("fat", 0.42 * under * within(streaks - 0.3, 2.0) * within(tissues.below_skin, tissues.soft))
        tissues.put("fat", within(18 - _far(side - 29, y - 46, z + 27), 3.0))
        tissues.put("muscle", within(3 - _far(side - 26, 0.15 * (y - 36), z + 27), 2.0))
        tissues.put("fluid", within(11.5 - _far(side - 30, y - 55, z + 27), tissues.soft))
        tissues.put("air", within(12 - _far(side - 27, 0.8 * (y - 48), 0.8 * (z + 56)), 2.0))
        nose = within(13 - _far(1.1 * x, 0.42 * (y - 52), 0.6 * (z + 50)), 2.0)
        tissues.put("air", nose)
        shells = np.cos(2 * np.pi * (z + 50 + 0.4 * side) / 13) - 0.15
        tissues.put("mucosa", nose * np.maximum(within(shells, 0.5), within(1.2 - side, 1.0)))
        tissues.put(
            "bone", within(2.5 - np.abs(_far(0.8 * x, 0.72 * (y - 30), 0 * z) - 36), 2.0) * within(-72 - z, 4.0)
        )
        spine = within(11 - _far(x, y + 6, 0 * z), 2.0) * within(-58 - z, 3.0)
        tissues.put("bone", spine)
        tissues.put("mucosa", spine * within(np.cos(2 * np.pi * z / 19) + 0.55, 0.4))

    def _skull(self, tissues: "Tissues", below_skin: Field) -> None:
        """The shell of bone around the brain, its floor, the sphenoid's air cell and the fluid inside."""
        x, y, z = tissues.places
        to_floor = z - _floor(tissues.places)
        shell = np.minimum(below_skin - self.head.scalp_mm, to_floor + 9)
        tissues.put("bone", within(shell, tissues.soft))
        marrow = np.minimum(shell - 1.8, 4.2 - below_skin + self.head.scalp_mm)
        tissues.put("mucosa", 0.5 * within(marrow, tissues.soft))
        tissues.put("air", within(11 - _far(x, 0.85 * (y - 24), 0.9 * (z + 38)), 2.0))
        tissues.put("mucosa", within(8 - _far(1.2 * x, 0.8 * (y + 2), 0.45 * (z + 48)), 3.0))
        tissues.put("fluid", within(tissues.below_brain + self.head.fluid_mm, tissues.soft))

    def _brain(self, tissues: "Tissues") -> None:
        """Grey ribbon along the furrows over white matter, nuclei, cerebellum and stem, fluid in every cleft."""
        x, y, z = tissues.places
        below, soft = tissues.below_brain, tissues.soft
        inside = within(below, soft)
        folds = self.folds.at(tissues.places)
        hind = within(-20 - z - 0.35 * (y + 30), 3.0) * within(-8 - y, 3.0)
        ribbon = within(3.2 + 15 * np.exp(-((folds / 0.55) ** 2)) - below, 3.0)
        fine = np.maximum(within(0.35 - np.abs(self.leaves.at(tissues.places)), 0.5), within(4 - below, 2.0))
        tissues.put("white", inside)
        tissues.put("grey", inside * (ribbon * (1 - hind) + fine * hind))
        nuclei = 9 - _far(np.abs(x) - 20, 0.5 * (y - 4), 0.7 * z)
        tissues.put(
            "grey",
            0.6
            * inside
            * np.maximum(within(nuclei, 2.5), within(8 - _far(np.abs(x) - 9, 0.6 * (y + 12), 0.8 * z), 2.5)),
        )
        furrows = np.exp(-((folds / 0.16) ** 2)) * within(FURROW_MM - below, 8.0) * (1 - hind)
        fissure = np.exp(-((x / 1.5) ** 2)) * within(FISSURE_MM - below, 6.0) * (1 - hind)
        tent = np.exp(-(((z + 20 + 0.35 * (y + 30)) / 1.6) ** 2)) * within(-8 - y, 3.0)
        cleft = np.maximum.reduce([0.85 * furrows, 0.9 * fissure, 0.7 * tent])
        tissues.put("fluid", inside * cleft)
        tissues.put("fluid", inside * within(-tissues.to_ventricle, soft))
        self._stem(tissues)

    def _stem(self, tissues: "Tissues") -> None:
        """Brainstem and spinal cord in their fluid."""
        x, y, z = tissues.places
        cistern = within(19 - _far(x, 0.9 * (y + 9), 0.55 * (z + 42)), 3.0) * within(-22 - z, 4.0)
        tissues.put("fluid", 0.9 * cistern)
        stem = 12.5 - 0.06 * np.maximum(-40 - z, 0) - _far(x, y + 14 - 0.12 * (z + 40), 0 * z)
        tissues.put("white", within(stem, tissues.soft) * within(-14 - z, 6.0) * within(z + 62, 4.0))
        tissues.put("white", within(6 - _far(x, y + 20, 0 * z), tissues.soft) * within(-58 - z, 4.0))


@dataclass(frozen=True, eq=False)
class Tissues:
    """Shares of tissues at the voxels of a grid; they sum to one. All lengths in mm."""

    places: Field
    """Position in the head (3, i, j, k)."""
    below_skin: Field
    below_brain: Field
    """Depth below the surface of the brain, negative outside."""
    to_ventricle: Field
    soft: float
    """Width of an edge."""
    shares: dict[str, Field]

    def put(self, tissue: str, cover: Field) -> None:
        """Lay a tissue over what is there, with that cover from 0 to 1."""
        cover = cover.astype(np.float32)
        for name in self.shares:
            self.shares[name] *= 1 - cover
        self.shares[tissue] = self.shares.get(tissue, np.zeros_like(cover)) + cover

    def seen(self, brightness: dict[str, float]) -> Field:
        """The picture in which each tissue has that brightness."""
        return np.asarray(sum(brightness[name] * share for name, share in self.shares.items()))


def _far(x: Field, y: Field, z: Field) -> Field:
    return np.asarray(np.sqrt(x**2 + y**2 + z**2))


def _step(distance: Field, mm: float) -> Field:
    """From 0 to 1 around distance 0, rounded over about `mm`."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance / mm))


def _floor(places: Field) -> Field:
    """Height z in mm of the floor of the skull under each place."""
    x, y, _ = places
    temporal = _step(np.abs(x) - 19, 5.0) * _step(33 - y, 5.0)
    back = _step(-17 - y, 5.0)
    return np.asarray(FRONT_BASE + (MIDDLE_BASE - FRONT_BASE) * temporal * (1 - back) + (BACK_BASE - FRONT_BASE) * back)


def _below_face(places: Field) -> Field:
    """Depth in mm below the skin of face and neck, negative outside."""
    x, y, z = places
    face = 1 - _far(x / 58, (y - 28) / 58, (z + 62) / 68)
    nose = 1 - _far(x / 13, (y - 84) / 16, (z + 52 - 0.6 * (84 - y)) / 20)
    neck = 1 - np.maximum(_far(x / 56, (y + 18) / 58, 0 * z), (-40 - z) / 400)
    neck = np.where(z < -30, neck, -1)
    return np.asarray(np.maximum.reduce([55 * face, 13 * nose, 52 * neck]))
