"""What stands in for a model where numbers, not images, say what is asked: windows, or channels of a layer."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from voxplain.score.model import Model


class StandIn:
    """Takes numbers (n,) as its batch and gives the network's output (n, ...) for what they stand for."""

    dtype = torch.int64
    order = torch.preserve_format
    fixed_batch = None

    def __init__(self, model: Model) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def network(self, *_: object, **__: object) -> Self:
        """Itself: nothing runs in its place."""
        return self

    def filled(self, numbers: Tensor) -> Tensor:
        """The numbers as they are."""
        return numbers
