"""What every metric is: a frozen record of options that turns one map into one number, or says why it cannot."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, final

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.spec import Options


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
class MaskMetric(Metric):
    """A metric that holds a map against a mask of what it should have found."""

    need: ClassVar[Need] = Need.MASK

    @final
    def __call__(self, attribution: Attribution, mask: Image, body: Image | None = None) -> Measured:
        """The number of one map; all voxels of `mask` that are not 0 count, and only voxels of `body` where given.

        Mask and body have one channel. Raises `InputError` where they lie on another grid than the map.
        """
        for name, image in (("mask", mask), ("body", body)):
            if image is not None and not image.grid.same_as(attribution.grid):
                raise InputError(
                    f"{name} must lie on the map's grid, got {image.grid.shape} for a map of {attribution.grid.shape}"
                )
            if image is not None and len(image.channels) != 1:
                raise InputError(f"{name} must have one channel, got {len(image.channels)}")
        return self._measure(attribution, mask, body)

    @abstractmethod
    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        """The metric itself, on images of one grid."""
