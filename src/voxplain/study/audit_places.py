"""Places of an image where evidence is suspect: outside the body, along the border, and in the corners."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor

from voxplain.study.audit_body import Body, Mask, body
from voxplain.study.ready import Ready

BORDER = 16
"""The border is what is nearer to the edge than its side divided by this."""

CORNER = 5
"""A corner is a box whose sides are the image's divided by this; markers of films lie in there."""

OUTSIDE, ALONG, CORNERS = "outside the body", "border", "corners"


def places(ready: Ready, rule: Body) -> dict[str, Mask]:
    """Each place as a mask (*space) on the network's grid; none of the body where it fills the image or is missing."""
    shape = tuple(ready.x.shape[2:])
    found = {ALONG: border(shape), CORNERS: np.any([*corners(shape).values()], axis=0)}
    inside = body(ready, rule)
    return found if inside is None else {OUTSIDE: ~inside, **found}


def border(shape: tuple[int, ...]) -> Mask:
    """True near the edges."""
    inner = np.zeros(shape, dtype=bool)
    inner[tuple(slice(depth, side - depth) for side in shape for depth in [_part(side, BORDER)])] = True
    return ~inner


def corners(shape: tuple[int, ...]) -> dict[str, Mask]:
    """A box in each corner, by name: of a picture 'upper left' ..., of a volume by the ends of its axes."""
    found = {}
    for ends in product((0, 1), repeat=len(shape)):
        sizes = [_part(side, CORNER) for side in shape]
        box = np.zeros(shape, dtype=bool)
        box[tuple(slice(-size, None) if end else slice(size) for end, size in zip(ends, sizes, strict=True))] = True
        found[_name(ends)] = box
    return found


def _part(side: int, share: int) -> int:
    return max(side // share, 1)


def _name(ends: tuple[int, ...]) -> str:
    if len(ends) == 2:
        return f"{('upper', 'lower')[ends[0]]} {('left', 'right')[ends[1]]}"
    return "corner " + "".join(("-", "+")[end] + axis for end, axis in zip(ends, "ijk", strict=True))


def elsewhere(mask: Mask, draw: np.random.Generator, count: int) -> list[Mask]:
    """The mask (*space) in random places of the image, as if its opposite edges met: area and shape stay.

    Toroidal shifts, by which Lotwick and Silverman (J. R. Stat. Soc. B 44, 1982, 406-413) test whether two patterns
    of one window have to do with each other.
    """
    axes = tuple(range(mask.ndim))
    return [np.roll(mask, tuple(draw.integers(0, mask.shape)), axes) for _ in range(count)]


def shares(values: Tensor, where: dict[str, Mask]) -> dict[str, float]:
    """The share of a map's magnitude (channel or 1, *space), channels summed, in each place."""
    mass = values.double().sum(dim=0).abs().cpu()
    total = float(mass.sum())
    return {name: float(mass[torch.from_numpy(mask)].sum()) / total for name, mask in where.items()}
