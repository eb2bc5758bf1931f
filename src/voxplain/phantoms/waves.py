"""A random field that is a function of the place: a sum of waves in all directions, alike on every grid."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[Any]

COUNT = 28
"""Waves in a sum: enough that no direction shows."""


@dataclass(frozen=True, eq=False)
class Waves:
    """A field of mean 0 and deviation 1 over the space that it is drawn from."""

    vectors: Field
    """Wave vectors (wave, axis) in radians a mm."""
    phases: Field
    """Phases (wave,)."""

    @classmethod
    def draw(cls, length: float, draw: np.random.Generator, axes: int = 3) -> Self:
        """Waves in random directions whose lengths lie around `length` (mm, or pixels)."""
        directions = draw.standard_normal((COUNT, axes))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        steps = 2 * np.pi / (length * draw.uniform(0.75, 1.5, (COUNT, 1)))
        return cls((directions * steps).astype(np.float32), draw.uniform(0, 2 * np.pi, COUNT).astype(np.float32))

    def at(self, places: Field) -> Field:
        """The field at places (axis, *any)."""
        total = np.zeros(places.shape[1:], np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(np.tensordot(vector, places, axes=1).astype(np.float32) + phase)
        return np.asarray(total * np.float32(np.sqrt(2 / len(self.phases))))
