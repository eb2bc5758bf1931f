"""Images turned or zoomed about their middle, in millimetres, on the same voxels."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, sin
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Outside = Literal["border", "zeros"]

ROUNDING = 1e-9
"""Weights of voxels inside the image sum to 1 up to this, in double precision."""


def moved(
    x: Float[Tensor, "batch channel *space"],
    matrix: Float[Tensor, "rank rank"],
    spacing: Sequence[float],
    outside: Outside = "border",
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Float[Tensor, "batch channel *space"]:
    """The image carried by a linear map about its middle: what was at `p` mm from it lies at `matrix @ p` afterwards.

    `spacing` is the voxel size along each axis. Read linearly or from the nearest voxel; beyond the image its border
    voxels go on, or lie zeros.
    """
    way = torch.linalg.inv(matrix.double())
    half = torch.tensor([(n - 1) / 2 for n in x.shape[2:]], dtype=torch.float64)
    steps = torch.tensor(list(spacing), dtype=torch.float64)
    axes = [torch.arange(n, dtype=torch.float64) - middle for n, middle in zip(x.shape[2:], half, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) * steps
    voxels = places @ way.T / steps
    # torch counts the axes backwards and places the outermost centres at -1 and 1.
    grid = (voxels / half.clamp(min=0.5)).flip(-1)[None].to(x)
    grid = grid.expand(len(x), *grid.shape[1:])
    return functional.grid_sample(x, grid, mode=mode, padding_mode=outside, align_corners=True)


def kept(x: Tensor, matrix: Tensor, spacing: Sequence[float]) -> Tensor:
    """Which voxels (*space) come through the way there and back without anything from beyond the image's border."""
    ones = torch.ones_like(x[:1, :1], dtype=torch.float64)
    there = moved(ones, matrix, spacing, "zeros")
    back = moved(there, torch.linalg.inv(matrix.double()), spacing, "zeros")
    return back[0, 0] > 1 - ROUNDING


def rotation(angle: float, axis: Float[Tensor, "3"] | None = None) -> Tensor:
    """The matrix that turns by `angle` radians: in the plane, from the first axis to the second, or about an axis."""
    if axis is None:
        return torch.tensor([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]], dtype=torch.float64)
    x, y, z = (axis.double() / axis.double().norm()).tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return torch.eye(3, dtype=torch.float64) + sin(angle) * cross + (1 - cos(angle)) * cross @ cross
