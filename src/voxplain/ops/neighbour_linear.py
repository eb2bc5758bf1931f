"""Holes filled from their surroundings: every missing voxel is the weighted mean of all its neighbours.

Rong et al., ICML 2022, arXiv:2202.00449. Solved by conjugate gradients, helped along by a multigrid cycle
(Briggs, Henson, McCormick, A multigrid tutorial, 2000), so that holes of every size take a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

DAMPING = 0.9
"""Share of a Jacobi step that is taken: what varies from voxel to voxel falls tenfold at each."""

COARSEST = 4
"""Grids of at most so many voxels a side are not halved again."""

MOST_STEPS = 200
"""Steps at most; the hardest holes of 224 x 224 voxels that were tried took 32."""

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""What may remain of the system, as a share of its right side: somewhat above the rounding of each type."""


def neighbour_linear(
    x: Float[Tensor, "any channel *space"], removed: Bool[Tensor, "batch *space"]
) -> Float[Tensor, "batch channel *space"]:
    """Each image, one for all or one a mask, with its removed voxels as if each were the mean of its neighbours.

    Neighbours are the 8 of 2D and the 26 of 3D; weights fall by half from face to edge to corner (the paper's 1/6 and
    1/12 in 2D). An image of which nothing is left becomes the mean of each channel.
    """
    images = x.expand(len(removed), *x.shape[1:])
    size = 1 if x.device.type == "cpu" else len(removed)  # one image at a time stays in the processor's cache
    return torch.cat([_filled(*some) for some in zip(images.split(size), removed.split(size), strict=True)])


def _filled(x: Tensor, removed: Tensor) -> Tensor:
    image = x.to(x.dtype if x.dtype in TOLERANCE else torch.float32)
    whole = removed.flatten(1).all(dim=1).reshape(-1, *[1] * (x.ndim - 1))
    mean = image.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
    hole = (removed[:, None] & ~whole).to(image.dtype)
    level = _Level.of(hole)
    side = level.hole * _pull((image - mean) * (1 - hole))
    # Where nothing is left there is no hole to fill, and the mean remains.
    return torch.where(removed[:, None], mean + _solved(level, side), image).to(x.dtype)


@dataclass(frozen=True, eq=False)
class _Level:
    """The holes on one grid, and the next coarser one."""

    hole: Tensor
    """(batch, 1, *space), 1 where a voxel is missing."""
    degree: Tensor
    """(*space): the weights of the neighbours that a voxel has, fewer at the border."""
    step: Tensor
    """(batch, 1, *space): what a missing voxel takes of its correction at each smoothing; 0 for known ones."""
    coarser: _Level | None

    @classmethod
    def of(cls, hole: Tensor) -> _Level:
        degree = _pull(torch.ones_like(hole[:1]))[0, 0]
        halved = _halved(hole, outside=1.0)
        # Only cells that lie in a hole whole: what they correct is then bound to the known voxels beside them.
        inside = (halved > 1 - 1e-3).to(hole.dtype)
        deeper = max(hole.shape[2:]) > COARSEST and bool(inside.any())
        step = DAMPING * hole / degree.clamp_min(1e-6)
        return cls(hole, degree, step, cls.of(inside) if deeper else None)

    def apply(self, u: Tensor) -> Tensor:
        """What is left at each missing voxel of its value less its neighbours' mean; `u` is 0 at known ones."""
        return self.hole * (self.degree * u - _pull(u))

    def cycle(self, side: Tensor) -> Tensor:
        """About the solution for `side`: smooth, correct on the coarser grid, smooth again."""
        u = self.step * side
        if self.coarser is not None:
            rest = self.coarser.hole * _halved(side - self.apply(u))
            u = u + self.hole * _doubled(self.coarser.cycle(4 * rest), self.hole.shape[2:])
        return u + self.step * (side - self.apply(u))


def _solved(level: _Level, side: Tensor) -> Tensor:
    """The values (batch, channel, *space) at which nothing is left to correct: conjugate gradients, each on its own."""
    u, rest = torch.zeros_like(side), side.clone()
    goal = TOLERANCE[side.dtype] * _norm(side)
    way = torch.zeros_like(side)
    before = torch.ones_like(goal)
    for step in range(MOST_STEPS):
        if step % 4 == 0 and not bool((_norm(rest) > goal).any()):
            break
        helped = level.cycle(rest)
        now = _inner(rest, helped)
        way = helped + (now / before if step else 0.0 * now) * way
        moved = level.apply(way)
        length = now / _inner(way, moved).clamp_min(torch.finfo(side.dtype).tiny)
        u, rest, before = u + length * way, rest - length * moved, now.clamp_min(torch.finfo(side.dtype).tiny)
    return u


def _inner(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=tuple(range(2, one.ndim)), keepdim=True)


def _norm(one: Tensor) -> Tensor:
    return _inner(one, one).sqrt()


def _pull(u: Tensor) -> Tensor:
    """The weighted sum of each voxel's neighbours: 1 2 1 along every axis, without the voxel itself; sums to 1."""
    spread: Tensor = u
    for axis in range(2, u.ndim):
        ends = [0, 0] * (u.ndim - 1 - axis) + [1, 1]
        wide = functional.pad(spread, ends)
        length = u.shape[axis]
        spread = 2 * spread + wide.narrow(axis, 0, length) + wide.narrow(axis, 2, length)
    rank = u.ndim - 2
    return (spread - 2.0**rank * u) / (4.0**rank - 2.0**rank)


def _halved(u: Tensor, outside: float = 0.0) -> Tensor:
    """Means over cells of two voxels a side; a cell that juts out holds `outside` there."""
    odd = [(0, side % 2) for side in reversed(u.shape[2:])]
    wide = functional.pad(u, [end for ends in odd for end in ends], value=outside)
    pool = functional.avg_pool2d if u.ndim == 4 else functional.avg_pool3d
    found: Tensor = pool(wide, 2)
    return found


def _doubled(u: Tensor, size: torch.Size) -> Tensor:
    """Each cell's value at its two voxels a side."""
    for axis, side in enumerate(size, start=2):
        u = u.repeat_interleave(2, dim=axis).narrow(axis, 0, side)
    return u
