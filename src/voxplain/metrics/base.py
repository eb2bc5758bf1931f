"""What every metric is: a frozen record of options that turns one map into one number, or says why it cannot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, final

from jaxtyping import Shaped
from torch import Tensor

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.spec import Options

Explain = Callable[[Score, Tensor], Tensor]
"""A method as a metric takes it: a score and a batch in, maps (batch, channel or 1, *space) at its resolution out."""


class Need(StrEnum):
    """What a metric looks at."""

    MAP = "map"
    MASK = "map and mask"
    MODEL = "model and map"
    METHOD = "method"


@dataclass(frozen=True)
class Measured:
    """The number of one case; `value` is None where the metric does not apply, and then `reason` says why."""

    value: float | None
    chance: float | None = None
    """What a map that knows nothing would get on this case; None where that is not defined."""
    reason: str = ""

    @classmethod
    def not_applicable(cls, reason: str, chance: float | None = None) -> "Measured":
        """No number, with the reason in a few words."""
        return cls(None, chance, reason)

    @property
    def times_chance(self) -> float | None:
        """The value as a multiple of the chance level."""
        return self.value / self.chance if self.value is not None and self.chance else None


@dataclass(frozen=True, kw_only=True)
class Metric(Options, ABC):
    """Options of a metric; a number is never averaged over cases in here."""

    title: ClassVar[str]
    """Its name as papers write it."""
    citation: ClassVar[str]
    """Where it is defined."""
    need: ClassVar[Need]
    """What it looks at."""
    better: ClassVar[Literal["higher", "lower"]]
    """Which direction is good."""
    bounds: ClassVar[tuple[float | None, float | None]]
    """Least and greatest possible value; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class MapMetric(Metric):
    """A metric that looks at the map alone."""

    need: ClassVar[Need] = Need.MAP

    @final
    def __call__(self, attribution: Attribution, body: Image | None = None) -> Measured:
        """The number of one map; only voxels of `body` (one channel, not 0) count where it is given.

        Raises `InputError` where the body lies on another grid than the map.
        """
        _check_images(attribution, body=body)
        return self._measure(attribution, body)

    @abstractmethod
    def _measure(self, attribution: Attribution, body: Image | None) -> Measured:
        """The metric itself, on images of one grid."""


@dataclass(frozen=True, kw_only=True)
class MaskMetric(Metric):
    """A metric that holds a map against a mask of what it should have found."""

    need: ClassVar[Need] = Need.MASK

    @final
    def __call__(self, attribution: Attribution, mask: Image, body: Image | None = None) -> Measured:
        """The number of one map; all voxels of `mask` that are not 0 count, and only voxels of `body` where given.

        Mask and body have one channel. Raises `InputError` where they lie on another grid than the map.
        """
        _check_images(attribution, mask=mask, body=body)
        return self._measure(attribution, mask, body)

    @abstractmethod
    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        """The metric itself, on images of one grid."""


@dataclass(frozen=True, kw_only=True)
class ModelMetric(Metric):
    """A metric that holds maps against what the model does when the input changes; maps of a case share its passes."""

    need: ClassVar[Need] = Need.MODEL

    @final
    def __call__(
        self, score: Score, x: Shaped[Tensor, "1 channel *space"], maps: Shaped[Tensor, "map channels *space"]
    ) -> list[Measured]:
        """One number for each map of one case, all maps at the resolution of `x` with its channels or one.

        Class and region are fixed by the clean `x` where the score has not fixed them yet. Raises `InputError` where
        the shapes do not fit.
        """
        if len(x) != 1 or maps.shape[2:] != x.shape[2:] or maps.shape[1] not in (1, x.shape[1]):
            raise InputError(
                f"{self.name}: maps must be (map, 1 or {x.shape[1]}, {', '.join(map(str, x.shape[2:]))}) for one "
                f"sample, got {tuple(maps.shape)} for {len(x)}"
            )
        frozen = score if score.choice is not None else score.freeze(x)[1]
        return self._measure(frozen, x, maps)

    @abstractmethod
    def _measure(self, score: Score, x: Tensor, maps: Tensor) -> list[Measured]:
        """The metric itself, on checked tensors of one device."""


@dataclass(frozen=True)
class Change:
    """Another score to explain in place of a case's own: a randomised network, another class, a second model."""

    name: str
    """What was changed, in a few words."""
    apply: Callable[[Score], Score]
    """A case's frozen score -> the score to explain."""


@dataclass(frozen=True, eq=False)
class Explained:
    """One map a metric asked for, with what it was made of."""

    change: str
    score: Score
    x: Tensor
    """(1, channel, *space)."""
    values: Tensor
    """(1, channel or 1, *space)."""


@dataclass(frozen=True, kw_only=True)
class MethodMetric(Metric):
    """A metric that has a method explain again: other networks, other inputs. All methods share what it asks for."""

    need: ClassVar[Need] = Need.METHOD

    def changes(self, score: Score, second: Sequence[Model] = ()) -> Iterator[Change]:
        """The scores to explain, one after another, the same for all cases of a model; here only the case's own.

        `second` are further models where the metric compares models.
        """
        yield Change("", lambda own: own)

    def inputs(self, score: Score, x: Tensor) -> Iterator[Tensor]:
        """The inputs (1, channel, *space) to explain under each change; here only the clean one."""
        yield x

    @final
    def __call__(self, score: Score, x: Tensor, explain: Explain, second: Sequence[Model] = ()) -> Measured:
        """The number of one method on one case (1, channel, *space)."""
        frozen = score if score.choice is not None else score.freeze(x)[1]
        clean = Explained("", frozen, x, explain(frozen, x))
        others = [
            Explained(change.name, changed, other, explain(changed, other))
            for change in self.changes(frozen, second)
            for changed in (change.apply(frozen),)
            for other in self.inputs(changed, x)
        ]
        return self.judge(clean, others)

    @abstractmethod
    def judge(self, clean: Explained, others: Sequence[Explained]) -> Measured:
        """The number, from the clean map and those of all changes and inputs, in their order."""


def _check_images(attribution: Attribution, **images: Image | None) -> None:
    for name, image in images.items():
        if image is None:
            continue
        if not image.grid.same_as(attribution.grid):
            raise InputError(
                f"{name} must lie on the map's grid, got {image.grid.shape} for a map of {attribution.grid.shape}"
            )
        if len(image.channels) != 1:
            raise InputError(f"{name} must have one channel, got {len(image.channels)}")
