"""Reference images: what other images a method compares the explained one with, checked in the user's words."""

import torch
from torch import Tensor

from voxplain.errors import InputError


def references(given: Tensor | None, x: Tensor, asker: str) -> Tensor:
    """The reference images (n, channel, *space) as the method `asker` can use them with a batch `x`."""
    if given is None or len(given) == 0:
        raise InputError(f"{asker}: reference images must be given, got none; pass reference=...")
    if given.shape[1:] != x.shape[1:]:
        raise InputError(
            f"{asker}: reference images must have the input's shape {tuple(x.shape[1:])}, got {tuple(given.shape[1:])}"
        )
    if not torch.isfinite(given).all():
        raise InputError(f"{asker}: reference images must be finite, got NaN or infinite voxels")
    return given.to(x)
