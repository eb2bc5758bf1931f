"""Metrics that hold maps against what the model does when the input changes, and what those of one case share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.metrics.base import Measured, Metric, Need
from voxplain.score.score import Score

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Probe:
    """One case and its maps on the model's device, and what was already found out about them."""

    score: Score
    """Class and region are fixed by the clean input."""
    x: Tensor
    """(1, channel, *space)."""
    maps: tuple[Tensor, ...]
    """Each (channel or 1, *space)."""
    finite: tuple[bool, ...]
    """Which maps came without NaN and infinite values."""
    clean: float
    """The score of `x`."""
    body: Tensor | None = None
    """(*space), true where there is tissue."""
    _found: dict[Hashable, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, score: Score, x: Tensor, maps: Sequence[Tensor], body: Tensor | None = None) -> Probe:
        """A case (1, channel, *space) and its maps, each (channel or 1, *space), and the voxels (*space) of the body.

        Raises `InputError` where the shapes do not fit.
        """
        _check(x, maps, body)
        clean, frozen = score.freeze(x)
        device = score.model.device
        moved = tuple(values.detach().to(device) for values in maps)
        finite = tuple(bool(torch.isfinite(values).all()) for values in moved)
        inside = None if body is None else (body != 0).to(device)
        return cls(frozen, x.detach().to(device), moved, finite, float(clean[0]), inside)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, asked for once a `key`: all metrics of the case share it."""
        if key not in self._found:
            self._found[key] = make()
        found: T = self._found[key]
        return found

    def scores(self, count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        """Scores (count,), float64, of altered versions of the case, which `make` builds from their numbers (n,)."""
        stream = self.score.stream(count, lambda index: (make(index), torch.zeros_like(index)), like=self.x)
        return torch.cat([piece.values for piece in stream])


@dataclass(frozen=True, kw_only=True)
class ModelMetric(Metric):
    """A metric that holds maps against what the model does when the input changes; maps of a case share its passes."""

    need: ClassVar[Need] = Need.MODEL

    @final
    def __call__(self, score: Score, x: Tensor, maps: Sequence[Tensor], body: Tensor | None = None) -> list[Measured]:
        """One number for each map of one case (1, channel, *space), all maps at its resolution, (channel or 1, *space).

        Class and region are fixed by the clean `x` where the score has not fixed them yet; `body` (*space), not 0 where
        there is tissue, serves replacement by its mean. Raises `InputError` where the shapes do not fit.
        """
        return self.on(Probe.of(score, x, maps, body))

    @final
    def on(self, probe: Probe) -> list[Measured]:
        """One number for each map of a case that several metrics look at; what they have in common is computed once."""
        if not math.isfinite(probe.clean):
            return [Measured.not_applicable("the model's score of the image is not finite")] * len(probe.maps)
        found = self._measure(probe)
        return [
            _finite(one) if good else Measured.not_applicable("the map holds values that are NaN or infinite")
            for one, good in zip(found, probe.finite, strict=True)
        ]

    @abstractmethod
    def _measure(self, probe: Probe) -> list[Measured]:
        """The metric itself, a number for each map."""


def _finite(measured: Measured) -> Measured:
    """The same, unless a score that is not finite went into it."""
    if measured.value is None or math.isfinite(measured.value):
        return measured
    return replace(measured, value=None, reason="the model's score of an altered image is not finite")


def _check(x: Tensor, maps: Sequence[Tensor], body: Tensor | None) -> None:
    space = tuple(x.shape[2:])
    if len(x) != 1 or len(space) not in (2, 3):
        raise InputError(f"input must be one sample (1, channel, *space) in 2D or 3D, got {tuple(x.shape)}")
    for values in maps:
        if tuple(values.shape[1:]) != space or len(values) not in (1, x.shape[1]):
            raise InputError(
                f"maps must be ({' or '.join(map(str, sorted({1, x.shape[1]})))}, {', '.join(map(str, space))}) like "
                f"the input, got {tuple(values.shape)}"
            )
    if body is not None and tuple(body.shape) != space:
        raise InputError(f"body must be {space} like the input, got {tuple(body.shape)}")
