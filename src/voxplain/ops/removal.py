"""In which order the parts of an image are removed, and which voxels are gone after each step."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxplain.ops.draws import generator


def removal_ranks(values: Float[Tensor, "map part"], seed: int) -> Int[Tensor, "map part"]:
    """When each part is removed, from 0, the largest value first; equal values in one random order for all maps.

    Ties are common (all that a map says nothing about), and an order by place would favour a border of the image.
    """
    shuffle = random_order(values.shape[1], seed, 0, values.device)
    order = shuffle[values[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def random_order(parts: int, seed: int, number: int, device: torch.device | str = "cpu") -> Int[Tensor, " part"]:
    """All parts in the random order `number` of a seed, made on the device."""
    return torch.randperm(parts, generator=generator(seed, number, device), device=device)


def part_sums(values: Float[Tensor, "map *space"], labels: Int[Tensor, "*space"]) -> Float[Tensor, "map part"]:
    """The sum of each map over each part, which labels number from 0."""
    count = int(labels.max()) + 1
    return values.new_zeros(len(values), count).index_add_(1, labels.flatten(), values.flatten(1))
