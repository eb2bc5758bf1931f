"""What every method is: a frozen record of options that, given a score and a batch, returns a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from jaxtyping import Shaped
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score.cells import Cells
from voxplain.score.score import Score
from voxplain.spec import Options
from voxplain.types import Access, Quantity


@dataclass(frozen=True, eq=False)
class Map:
    """What a method says about a batch: never normalised, flipped or clipped for show."""

    values: Tensor
    """(batch, channel or 1, *space): input resolution, or the layer's own for layer methods."""
    quantity: Quantity
    unit: str
    """What one unit of a value is, such as 'logits' or 'logits per input unit'."""
    standard_error: Tensor | None = None
    """Same shape as `values`, for methods that sample."""
    cells: Cells | None = None
    """How the cells of a coarse map lie in the input; None at input resolution."""
    layer: str = ""
    """The layer a coarse map was read from."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Named extra maps at input resolution."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Named extras that are no maps: one number a sample, or plain values."""
    score: Tensor | None = None
    """The clean score of each sample (batch,), float64."""
    classes: Tensor | None = None
    """The class or output number that was explained in each sample (batch,)."""
    notes: tuple[str, ...] = ()
    """What was chosen for the user, in sentences."""
    derivative: bool = False
    """True where values are derivatives by the input: their unit changes with the scale of the intensities."""
    siblings: tuple[Map, ...] = ()
    """One map each for further layers that were asked for together."""
    by_class: Tensor | None = None
    """(batch, class, channel or 1, *space): the same map for every class or output, where one set of calls gave all."""


@dataclass(frozen=True, kw_only=True)
class Method(Options, ABC):
    """Options of a method; calling it never changes it."""

    title: ClassVar[str]
    """Its name as papers write it."""
    citation: ClassVar[str]
    """Where it is defined."""
    access: ClassVar[Access]
    """What it must be able to do with a model."""
    quantity: ClassVar[Quantity]
    """What its numbers mean (with default options)."""
    law: ClassVar[str]
    """What its maps must satisfy, in one line."""
    cost: ClassVar[str] = ""
    """What it typically costs, in forwards of one image (a backward to the input is one more)."""
    needs_reference: ClassVar[bool] = False
    """True where it needs reference images besides the one explained."""

    @property
    def needed_access(self) -> Access:
        """What this very object needs: a wrapper takes the most of its own and of what it wraps."""
        return self.access

    @property
    def wants_reference(self) -> bool:
        """True where this very object needs reference images, by itself or for what it wraps."""
        return self.needs_reference

    @final
    def __call__(self, score: Score, x: Shaped[Tensor, "batch channel *space"]) -> Map:
        """The map of each sample of a batch (batch, channel, *space), two or three spatial axes.

        Raises `InputError` where the batch is empty, not finite or not spatial, or the model offers too little access.
        """
        score.model.require(self.needed_access, self.name)
        if x.ndim not in (4, 5) or 0 in x.shape:
            raise InputError(f"{self.name}: input must be (batch, channel, *space) in 2D or 3D, got {tuple(x.shape)}")
        # A finite sum is ten times cheaper to find, and has finite terms; one that overflows says nothing.
        if not (torch.isfinite(x.sum()) or torch.isfinite(x).all()):
            raise InputError(f"{self.name}: input must be finite, got NaN or infinite voxels")
        if not x.is_floating_point():
            x = x.to(score.model.dtype)
        return self._map(score, x.detach())

    @abstractmethod
    def _map(self, score: Score, x: Tensor) -> Map:
        """The method itself, on a checked batch."""


@dataclass(frozen=True, kw_only=True)
class Sampled(Method):
    """Options of a method whose map is a mean over random draws.

    Draws depend on the seed and their number only, and are the same for every image of a batch.
    """

    samples: int = 100
    """Draws at most."""
    seed: int | None = None
    """Seed of the draws; left out: the run's own."""
    tolerance: float | None = None
    """Stop once the largest standard error is below this share of the map's largest value.

    Looked at after 1/8, 1/4 and 1/2 of the draws.
    """

    def _check(self) -> None:
        self._require(self.samples >= 1, "samples", "at least 1")
        self._require(self.seed is None or self.seed >= 0, "seed", "at least 0")
        self._require(self.tolerance is None or self.tolerance > 0, "tolerance", "more than 0")

    def _seed(self, score: Score) -> int:
        return score.seed if self.seed is None else self.seed

    def _schedule(self) -> list[int]:
        """How many draws are done at each look; fixed beforehand, so that stopping depends on the map alone."""
        looks = [] if self.tolerance is None else [self.samples // part for part in (8, 4, 2)]
        return [*dict.fromkeys(count for count in looks if count > 1), self.samples]

    def _precise(self, values: Tensor, standard_error: Tensor) -> bool:
        """True where every sample of a batch is known well enough to stop (batch, ...)."""
        if self.tolerance is None:
            return False
        largest = values.abs().flatten(1).amax(dim=1)
        return bool((standard_error.flatten(1).amax(dim=1) <= self.tolerance * largest).all())
