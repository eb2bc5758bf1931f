"""What the golden pictures show: a head with a lesion, a flat picture, and maps of them, all from formulas.

Nothing here is symmetric, so that a flipped, swapped or shifted map cannot look like the right one.
"""

from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Certificate, Check
from voxplain.data.image import Image
from voxplain.report.figures_view import Shown
from voxplain.space.grid import Grid
from voxplain.types import Quantity

SIDES = (40, 48, 30)
LESION, AGAINST = (27, 15, 19), (12, 32, 14)
"""Voxels (i, j, k) of what speaks for the class, and of what speaks against it."""

FLAT_LESION, FLAT_AGAINST = (44, 14, 0), (18, 30, 0)


def lump(shape: tuple[int, int, int], centre: tuple[int, int, int], width: float) -> np.ndarray:
    """A Gaussian of height one."""
    gaps = sum((place - middle) ** 2 for place, middle in zip(np.indices(shape), centre, strict=True))
    values = np.exp(-gaps / (2 * width**2))
    return np.where(values < 1e-3, 0, values).astype(np.float32)


def head(identifier: str = "head-1", channels: tuple[str, ...] = ("T1", "FLAIR")) -> Image:
    """An ellipsoid with a rim, a darker hollow on one side and the lesion, 2 x 2 x 3 mm, running to R, A and S."""
    i, j, k = np.indices(SIDES)
    radius = np.sqrt(((i - 20) / 16) ** 2 + ((j - 23) / 21) ** 2 + ((k - 15) / 13) ** 2)
    tissue = np.where(radius < 1, 60 + 20 * np.cos(i / 5) * np.cos(j / 6), 0)
    tissue = np.where((radius > 0.88) & (radius < 1), 140, tissue) - 40 * lump(SIDES, (15, 24, 15), 3) * (radius < 1)
    lesion = lump(SIDES, LESION, 3) * (radius < 1)
    values = np.stack([tissue + 60 * lesion, 0.7 * tissue + 150 * lesion]).astype(np.float32)[: len(channels)]
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -40, -46, -30
    return Image.of(values, Grid(SIDES, affine), channels=channels, identifier=identifier)


def picture(identifier: str = "film-1", shift: int = 0) -> Image:
    """A 2D image of 64 x 48 pixels of unknown size: a shaded disc with a bright spot."""
    i, j = np.indices((64, 48))
    disc = (np.hypot(i - 32, j - 24 + shift) < 21) * (90 + i)
    spot = 90 * lump((64, 48, 1), (FLAT_LESION[0], FLAT_LESION[1] + shift, 0), 3)[..., 0]
    grid = Grid((64, 48, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    return Image.of((20 + disc + spot)[..., None].astype(np.float32), grid, identifier=identifier, unit="8-bit grey")


def signed(image: Image, strength: float = 1.0, width: float = 3.0) -> np.ndarray:
    """Values (i, j, k) for the class at the lesion, half as strong against it elsewhere."""
    flat = image.grid.is_2d
    shape = image.grid.shape
    for_class = lump(shape, FLAT_LESION if flat else LESION, width)
    against = lump(shape, FLAT_AGAINST if flat else AGAINST, width)
    return strength * (for_class - 0.5 * against)


def noise(image: Image, strength: float = 1.0) -> np.ndarray:
    """Values (i, j, k) of chance."""
    return (strength * np.random.default_rng(1).normal(size=image.grid.shape)).astype(np.float32)


def mask(image: Image) -> np.ndarray:
    """Where the lesion is, (i, j, k)."""
    return signed(image) > 0.4


def labels(image: Image) -> np.ndarray:
    """A predicted segmentation (i, j, k): the lesion 2, its rim 1."""
    strength = signed(image)
    return (strength > 0.15).astype(int) + (strength > 0.6)


def shown(name: str, values: np.ndarray, quantity: Quantity = Quantity.SCORE_UNITS, **named: Any) -> Shown:
    """One map."""
    return Shown(name, values, quantity, named.pop("unit", "logits"), **named)


def maps(image: Image) -> list[Shown]:
    """Maps of several methods: signed, unsigned and coarse, one with a failed check, one of chance."""
    positive = np.clip(signed(image, width=6), 0, None)
    return [
        shown("integrated_gradients(steps=32)", signed(image, 0.2)),
        shown("gradient", signed(image, 3e-3, 2), Quantity.RELEVANCE, unit="logits per a.u.", derivative=True),
        shown("grad_cam, layer4", positive, Quantity.SALIENCY, unit="", coarse=True),
        shown("rise(samples=500)", positive**2, Quantity.SALIENCY, unit="probability", alarm="finite"),
        shown("noise", noise(image, 1e-4)),
    ]


def attribution(image: Image, values: np.ndarray | None = None, **named: Any) -> Attribution:
    """One map with its story; its certificate has a failed check."""
    checks = (Check("finite", "passed", "all values are finite"), Check("completeness", "failed", "40 % lost", 0.4))
    told: dict[str, Any] = {
        "target_words": "score of class 1 (glioma)",
        "unit": "logits",
        "certificate": Certificate(checks),
    }
    own = signed(image) if values is None else values
    return Attribution(
        own[None].astype(np.float32), image.grid, named.pop("quantity", Quantity.SCORE_UNITS), "occlusion(window=4)",
        "class_score(1)", **{**told, **named},
    )  # fmt: skip
