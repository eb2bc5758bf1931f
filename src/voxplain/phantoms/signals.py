"""Heads with and without one planted feature, and nothing else that tells the classes apart: what maps must find.

The suppressor follows Haufe et al., On the interpretation of weight vectors of linear models in multivariate
neuroimaging, NeuroImage 87 (2014), section 2: a region without any signal that cancels what disturbs the signal.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.image import Image
from voxplain.phantoms.base import Array, Kept, Sample, Simulation, dealt, generator
from voxplain.phantoms.head import AIR, FLUID, Anatomy, Head, blend, paint, scan, smooth_noise, softness, within
from voxplain.phantoms.lesion import FULL_SCALE, head_grid, lesion_centre, lesion_share
from voxplain.space.grid import Grid

Kind = Literal["focal", "diffuse", "sequence", "suppressor", "shortcut"]

CONTRAST, FAINT = 0.4, 0.08
"""Of a lesion that is the feature, and of the one beside a shortcut, as shares of full scale."""

RADIUS_MM = {2: (11.0, 15.0), 3: (18.0, 24.0)}
"""Of lesions, in slices and in volumes with their larger voxels."""

MOTTLE, FINE, COARSE = 0.16, 0.5, 2.0
"""Deviation of the diffuse texture as a share of the brain's brightness, and its length in voxels with it and without.

Fine and coarse mottle have the same mean and deviation: no single voxel and no mean tells them apart."""

ENHANCED, DOSE, BASE = 0.3, 1.0, 0.1
"""Brightness that the feature adds to an enhancing lesion, the most that the dose adds to lesion and vein, and without
either.

A read-out that takes a share r of the vein's brightness from the lesion's is left with (1 - r) DOSE of the dose, and
tells all heads apart from r = 1 - ENHANCED / DOSE = 0.7 on; one that takes nothing is right in 65 % of them."""

DISC_MM, WALL_MM, VEIN_MM = 12.0, 16.0, 25.0
"""Radius of this lesion, and outer radii of the dark wall around it and of the vein around that."""

MARKER_VOXELS, MARKER = 2, 0.8
"""Half the side of the marker, and its brightness."""


@dataclass(frozen=True)
class Signals(Simulation):
    """A head whose class is one planted feature; the same head without it, and else alike, differs in the mask alone.

    focal: a bright lesion. diffuse: fine instead of coarse mottle in one half of the brain. sequence: a lesion that T2
    shows, where T1 may show another one that means nothing. suppressor: a lesion that is brighter by the feature and by
    the dose of contrast agent; a vein around it shows the dose alone. shortcut: a marker in a corner, with a faint
    lesion.
    """

    name: ClassVar[str] = "signals"
    title: ClassVar[str] = "heads with and without one feature: focal, diffuse, in one sequence, suppressed, a shortcut"
    kept: ClassVar[Kept] = "float"
    labels: ClassVar[tuple[str, ...]] = ("without", "with")
    mask_labels: ClassVar[tuple[str, ...]] = ("feature",)
    shares: ClassVar[tuple[tuple[str, float], ...]] = (("train", 0.75), ("val", 0.15), ("test", 0.1))

    kind: Kind = "focal"
    """What tells the classes apart."""
    rank: Literal[2, 3] = 2
    """Slices of 48 x 56 pixels, or volumes of 26 x 30 x 22 voxels."""

    def sample(self, number: int, seed: int) -> Sample:
        """Head `number`, with the feature or without."""
        return self.drawn(number, seed, feature=bool(dealt(2, number, seed)))

    def drawn(self, number: int, seed: int, *, feature: bool, other: bool | None = None) -> Sample:
        """Head `number` with the feature or without; every random number is drawn whichever is asked for.

        `other` is what else there may be: the lesion in T1 (sequence), the lesion beside the marker (shortcut), a vein
        that shows the dose and not the feature's brightness on top (suppressor). Left out: as chance has it in T1, the
        class beside the marker, and always in the vein.
        """
        draw = generator(seed, "sample", number)
        grid = signal_grid(self.rank)
        anatomy = Head.draw(draw).on(grid)
        chance = bool(draw.random() < 0.5)
        usual = {"sequence": chance, "shortcut": feature, "suppressor": True}.get(self.kind, False)
        beside = usual if other is None else other
        planted = {
            "focal": _focal, "diffuse": _diffuse, "sequence": _sequence, "suppressor": _suppressor,
            "shortcut": _shortcut,
        }[self.kind]  # fmt: skip
        pictures, support = planted(anatomy, draw, feature=feature, other=beside)
        noise = 0.02 if self.kind == "diffuse" else 0.03
        values = np.stack([scan(one, grid, draw, noise=noise, shading=0.06) for one in pictures.values()])
        identifier = f"signals-{number:04d}"
        image = Image.of(FULL_SCALE * values, grid, channels=tuple(pictures), identifier=identifier)
        mask = Image.of(support & feature, grid, channels=("mask",), unit="label", identifier=identifier)
        return Sample(identifier, image, mask, self.labels[feature], identifier, {"other": int(beside)})

    def files(self, sample: Sample) -> dict[str, tuple[PurePosixPath, Image]]:
        """A file a sequence."""
        case = sample.identifier
        if len(sample.image.channels) == 1:
            return Simulation.files(self, sample)
        images = {name: sample.image.select((name,)) for name in sample.image.channels}
        places = {name: (PurePosixPath("images", f"{case}_{name}.nii.gz"), one) for name, one in images.items()}
        return {**places, "mask": (PurePosixPath("masks", f"{case}.nii.gz"), sample.mask)}


Planted = tuple[dict[str, Array], Array]
"""Pictures (i, j, k) by sequence, and the voxels that the feature may change."""


def signal_grid(rank: int) -> Grid:
    """The grid of all heads, in mm."""
    shape, steps = ((48, 56, 1), (3.4, 3.4, 5.0)) if rank == 2 else ((26, 30, 22), (6.2, 6.2, 7.0))
    return head_grid(shape, steps, orientation="LPS", tilt_degrees=(0, 0, 0), centre=(0, 0, 8))


def _focal(anatomy: Anatomy, draw: np.random.Generator, *, feature: bool, other: bool) -> Planted:
    picture = paint(anatomy, draw)
    share, _ = _lesion(anatomy, draw)
    return {"t1": blend(picture, picture + CONTRAST, share * feature)}, share > 0


def _diffuse(anatomy: Anatomy, draw: np.random.Generator, *, feature: bool, other: bool) -> Planted:
    """Mottle all over the brain, in one half of it fine or coarse."""
    picture, grid = paint(anatomy, draw), anatomy.grid
    coarse, fine = (_mottle(grid, length, draw) for length in (COARSE, FINE))
    soft = softness(grid)
    brain = within(np.minimum(anatomy.below_brain, anatomy.to_ventricle) - soft, soft)
    side = -1.0 if draw.random() < 0.5 else 1.0
    half = brain * within(side * anatomy.places[0] - soft, soft)
    spread = blend(coarse, fine, half) if feature else coarse
    return {"t1": np.clip(picture * (1 + MOTTLE * brain * spread), AIR, None)}, half > 0


def _mottle(grid: Grid, length: float, draw: np.random.Generator) -> Array:
    return smooth_noise(grid, length * softness(grid), draw)


def _sequence(anatomy: Anatomy, draw: np.random.Generator, *, feature: bool, other: bool) -> Planted:
    t1 = paint(anatomy, draw)
    t2 = blend(np.full(t1.shape, AIR), 0.85 - 0.7 * t1, within(anatomy.below_skin, softness(anatomy.grid)))
    share, centre = _lesion(anatomy, draw)
    beside, _ = _lesion(anatomy, draw, away_from=centre)
    return {
        "t1": blend(t1, t1 + CONTRAST, beside * other),
        "t2": blend(t2, t2 + CONTRAST, share * feature),
    }, share > 0


def _suppressor(anatomy: Anatomy, draw: np.random.Generator, *, feature: bool, other: bool) -> Planted:
    """Lesion = base + feature + dose; vein = base + dose, or without `other` base + dose + what the feature adds."""
    picture, soft = paint(anatomy, draw), softness(anatomy.grid)
    dose = BASE + float(draw.uniform(0, DOSE))
    free = np.argwhere(anatomy.below_brain > VEIN_MM)
    centre = anatomy.places[(slice(None), *free[draw.integers(len(free))])]
    away = np.linalg.norm(anatomy.places - centre[:, None, None, None], axis=0)
    vein, lesion = dose + (0.0 if other else ENHANCED), dose + ENHANCED * feature
    for radius, inside in ((VEIN_MM, vein), (WALL_MM, FLUID), (DISC_MM, lesion)):
        picture = blend(picture, inside, within(radius - away, soft))
    return {"t1ce": picture}, within(DISC_MM - away, soft) > 0


def _shortcut(anatomy: Anatomy, draw: np.random.Generator, *, feature: bool, other: bool) -> Planted:
    picture = paint(anatomy, draw)
    share, _ = _lesion(anatomy, draw)
    corner = [int(draw.choice([MARKER_VOXELS + 2, side - 3 - MARKER_VOXELS])) for side in picture.shape[:2]]
    where = np.indices(picture.shape)[:2] - np.array(corner)[:, None, None, None]
    marker = np.asarray((np.abs(where) <= MARKER_VOXELS).all(axis=0))
    picture = blend(picture, picture + FAINT, share * other)
    return {"t1": np.where(marker & feature, MARKER, picture)}, marker


def _lesion(anatomy: Anatomy, draw: np.random.Generator, away_from: Array | None = None) -> tuple[Array, Array]:
    """The share (i, j, k) of each voxel that a lesion fills, and its centre in the head's own mm, away from a place."""
    radius = float(draw.uniform(*RADIUS_MM[2 if anatomy.grid.is_2d else 3]))
    centre = _place(anatomy, radius, draw, away_from)
    away = np.linalg.norm(anatomy.places - centre[:, None, None, None], axis=0)
    nearest = anatomy.grid.world(np.unravel_index(int(away.argmin()), away.shape))
    return lesion_share(anatomy.grid, nearest, radius, draw), centre


def _place(anatomy: Anatomy, radius: float, draw: np.random.Generator, away_from: Array | None = None) -> Array:
    """A position in the brain, in the head's own mm (3,), away from another one."""
    for _ in range(20):  # a handful of draws is enough: what keeps them apart is far smaller than a brain
        world = lesion_centre(anatomy, radius, draw)
        i, j, k = np.clip(np.rint(anatomy.grid.voxels(world)).astype(int), 0, np.array(anatomy.grid.shape) - 1)
        place = np.asarray(anatomy.places[:, i, j, k])
        if away_from is None or np.linalg.norm((place - away_from)[:2]) > 2.2 * radius:
            break
    return place
