"""Random draws that depend on a seed and their own number only: not on chunks, batches or the global state."""

from collections.abc import Sequence

import torch
from torch import Tensor

PRIMES = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Constants of the SplitMix64 generator (Steele, Lea, Flood, OOPSLA 2014), which turns near seeds into far ones."""

WIDTH = 2**64


def generator(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for draw `number` of a seed; each kind of device has numbers of its own."""
    return torch.Generator(device).manual_seed(_mixed(_mixed(seed) + number))


def normal(
    seed: int, numbers: Sequence[int] | Tensor, shape: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal numbers (len(numbers), *shape), float64, made on the device: row n is of draw `numbers[n]`."""
    rows = torch.empty((len(numbers), *shape), dtype=torch.float64, device=device)
    for row, number in zip(rows, _listed(numbers), strict=True):
        row.normal_(generator=generator(seed, number, device))
    return rows


def uniform(seed: int, numbers: Sequence[int] | Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers uniform in 0..1 (len(numbers), *shape), float64: row n belongs to draw `numbers[n]`."""
    return torch.stack(
        [torch.rand(tuple(shape), generator=generator(seed, n), dtype=torch.float64) for n in _listed(numbers)]
    )


def _listed(numbers: Sequence[int] | Tensor) -> list[int]:
    return [int(n) for n in (numbers.tolist() if isinstance(numbers, Tensor) else numbers)]


def _mixed(value: int) -> int:
    """SplitMix64: a bijection on 64 bits under which neighbours lie far apart."""
    value = (value + PRIMES[0]) % WIDTH
    value = ((value ^ (value >> 30)) * PRIMES[1]) % WIDTH
    value = ((value ^ (value >> 27)) * PRIMES[2]) % WIDTH
    return value ^ (value >> 31)
