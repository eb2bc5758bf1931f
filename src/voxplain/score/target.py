"""Targets: which number of the model's output is meant.

Class and region are chosen once, from the clean input, for each sample; what was chosen is a `Choice`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score import regions
from voxplain.spec import Options, build
from voxplain.types import Head


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for each sample of a batch from its clean output."""

    index: Tensor
    """(batch,) class or output number."""
    against: Tensor | None = None
    """(batch,) the rival class of a margin."""
    region: Tensor | None = None
    """(batch, *space) of the output, boolean."""

    def take(self, rows: Tensor) -> Choice:
        """The choices of the given samples, in that order, repeats allowed."""
        if int(rows.max()) >= len(self.index):
            raise InputError(f"the score was frozen by a batch of {len(self.index)} samples, got a larger one")
        return Choice(*(None if part is None else part[rows.to(part.device)] for part in self._parts()))  # type: ignore[arg-type]

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.index, self.against, self.region


def scores(output: Tensor, head: Head) -> Tensor:
    """Output as one score a class along axis 1; a one-logit head becomes (minus the logit, the logit)."""
    return torch.cat([-output, output], dim=1) if resolved(output, head) == "one_logit" else output


def probabilities(output: Tensor, head: Head) -> Tensor:
    """Class probabilities along axis 1: softmax, or a sigmoid each for one-logit and multi-label heads."""
    values, kind = scores(output, head), resolved(output, head)
    if kind == "regression":
        raise InputError("the output of a regression model has no probabilities; use regression() as target")
    return values.softmax(dim=1) if kind == "softmax" else values.sigmoid()


def resolved(output: Tensor, head: Head) -> Head:
    """The head that 'auto' stands for; one that the output's channels contradict is an error."""
    if head == "auto":
        return "one_logit" if output.shape[1] == 1 else "softmax"
    if head == "one_logit" and output.shape[1] != 1:
        raise InputError(f"a one_logit head must have 1 output, got {output.shape[1]}")
    return head


@dataclass(frozen=True)
class Target(Options, ABC):
    """Output (batch, class, *space) -> one number a sample."""

    unit: ClassVar[str]

    @abstractmethod
    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        """Fix class and region from the clean output; raises `InputError` where the output is of another kind."""

    @abstractmethod
    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """The meant number of each sample (batch,), differentiable."""

    @abstractmethod
    def words(self, index: int, class_names: Sequence[str]) -> str:
        """What is meant, in words with class names."""


def class_words(index: int, class_names: Sequence[str]) -> str:
    """'class 2 (pituitary)', or 'class 2' where it has no name."""
    return f"class {index} ({class_names[index]})" if index < len(class_names) else f"class {index}"


@dataclass(frozen=True)
class _OfClass(Target):
    """A number that belongs to one class of a classifier."""

    index: int | None = None
    """Class number; left out: the class predicted from the clean image."""

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        if output.ndim != 2:
            raise InputError(
                f"{self.name}: the model gives a map of classes {tuple(output.shape)}; use region(class) as target"
            )
        values = scores(output, head)
        return Choice(chosen_class(values, self.index, self.name))


def chosen_class(values: Tensor, index: int | None, name: str) -> Tensor:
    """(batch,) the given class, checked, or each sample's highest."""
    count = values.shape[1]
    if index is None:
        return values.detach().argmax(dim=1)
    if not 0 <= index < count:
        raise InputError(f"{name}: class must be between 0 and {count - 1}, got {index}")
    return torch.full((values.shape[0],), index, device=values.device)


def _told(part: Tensor | None) -> Tensor:
    if part is None:
        raise RuntimeError("a target read a choice that another kind of target made")
    return part


def _at(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, None].to(values.device))[:, 0]


@dataclass(frozen=True)
class ClassScore(_OfClass):
    """The class's logit: the evidence before normalisation. One-logit heads: class 0 is minus the logit."""

    name = "class_score"
    unit = "logits"

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return _at(scores(output, head), choice.index)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"score (logit) of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Probability(_OfClass):
    """The class's probability: softmax, or sigmoid for one-logit and multi-label heads."""

    name = "probability"
    unit = "probability"

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return _at(probabilities(output, head), choice.index)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"probability of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Margin(_OfClass):
    """The class's logit minus its rival's; the rival is the runner-up on the clean image unless named."""

    name = "margin"
    unit = "logits"
    _: KW_ONLY
    against: int | None = None
    """Rival class number; left out: the highest other class on the clean image."""

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        choice = super().choose(output, head, mask)
        values = scores(output, head).detach()
        if values.shape[1] < 2:
            raise InputError(f"margin: the model must have at least 2 classes, got {values.shape[1]}")
        if self.against is not None:
            rival = chosen_class(values, self.against, self.name)
            if bool((rival == choice.index).any()):
                raise InputError(f"margin: the rival must be another class, got {self.against} against itself")
        else:
            rival = values.scatter(1, choice.index[:, None], -torch.inf).argmax(dim=1)
        return replace(choice, against=rival)

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        values = scores(output, head)
        if resolved(output, head) == "one_logit":  # the one logit already is the log-odds between the two
            return _at(values, choice.index)
        return _at(values, choice.index) - _at(values, _told(choice.against))

    def words(self, index: int, class_names: Sequence[str]) -> str:
        rival = "its strongest rival" if self.against is None else class_words(self.against, class_names)
        return f"margin of {class_words(index, class_names)} over {rival}"


@dataclass(frozen=True)
class Regression(Target):
    """An output number minus a reference value, so that zero means 'as expected'."""

    name = "regression"
    unit = "output units"
    index: int = 0
    """Which output number."""
    _: KW_ONLY
    reference: float = 0.0
    """Value to compare with, such as the mean age of the training set."""

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        if output.ndim != 2:
            raise InputError(f"regression: the model gives a map {tuple(output.shape)}; use region(channel) as target")
        return Choice(chosen_class(output, self.index, self.name))

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return _at(output, choice.index) - self.reference

    def words(self, index: int, class_names: Sequence[str]) -> str:
        named = class_names[index] if index < len(class_names) else f"output {index}"
        return named if self.reference == 0 else f"{named} minus {self.reference:g}"


@dataclass(frozen=True)
class Region(Target):
    """The mean (or sum) of a class's logit over a region of a segmentation output."""

    name = "region"
    unit = "logits"
    index: int = 1
    """Class number."""
    _: KW_ONLY
    over: Literal["predicted", "whole", "mask", "component", "box", "voxel"] = "predicted"
    """Where: voxels predicted as the class, all, a given mask, one connected component, a box, one voxel."""
    reduce: Literal["mean", "sum"] = "mean"
    """Mean over the region, or sum."""
    of: Literal["logit", "probability"] = "logit"
    """Which number of each voxel."""
    component: int = 1
    """For over='component': which predicted component, 1 = largest."""
    box: tuple[int, ...] = ()
    """For over='box': first and past-the-last output voxel, (i0, j0, k0, i1, j1, k1)."""
    voxel: tuple[int, ...] = ()
    """For over='voxel': the output voxel (i, j, k)."""

    def _check(self) -> None:
        self._require(self.component >= 1, "component", "at least 1")
        for option, counts, unused in (("box", (4, 6), ()), ("voxel", (2, 3), ()), ("component", (), 1)):
            value, words = getattr(self, option), " or ".join(map(str, counts))
            needed = self.over == option and bool(counts)
            self._require(not needed or len(value) in counts, option, f"{words} whole numbers for over={option!r}")
            self._require(self.over == option or value == unused, option, f"left out unless over={option!r}")

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        if output.ndim < 4:
            raise InputError(
                f"region: the model gives one number a class {tuple(output.shape)}; use class_score as target"
            )
        values = scores(output, head).detach()
        index = chosen_class(values, self.index, self.name)
        exclusive = resolved(output, head) == "softmax"
        predicted = values.argmax(dim=1) == self.index if exclusive else values[:, self.index] > 0
        region = regions.select(self, predicted, mask)
        empty = (~region.flatten(1).any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise InputError(f"{self}: the region is empty{regions.hint(self.over, self.index)}")
        return Choice(index, region=region)

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        values = scores(output, head) if self.of == "logit" else probabilities(output, head)
        place = _told(choice.region).to(values.device)
        total = values[:, self.index].where(place, 0).flatten(1).sum(dim=1)
        return total if self.reduce == "sum" else total / place.flatten(1).sum(dim=1)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        where = {"predicted": "the region predicted as it", "whole": "the whole image", "mask": "the given mask"}
        place = where.get(self.over, f"one {self.over}")
        return f"{self.reduce} {self.of} of {class_words(index, class_names)} over {place}"


TARGETS: dict[str, type[Target]] = {cls.name: cls for cls in (ClassScore, Probability, Margin, Region, Regression)}
"""Every target by name."""


def target(source: str | Target) -> Target:
    """The target a spec such as 'region(1, over="mask")' stands for."""
    built: Target = build(source, TARGETS, "target")
    return built
