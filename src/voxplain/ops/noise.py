"""Noise that looks like the image: what covers a window where any constant would itself be a sign."""

from jaxtyping import Float
from torch import Tensor

from voxplain.ops import draws


def noise(x: Float[Tensor, "batch channel *space"], seed: int) -> Float[Tensor, "batch channel *space"]:
    """Normal noise with the mean and spread of each channel of each sample; the same pattern for every sample."""
    space = tuple(range(2, x.ndim))
    spread = x.std(dim=space, correction=0, keepdim=True)
    return x.mean(dim=space, keepdim=True) + spread * draws.normal(seed, [0], x.shape[1:], x.device).to(x)
