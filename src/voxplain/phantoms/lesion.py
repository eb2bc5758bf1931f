"""Head phantoms with or without one bright lesion: the lesion is the only difference between the two classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.phantoms.head import (
    TEXTURE,
    WHITE,
    Anatomy,
    Field,
    Head,
    blend,
    paint,
    scan,
    smooth_noise,
    softness,
    within,
)
from voxplain.space.affine import AXIS_LETTERS, from_parts
from voxplain.space.grid import Grid

CLASS_NAMES = ("no lesion", "lesion")

FULL_SCALE = 1000.0
"""Intensity of full brightness, in the arbitrary units of a magnetic resonance picture."""

MARGIN_MM = 3.0
"""Healthy tissue left between a lesion and the brain's surface or a ventricle."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A made-up image and what is true about it."""

    image: Image
    mask: Image
    """1 inside the lesion, 0 elsewhere; all 0 without a lesion."""
    body: Image
    """1 inside the skin, 0 in air."""
    label: int
    """0 no lesion, 1 lesion: an index of `CLASS_NAMES`."""
    centre: tuple[float, float, float]
    """World position x y z (mm) of the lesion, or of the place where one would have been put."""
    radius_mm: float


def lesion_slices(
    count: int,
    *,
    seed: int,
    labels: Sequence[int] | None = None,
    shape: tuple[int, int] = (96, 112),
    spacing_mm: float = 1.8,
    contrast: float = 0.45,
    radius_mm: tuple[float, float] = (8.0, 13.0),
) -> list[Phantom]:
    """Axial slices (columns, rows, 1), columns to patient Left and rows to Posterior; half of them with a lesion.

    Phantom n depends on `seed` and n alone, and its lesion only on its label: the same n with the other label is the
    same head with (or without) the lesion, equal to the last bit outside it.
    """
    steps = (spacing_mm, spacing_mm, 5.0)
    grid = head_grid((*shape, 1), steps, orientation="LPS", tilt_degrees=(0, 0, 0), centre=(0, 0, 8))
    return _series("slice", count, seed, labels, grid, contrast, radius_mm)


def lesion_volumes(
    count: int,
    *,
    seed: int,
    labels: Sequence[int] | None = None,
    shape: tuple[int, int, int] = (40, 48, 32),
    spacing_mm: tuple[float, float, float] = (3.8, 4.1, 4.8),
    contrast: float = 0.45,
    radius_mm: tuple[float, float] = (13.0, 19.0),
) -> list[Phantom]:
    """Whole heads (i, j, k) on an oblique grid of unequal voxel sides; otherwise as `lesion_slices`."""
    grid = head_grid(shape, spacing_mm, orientation="LAS", tilt_degrees=(7, -4, 5), centre=(3, -5, 8))
    return _series("volume", count, seed, labels, grid, contrast, radius_mm)


def head_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    orientation: str,
    tilt_degrees: tuple[float, float, float],
    centre: tuple[float, float, float],
) -> Grid:
    """A grid around the world point `centre` whose axes run to `orientation`, turned by `tilt_degrees` about x y z."""
    straight = np.zeros((3, 3))
    for axis, letter in enumerate(orientation):
        world = next(n for n, ends in enumerate(AXIS_LETTERS) if letter in ends)
        straight[world, axis] = 1 if letter == AXIS_LETTERS[world][1] else -1
    turned = Rotation.from_euler("xyz", tilt_degrees, degrees=True).as_matrix() @ straight
    middle = (np.array(shape) - 1) / 2
    origin = np.array(centre) - turned @ (middle * np.array(spacing_mm))
    return Grid(shape, from_parts(turned, spacing_mm, origin))


def _series(
    kind: str,
    count: int,
    seed: int,
    labels: Sequence[int] | None,
    grid: Grid,
    contrast: float,
    radius_mm: tuple[float, float],
) -> list[Phantom]:
    if seed < 0:
        raise InputError(f"seed must be at least 0, got {seed}")
    chosen = balanced_labels(count, seed) if labels is None else list(labels)
    if len(chosen) != count or not set(chosen) <= {0, 1}:
        raise InputError(f"labels must be {count} numbers of 0 or 1, got {chosen}")
    generators = [np.random.default_rng([seed, number]) for number in range(count)]
    return [
        _phantom(f"{kind}-{number:04d}", label, grid, generator, contrast, radius_mm)
        for number, (label, generator) in enumerate(zip(chosen, generators, strict=True))
    ]


def balanced_labels(count: int, seed: int) -> list[int]:
    """As many ones as zeros (one more of 1 for an odd count), in random order."""
    return [int(label) for label in np.random.default_rng(seed).permutation(np.arange(1, count + 1) % 2)]


def _phantom(
    identifier: str,
    label: int,
    grid: Grid,
    generator: np.random.Generator,
    contrast: float,
    radius_mm: tuple[float, float],
) -> Phantom:
    """Every random number is drawn whatever the label: only the planting of the lesion depends on it."""
    anatomy = Head.draw(generator).on(grid)
    picture = paint(anatomy, generator)
    radius = float(generator.uniform(*radius_mm))
    centre = lesion_centre(anatomy, radius, generator)
    share = lesion_share(grid, centre, radius, generator)
    grain = 1 + 2 * TEXTURE * smooth_noise(grid, 4.0, generator)
    bright = blend(picture, grain * (WHITE + contrast * generator.uniform(0.85, 1.15)), share)
    values = scan(bright if label else picture, grid, generator, noise=0.03, shading=0.08)
    lesion = (share >= 0.5) & (label == 1)
    x, y, z = (float(position) for position in centre)
    return Phantom(
        image=Image.of(FULL_SCALE * values, grid, channels=("T1",), identifier=identifier),
        mask=Image.of(lesion, grid, channels=("lesion",), unit="label", identifier=identifier),
        body=Image.of(anatomy.below_skin >= 0, grid, channels=("head",), unit="label", identifier=identifier),
        label=label,
        centre=(x, y, z),
        radius_mm=radius,
    )


def lesion_centre(anatomy: Anatomy, radius: float, generator: np.random.Generator) -> Field:
    """A world position (3,) with `radius` of brain tissue and a margin around it, drawn evenly over the voxels."""
    room = np.minimum.reduce([anatomy.below_brain, anatomy.to_ventricle, _to_edge(anatomy.grid)])
    free = np.argwhere(room >= min(radius + MARGIN_MM, float(room.max())))
    off_centre = generator.uniform(-0.5, 0.5, 3) * (np.array(anatomy.grid.shape) > 1)
    return anatomy.grid.world(free[generator.integers(len(free))] + off_centre)


def _to_edge(grid: Grid) -> Field:
    """Millimetres (i, j, k) from each voxel centre to the edge of the picture; a slice has no edge across its plane."""
    steps = [
        step * (np.minimum(np.arange(count), count - 1 - np.arange(count)) + 0.5) if count > 1 else np.array([np.inf])
        for count, step in zip(grid.shape, grid.spacing, strict=True)
    ]
    return np.asarray(np.minimum.reduce(np.meshgrid(*steps, indexing="ij")))


def lesion_share(grid: Grid, centre: Field, radius: float, generator: np.random.Generator) -> Field:
    """Share (i, j, k) of each voxel that the lesion fills: a ball with an uneven rim."""
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid.world(voxels) - centre, axis=-1)
    rim = radius * (1 + 0.15 * np.clip(smooth_noise(grid, 0.5 * radius, generator), -2, 2))
    return within(rim - distance, softness(grid))
