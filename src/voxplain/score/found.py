"""What a score gives back."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from voxplain.score.layers import Tap
from voxplain.score.rules import Pass


class Piece(NamedTuple):
    """What one chunk of a stream gave: which samples (n,), their scores (n,) and gradients (empty if not asked for).

    Scores are (n, class) where those of every class were asked for.
    """

    samples: Tensor
    values: Tensor
    gradient: Tensor


class Graded(NamedTuple):
    """Scores (batch,), float64, their gradient by the input, and the class or output number explained (batch,)."""

    values: Tensor
    gradient: Tensor
    classes: Tensor


class Ruled(NamedTuple):
    """As `Graded`, by backward rules, with what each chunk's way back met."""

    values: Tensor
    gradient: Tensor
    classes: Tensor
    met: list[Pass]


class Tapped(NamedTuple):
    """Scores (batch,), float64, one tap a layer, and the class or output number explained (batch,)."""

    values: Tensor
    taps: list[Tap]
    classes: Tensor
