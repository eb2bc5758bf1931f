"""The target of segmentation networks: a class over a region of the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score import regions
from voxplain.score.choice import Choice, probabilities, resolved, scores
from voxplain.score.target_base import OfClasses, told
from voxplain.types import Head


@dataclass(frozen=True)
class Region(OfClasses):
    """The mean (or sum) of a class's logit over a region of a segmentation output.

    Several classes are one: the logarithm of the sum of their exponentials, which softmax makes the probability that a
    voxel is of any of them.
    """

    name = "region"
    unit_words = "logits"
    local = True
    _: KW_ONLY
    over: Literal["predicted", "whole", "mask", "component", "false_positive", "missed", "boundary", "box", "voxel"] = (
        "predicted"
    )
    """Where: voxels predicted as the class, all, a given mask, one connected component of the prediction, one of it
    that the mask has nothing of, one of the mask that the prediction has nothing of, the outermost voxels of the
    prediction, a box, one voxel."""
    reduce: Literal["mean", "sum"] = "mean"
    """Mean over the region, or sum."""
    of: Literal["logit", "probability"] = "logit"
    """Which number of each voxel."""
    component: int = 1
    """For over='component', 'false_positive' and 'missed': which of them, 1 = largest."""
    box: tuple[int, ...] = ()
    """For over='box': first and past-the-last output voxel, (i0, j0, k0, i1, j1, k1)."""
    voxel: tuple[int, ...] = ()
    """For over='voxel': the output voxel (i, j, k)."""

    def _check(self) -> None:
        super()._check()
        self._require(self.component >= 1, "component", "at least 1")
        for option, counts, unused in (("box", (4, 6), ()), ("voxel", (2, 3), ()), ("component", (), 1)):
            value, words = getattr(self, option), " or ".join(map(str, counts))
            needed = self.over == option and bool(counts)
            self._require(not needed or len(value) in counts, option, f"{words} whole numbers for over={option!r}")
            meant = self.over == option or (option == "component" and self.over in regions.COMPONENTS)
            self._require(meant or value == unused, option, f"left out unless over={option!r}")

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        index = self._first(output, head)
        values, exclusive = scores(output, head).detach(), resolved(output, head) == "softmax"
        region = regions.select(self, regions.predicted(values, self.classes, exclusive), mask)
        empty = (~region.flatten(1).any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise InputError(f"{self}: the region is empty{regions.hint(self.over, self.classes)}")
        return Choice(index, region=region)

    @property
    def unit(self) -> str:
        return "logits" if self.of == "logit" else "probability"

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return self._over(self._as_one(self._each_voxel(output, head)), choice)

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """As everywhere; each of several classes that are taken as one has the number of all of them."""
        values = self._each_voxel(output, head)
        one = self._over(self._as_one(values), choice)
        each = enumerate(values.unbind(dim=1))
        return torch.stack([one if n in self.classes else self._over(own, choice) for n, own in each], dim=1)

    def _each_voxel(self, output: Tensor, head: Head) -> Tensor:
        return scores(output, head) if self.of == "logit" else probabilities(output, head)

    def _as_one(self, values: Tensor) -> Tensor:
        """Numbers (batch, *space) of the class, or of the several together."""
        if len(self.classes) == 1:
            return values[:, self.classes[0]]
        own = values[:, list(self.classes)]
        return own.logsumexp(dim=1) if self.of == "logit" else own.sum(dim=1)

    def _over(self, values: Tensor, choice: Choice) -> Tensor:
        """Mean or sum over the region of numbers (batch, *space)."""
        place = told(choice.region).to(values.device)
        total = values.where(place, 0).flatten(1).sum(dim=1)
        return total if self.reduce == "sum" else total / place.flatten(1).sum(dim=1)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        them = "it" if len(self.classes) == 1 else "one of them"
        where = {
            "predicted": f"the region predicted as {them}",
            "whole": "the whole image",
            "mask": "the given mask",
            "boundary": f"the boundary of the region predicted as {them}",
            "false_positive": "a predicted component that the mask has nothing of",
            "missed": "a component of the mask that the prediction has nothing of",
        }
        place = where.get(self.over, f"one {self.over}")
        return f"{self.reduce} {self.of} of {self._named(class_names)} over {place}"
