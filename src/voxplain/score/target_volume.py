"""Targets of segmentation networks that speak of a whole structure: its volume, and how well it overlaps a mask."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score import regions
from voxplain.score.choice import Choice, probabilities
from voxplain.score.target_base import OfClasses, told
from voxplain.types import Head

ML = 1000
"""Cubic millimetres in a millilitre."""


@dataclass(frozen=True)
class _OfStructure(OfClasses):
    """A number of the probabilities of a structure's voxels, all over the image."""

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return self._number(self._together(probabilities(output, head)), choice)

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """As everywhere; each of several classes that are taken as one has the number of all of them."""
        values = probabilities(output, head)
        one = self._number(self._together(values), choice)
        each = enumerate(values.unbind(dim=1))
        return torch.stack([one if n in self.classes else self._number(own, choice) for n, own in each], dim=1)

    def _together(self, values: Tensor) -> Tensor:
        return values[:, list(self.classes)].sum(dim=1)

    @abstractmethod
    def _number(self, values: Tensor, choice: Choice) -> Tensor:
        """One number a sample (batch,) of probabilities (batch, *space)."""


@dataclass(frozen=True)
class Volume(_OfStructure):
    """The volume of a class in ml: the sum of its probability over all voxels, times the volume of a voxel."""

    name = "volume"
    unit_words = "ml"

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        return Choice(self._first(output, head))

    def scale(self, voxel_mm3: float | None) -> float:
        if voxel_mm3 is None:
            raise InputError(
                "volume: the image must be a volume in millimetres; use region(1, over='whole', reduce='sum', "
                "of='probability') to count voxels"
            )
        return voxel_mm3 / ML

    def _number(self, values: Tensor, choice: Choice) -> Tensor:
        return values.flatten(1).sum(dim=1)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"volume of {self._named(class_names)}"


@dataclass(frozen=True)
class SoftDice(_OfStructure):
    """How well a class overlaps the given mask: twice the probability inside it over the sum of both volumes."""

    name = "soft_dice"
    unit_words = "Dice"

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        index = self._first(output, head)
        region = regions.given(mask, output[:, 0], self.name)
        if not bool(region.flatten(1).any(dim=1).all()):
            raise InputError("soft_dice: the mask has no voxel on the output's grid")
        return Choice(index, region=region)

    def _number(self, values: Tensor, choice: Choice) -> Tensor:
        mask = told(choice.region).to(values)
        both = values.flatten(1).sum(dim=1) + mask.flatten(1).sum(dim=1)
        return 2 * (values * mask).flatten(1).sum(dim=1) / both

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"soft Dice of {self._named(class_names)} and the given mask"
