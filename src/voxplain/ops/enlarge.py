"""A coarse map read at the voxels of the input: by where its cells truly lie, not by stretching it edge to edge."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def enlarged(
    values: Float[Tensor, "batch channel *cells"], start: Sequence[float], step: Sequence[float], size: Sequence[int]
) -> Float[Tensor, "batch channel *space"]:
    """Values of cells centred at `start + n * step` voxels, read at the centres of an input of `size` voxels.

    Linear between centres; beyond the outermost centres their values go on. Cells that tile the input evenly are read
    as by interpolation with half-pixel centres.
    """
    for axis, (first, hop, length) in enumerate(zip(start, step, size, strict=True), start=2):
        values = _along(values, axis, first, hop, length)
    return values


def _along(values: Tensor, axis: int, first: float, hop: float, length: int) -> Tensor:
    cells = values.shape[axis]
    voxels = torch.arange(length, dtype=torch.float64, device=values.device)
    places = ((voxels - first) / (hop or 1.0)).clamp(0, cells - 1)  # cells without extent all lie on the first
    lower = places.long()
    share = (places - lower).to(values.dtype).reshape(-1, *[1] * (values.ndim - 1 - axis))
    upper = (lower + 1).clamp(max=cells - 1)
    return torch.lerp(values.index_select(axis, lower), values.index_select(axis, upper), share)
