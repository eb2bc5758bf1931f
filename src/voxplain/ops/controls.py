"""Maps that no network was asked for: what every sanity check is held against.

A method that does no better than these says nothing about the network. Adebayo et al., NeurIPS 2018, section 5.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from voxplain.ops import draws

BLOB_SHARE = 6
"""The blob's standard deviation is a sixth of each side: its rim, at three of them, touches the border."""


def random_map(x: Float[Tensor, "batch channel *space"], seed: int = 0) -> Float[Tensor, "batch 1 *space"]:
    """Numbers uniform in 0..1, a map of its own for each image of the batch."""
    found = draws.uniform(seed, range(len(x)), (1, *x.shape[2:]))
    return found.to(x)


def edge_map(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch 1 *space"]:
    """Sobel magnitude in 2D or 3D: derivatives along all axes, as a root of their sum of squares over channels.

    Along each axis it equals `scipy.ndimage.sobel` with the mode 'nearest'.
    """
    axes = range(2, x.ndim)
    slopes = [_sobel(x.double(), along) for along in axes]
    return torch.stack(slopes).square().sum(dim=(0, 2)).sqrt()[:, None].to(x.dtype)


def centre_blob(x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch 1 *space"]:
    """A Gaussian in the middle of the image, 1 at its peak: what attention to 'somewhere inside' would look like."""
    blob = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    for axis, length in enumerate(x.shape[2:], start=2):
        place = torch.arange(length, dtype=x.dtype, device=x.device) - (length - 1) / 2
        profile = torch.exp(-0.5 * (place * BLOB_SHARE / length) ** 2)
        blob = blob * profile.reshape([-1 if n == axis else 1 for n in range(x.ndim)])
    return blob.expand(len(x), *blob.shape[1:])


CONTROLS: dict[str, Callable[[Tensor], Tensor]] = {
    "random_map": partial(random_map, seed=0),
    "edge_map": edge_map,
    "centre_blob": centre_blob,
}
"""Every control by name: an image batch in, maps (batch, 1, *space) out."""


def _sobel(x: Tensor, along: int) -> Tensor:
    for axis in range(2, x.ndim):
        before, middle, after = _neighbours(x, axis)
        x = after - before if axis == along else before + 2 * middle + after
    return x


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Each voxel's predecessor, itself and its successor along an axis; at the border the border voxel itself."""
    length = x.shape[axis]
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, length - 1, 1)
    before = torch.cat([first, x.narrow(axis, 0, length - 1)], dim=axis)
    after = torch.cat([x.narrow(axis, 1, length - 1), last], dim=axis)
    return before, x, after
