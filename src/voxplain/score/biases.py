"""What the biases of a network give to a score: each bias times the gradient by the output that it was added to.

Caught as operations, so that reused modules and functional calls count each time they run; what counts as a bias is in
`added`.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from voxplain.errors import InputError, MemoryShort
from voxplain.score.added import added
from voxplain.score.call import Call
from voxplain.score.cells import Cells, CellTracker, Place, even_cells
from voxplain.score.found import Graded
from voxplain.score.score import Score
from voxplain.score.tokens import channels_last, folded, folded_shape
from voxplain.score.watched import watched


class Given(NamedTuple):
    """What the biases of one operation give to the score of each sample."""

    values: Tensor | None
    """(batch, channel, *cells); None where the operation has no places."""
    cells: Cells | None
    rest: Tensor
    """(batch, n): what has no place, such as that of class tokens or of a linear head."""


class Taker(Protocol):
    """What collects the biases of one pass."""

    def take(self, given: Given) -> None:
        """Add what one operation gives."""


T = TypeVar("T", bound=Taker)


class MixedSamples(InputError):
    """Samples share a dimension with something else, so that only a single one can be told from it."""


def biases(score: Score, x: Tensor, begin: Callable[[Tensor], T]) -> tuple[Graded, list[T]]:
    """Scores and gradients of a batch, and a taker a pass (in order) that saw the biases: one forward, one backward.

    `begin` makes the taker for the batch (n, channel, *space) of a pass.
    """
    try:
        return _biases(score, x, begin)
    except MixedSamples:
        alone = copy.copy(score)
        alone.chunk = 1
        return _biases(alone, x, begin)


def _biases(score: Score, x: Tensor, begin: Callable[[Tensor], T]) -> tuple[Graded, list[T]]:
    done: list[tuple[T, int]] = []

    @contextmanager
    def watch(batch: Tensor) -> Iterator[None]:
        taker, tracker = begin(batch.detach()), CellTracker(batch)
        if batch.requires_grad:  # its hook is the last of all: everything flows back into the batch
            batch.register_hook(lambda gradient: done.append((taker, len(gradient))))
        with tracker, _Catcher(tracker, batch, taker):
            yield

    graded = watched(score, watch, "reading biases").grad(x)
    seen = sum(count for _, count in done)
    if seen < len(x) or (seen > len(x) and score.model.fixed_batch is None):
        raise MemoryShort("memory ran out at the end of a pass; allow less of it at once, or use a smaller image")
    return graded, [taker for taker, _ in done]


class _Catcher(TorchFunctionMode):
    """Sees every operation that adds a bias, and hands on what it gives once the gradient is there."""

    def __init__(self, tracker: CellTracker, batch: Tensor, taker: Taker) -> None:
        super().__init__()
        self._tracker, self._shape, self._taker = tracker, tuple(batch.shape), taker

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation; its bias waits for the gradient by what came out."""
        bias = added(func, Call.of(func, args, kwargs))
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple) else out
        if bias is None or bias.requires_grad:  # what depends on the image is no bias
            return out
        if isinstance(first, Tensor) and first.requires_grad:
            told, constant = self._told(first), bias.detach()
            first.register_hook(lambda gradient: self._taker.take(told(gradient * constant)))
        return out

    def _told(self, out: Tensor) -> Callable[[Tensor], Given]:
        """How what a bias gives, in the shape of an output, is told by sample and place."""
        place, shape = self._tracker.place(out), tuple(out.shape)
        if place is not None and shape[0] == self._shape[0] and max(folded_shape(shape, place)[2:]) > 1:
            return lambda given: _placed(given, place)
        known = self._tracker.known(out)
        batch = known.batch if known is not None else (0 if shape[0] == self._shape[0] else None)
        if known is None and batch == 0 and self._is_map(shape):
            cells = even_cells(self._shape[2:], shape[2:])
            return lambda given: Given(given, cells, given.new_zeros(len(given), 0))
        if batch is None and self._shape[0] > 1:
            raise MixedSamples(f"samples of a batch cannot be told apart in a tensor {shape} of this model")
        return lambda given: Given(None, None, (given[None] if batch is None else given.movedim(batch, 0)).flatten(1))

    def _is_map(self, shape: Sequence[int]) -> bool:
        """True where a tensor whose places could not be followed is still a map (batch, channel, *space)."""
        return len(shape) == len(self._shape) and max(shape[2:]) > 1 and not channels_last(shape, self._shape[2:])


def _placed(given: Tensor, place: Place) -> Given:
    values = folded(given, place)
    if not place.grid:
        return Given(values, place.cells, given.new_zeros(len(given), 0))
    (axis,), (before, after) = place.axes, place.extra
    ends = [given.narrow(axis, 0, before), given.narrow(axis, given.shape[axis] - after, after)]
    return Given(values, place.cells, torch.cat([end.flatten(1) for end in ends], dim=1))
