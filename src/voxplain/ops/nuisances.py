"""What scanners and readers do to the same anatomy: a bias field, noise, another window. Intensities only."""

from __future__ import annotations

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from voxplain.ops import draws

ORDER = 3
"""Degree of the polynomials of a bias field, as in Van Leemput et al., IEEE TMI 1999."""


def with_bias_field(
    x: Float[Tensor, "batch channel *space"], strength: float, seed: int, number: int
) -> Float[Tensor, "batch channel *space"]:
    """Intensities above the minimum multiplied by a smooth field between exp(-strength) and exp(strength)."""
    axes = [torch.linspace(-1, 1, length, dtype=torch.float64) for length in x.shape[2:]]
    places = torch.meshgrid(*axes, indexing="ij")
    powers = [one for one in product(range(ORDER + 1), repeat=len(axes)) if 0 < sum(one) <= ORDER]
    weights = draws.normal(seed, [number], (len(powers),))[0]
    field = torch.zeros_like(places[0])
    for weight, power in zip(weights, powers, strict=True):
        term = torch.ones_like(field)
        for place, exponent in zip(places, power, strict=True):
            term = term * place**exponent
        field = field + weight * term
    gain: Tensor = torch.exp(strength * field / field.abs().max().clamp(min=torch.finfo(torch.float64).tiny)).to(x)
    low = _least(x)
    return low + (x - low) * gain


def with_noise(x: Tensor, strength: float, seed: int, number: int) -> Tensor:
    """Normal noise with `strength` of each channel's standard deviation."""
    space = tuple(range(2, x.ndim))
    spread: Tensor = x.std(dim=space, correction=0, keepdim=True)
    drawn: Tensor = strength * spread * draws.normal(seed, [number], x.shape[1:], x.device).to(x)
    return x + drawn


def with_window(x: Tensor, strength: float, seed: int, number: int) -> Tensor:
    """Each channel windowed anew: width and level off by up to `strength` of its range, cut where the old one ends."""
    width, level = (strength * (2 * draws.uniform(seed, [number], (2,))[0] - 1)).tolist()
    low, high = _least(x), _largest(x)
    middle, extent = (low + high) / 2, high - low
    windowed: Tensor = (x - middle - level * extent) / (1 + width) + middle
    return windowed.clamp(low, high)


def uniform_noise(x: Tensor, radius: float, seed: int, number: int) -> Tensor:
    """Each voxel off by up to `radius` of its channel's range, either way."""
    noise = 2 * draws.uniform(seed, [number], x.shape[1:]) - 1
    return x + radius * (_largest(x) - _least(x)) * noise.to(x)


def _least(x: Tensor) -> Tensor:
    return x.amin(dim=tuple(range(2, x.ndim)), keepdim=True)


def _largest(x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)
