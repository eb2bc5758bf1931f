"""Memory with its channels last, which convolutions read fastest: the same numbers in another order."""

from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS: dict[int, tuple[type[nn.Module], ...]] = {
    4: (nn.Conv2d, nn.ConvTranspose2d),
    5: (nn.Conv3d, nn.ConvTranspose3d),
}
"""Dimensions of a batch -> the convolutions that read it."""

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}

PLAIN = torch.contiguous_format


def layout(module: nn.Module, x: Tensor) -> torch.memory_format:
    """The order in which a network is fastest on batches like `x`.

    Channels last where convolutions prevail (measured on 2 cores, float32: 1.2 to 1.6 times as fast forward, 1.02 to
    1.4 with the backward, in 2D and 3D); networks of linear layers turn their tokens around anyway, and in float64
    torch's convolutions are written for the plain order.
    """
    parts = list(module.modules())
    convolutions = sum(isinstance(part, CONVOLUTIONS.get(x.ndim, ())) for part in parts)
    linear = sum(isinstance(part, nn.Linear) for part in parts)
    if any(isinstance(part, nn.GroupNorm) for part in parts):
        return PLAIN  # channels last, torch takes variances as mean squares less squared means: ten times the rounding
    pays = x.dtype != torch.float64 and convolutions >= max(linear, 1)
    return FORMATS[x.ndim] if pays else PLAIN


def in_order(x: Tensor, order: torch.memory_format) -> Tensor:
    """`x` in that order where it has the dimensions for it; no copy where it is so already."""
    return x.contiguous(memory_format=order) if order == PLAIN or FORMATS.get(x.ndim) == order else x


def rewritten(module: nn.Module, order: torch.memory_format, dtype: torch.dtype | None) -> dict[int, Any]:
    """Weights and buffers of a network by their id: kernels in that order, numbers of that type where one is given.

    What needs no change is the tensor itself and not a copy.
    """
    known: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        new = in_dtype(tensor, dtype)
        new = in_order(new, order) if isinstance(tensor, nn.Parameter) and order != PLAIN else new
        same = new is tensor or not isinstance(tensor, nn.Parameter)
        known[id(tensor)] = new if same else nn.Parameter(new.detach(), False)
    return known


def in_dtype(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Numbers as `dtype`; whole numbers, and all where none is given, as they are."""
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)
