"""The inputs that metrics of methods have explained: neighbours of an image, and the same anatomy scanned otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import radians
from typing import Literal

import torch
from torch import Tensor

from voxplain.metrics.base_method import Input, Inputs
from voxplain.ops import draws
from voxplain.ops.moves import kept, moved, rotation
from voxplain.ops.nuisances import uniform_noise, with_bias_field, with_noise, with_window
from voxplain.score.score import Score
from voxplain.score.swapped import with_region

Nuisance = Literal["bias_field", "noise", "window", "rotation", "spacing"]

INTENSITIES: dict[str, Callable[[Tensor, float, int, int], Tensor]] = {
    "bias_field": with_bias_field,
    "noise": with_noise,
    "window": with_window,
    "uniform": uniform_noise,
}
"""Changes that leave every voxel where it is: image, strength, seed and number of the draw."""


@dataclass(frozen=True)
class Altered(Inputs):
    """Images whose intensities were altered, `samples` times."""

    kind: str
    """One of `INTENSITIES`."""
    strength: float
    samples: int
    seed: int

    def inputs(self, score: Score, x: Tensor) -> Iterator[Input]:
        for number in range(self.samples):
            yield Input(INTENSITIES[self.kind](x, self.strength, self.seed, number))


@dataclass(frozen=True)
class Moved(Inputs):
    """Images turned by up to `degrees` and made smaller by `ratio`, and maps brought back by the inverse.

    The region of a target moves along. In the plane turns have either sense, in 3D any axis.
    """

    degrees: float
    ratio: float
    samples: int
    seed: int

    def inputs(self, score: Score, x: Tensor) -> Iterator[Input]:
        spacing = score.spacing_mm or (1.0,) * (x.ndim - 2)
        for number in range(self.samples):
            matrix = self._matrix(x.ndim - 2, number)
            back = partial(moved, matrix=torch.linalg.inv(matrix), spacing=spacing)
            ask = partial(_following, matrix=matrix, spacing=spacing, space=tuple(x.shape[2:]))
            yield Input(moved(x, matrix, spacing), back, ask, kept(x, matrix, spacing))

    def _matrix(self, rank: int, number: int) -> Tensor:
        turn = radians(self.degrees) * float(2 * draws.uniform(self.seed, [number], (1,)) - 1)
        axis = draws.normal(self.seed + 1, [number], (3,))[0] if rank == 3 else None
        return rotation(turn, axis) / self.ratio


def _following(score: Score, matrix: Tensor, spacing: tuple[float, ...], space: tuple[int, ...]) -> Score:
    """The score with its region moved as the image was; as it is where it has none."""
    region = None if score.choice is None else score.choice.region
    if region is None:
        return score
    steps = [step * side / own for step, side, own in zip(spacing, space, region.shape[1:], strict=True)]
    there = moved(region[:, None].float(), matrix, steps, "zeros", "nearest")[:, 0] > 0
    return with_region(score, there if bool(there.any()) else region)
