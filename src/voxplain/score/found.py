"""What a score gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
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


def joined_taps(taps: Sequence[Tap]) -> Tap:
    """One layer's taps of several chunks as that of one batch."""
    if len(taps) == 1:
        return taps[0]
    activation = torch.cat([tap.activation for tap in taps])
    return Tap(taps[0].layer, activation, torch.cat([tap.gradient for tap in taps]), taps[0].cells)
