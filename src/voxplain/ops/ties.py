"""Ranks that rounding errors cannot turn: numbers that are equal but for arithmetic noise count as equal."""

import torch
from torch import Tensor

DOUBLE_STEP = 1e-9
"""Scores in double precision agree to about 1e-15 of their size in any chunk; a step lies far above."""

SINGLE_STEP = 1e-5
"""The same for single precision, whose scores agree to about 1e-7."""


def step_of(size: Tensor, dtype: torch.dtype) -> Tensor:
    """The least difference that counts between scores of about `size` from a network that computes in `dtype`."""
    share = DOUBLE_STEP if dtype is torch.float64 else SINGLE_STEP
    return (size.abs() * share).clamp_min(torch.finfo(torch.float64).tiny)


def stepped(values: Tensor, step: Tensor | float) -> Tensor:
    """Values as whole numbers of steps, so that ties stay ties and the order of equals is the order they came in."""
    return (values / step).round()
