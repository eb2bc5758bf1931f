"""The whole tumour as one target: several classes of a segmentation taken as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score.choice import Choice, chosen_class, resolved, scores
from voxplain.score.target import Target
from voxplain.types import Head


@dataclass(frozen=True)
class Whole(Target):
    """The mean logit of several classes together over the voxels predicted as any of them.

    The logit of classes together is the logarithm of the sum of their exponentials: softmax makes of it the probability
    that a voxel is of one of them. One target and one backward pass, where the source added maps of single classes that
    had each been scaled to its own maximum.
    """

    name = "whole"
    unit_words = "logits"
    classes: tuple[int, ...] = (1, 2, 3)
    """Class numbers that are taken together."""
    over: Literal["predicted", "whole"] = "predicted"
    """Where: voxels predicted as one of the classes, or all."""

    def _check(self) -> None:
        whole = len(self.classes) > 1 and len(set(self.classes)) == len(self.classes)
        self._require(whole, "classes", "two or more different class numbers")

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        if output.ndim < 4:
            raise InputError(f"whole: the model gives one number a class {tuple(output.shape)}; it must segment")
        if resolved(output, head) != "softmax":
            raise InputError("whole: the model's classes must exclude each other; explain each with region(class)")
        values = scores(output, head).detach()
        for one in self.classes:
            index = chosen_class(values, one, self.name)
        predicted = torch.isin(values.argmax(dim=1), torch.tensor(self.classes, device=values.device))
        region = predicted if self.over == "predicted" else torch.ones_like(predicted)
        if not region.flatten(1).any(dim=1).all():
            raise InputError(f"{self}: no voxel is predicted as any of these classes; use over='whole'")
        # The last class stands for all of them: its row of `read_all` is theirs together.
        return Choice(index, region=region)

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        if choice.region is None:
            raise RuntimeError("a target read a choice that another kind of target made")
        values = scores(output, head)
        together = values[:, list(self.classes)].logsumexp(dim=1)
        place = choice.region.to(values.device)
        count = place.flatten(1).sum(dim=1)
        rows = [together if one in self.classes else values[:, one] for one in range(values.shape[1])]
        return torch.stack([row.where(place, 0).flatten(1).sum(dim=1) / count for row in rows], dim=1)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        names = [class_names[one] if one < len(class_names) else f"class {one}" for one in self.classes]
        place = "the region predicted as any of them" if self.over == "predicted" else "the whole image"
        return f"mean logit of {', '.join(names)} together over {place}"
