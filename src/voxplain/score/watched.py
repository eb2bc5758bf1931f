"""A score whose network runs inside a watcher of the caller's making, for what neither layers nor gradients tell."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.types import Access

Watch = Callable[[Tensor], AbstractContextManager[object]]
"""The batch that goes into the network -> what is entered for that forward pass."""


class _Watched(nn.Module):
    """A network that enters the watcher for every forward pass."""

    def __init__(self, network: nn.Module, watch: Watch) -> None:
        super().__init__()
        self.network = network
        self._watch = watch

    def forward(self, x: Tensor) -> object:
        if x.is_meta:  # a dry pass plans memory, there is nothing to see
            return self.network(x)
        with self._watch(x):
            return self.network(x)


def watched(score: Score, watch: Watch, asker: str) -> Score:
    """The same score with every forward pass inside `watch`; raises `InputError` where access to layers is too much."""
    score.model.require(Access.LAYERS, asker)
    if score.access < Access.LAYERS:
        raise InputError(f"{asker} needs {Access.LAYERS.words}, but this score was limited to {score.access.words}")
    twin = copy.copy(score)
    twin.model = score.model.with_module(_Watched(score.model.module, watch))
    return twin


def is_watched(model: Model) -> bool:
    """True for the model of a watched score."""
    return isinstance(model.module, _Watched)
