"""What every metric is: a frozen record of options that turns one map into one number, or says why it cannot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal, final

from torch import Tensor

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
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
class Curve:
    """A number along something, such as the score along the share of voxels removed."""

    at: tuple[float, ...]
    values: tuple[float, ...]
    along: str
    """What `at` counts."""


@dataclass(frozen=True)
class Measured:
    """The number of one case; `value` is None where the metric does not apply, and then `reason` says why."""

    value: float | None
    chance: float | None = None
    """What a map that knows nothing would get on this case; None where that is not defined."""
    reason: str = ""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """What the number was made of, to be drawn."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Named extras that are no curves."""

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
    masks_by_channel: ClassVar[bool] = False
    """True where the mask may have a channel of its own for each of the map's, by the same names."""

    @final
    def __call__(self, attribution: Attribution, mask: Image, body: Image | None = None) -> Measured:
        """The number of one map; all voxels of `mask` that are not 0 count, and only voxels of `body` where given.

        Mask and body have one channel, as a rule. Raises `InputError` where they lie on another grid than the map.
        """
        own = self.masks_by_channel and set(mask.channels) == set(attribution.channels)
        _check_images(attribution, mask=mask.select(mask.channels[:1]) if own else mask, body=body)
        return self._measure(attribution, mask, body)

    @abstractmethod
    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        """The metric itself, on images of one grid."""


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
