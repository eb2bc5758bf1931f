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
from voxplain.score.choice import Choice, chosen_class, probabilities, resolved, scores
from voxplain.spec import Options, build
from voxplain.types import Head


@dataclass(frozen=True)
class Target(Options, ABC):
    """Output (batch, class, *space) -> one number a sample."""

    unit_words: ClassVar[str]
    """What one unit of the score is, with default options."""

    @property
    def unit(self) -> str:
        """What one unit of the score is."""
        return self.unit_words

    @abstractmethod
    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        """Fix class and region from the clean output; raises `InputError` where the output is of another kind."""

    @abstractmethod
    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """The same number of each sample for every class or output (batch, class), differentiable."""

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        """The meant number of each sample (batch,), differentiable."""
        return self.read_all(output, choice, head).gather(1, choice.index[:, None].to(output.device))[:, 0]

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
        if head == "regression":
            raise InputError(f"{self.name}: a regression model has no classes; use regression() as target")
        values = scores(output, head)
        return Choice(chosen_class(values, self.index, self.name))


def _told(part: Tensor | None) -> Tensor:
    if part is None:
        raise RuntimeError("a target read a choice that another kind of target made")
    return part


@dataclass(frozen=True)
class ClassScore(_OfClass):
    """The class's logit: the evidence before normalisation. One-logit heads: class 0 is minus the logit."""

    name = "class_score"
    unit_words = "logits"

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return scores(output, head)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"score (logit) of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Probability(_OfClass):
    """The class's probability: softmax, or sigmoid for one-logit and multi-label heads."""

    name = "probability"
    unit_words = "probability"

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return probabilities(output, head)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"probability of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Margin(_OfClass):
    """The class's logit minus its rival's; the rival is the runner-up on the clean image unless named."""

    name = "margin"
    unit_words = "logits"
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

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        values = scores(output, head)
        if resolved(output, head) == "one_logit":  # the one logit already is the log-odds between the two
            return values
        return values - values.gather(1, _told(choice.against)[:, None].to(values.device))

    def words(self, index: int, class_names: Sequence[str]) -> str:
        rival = "its strongest rival" if self.against is None else class_words(self.against, class_names)
        return f"margin of {class_words(index, class_names)} over {rival}"


@dataclass(frozen=True)
class Regression(Target):
    """An output number minus a reference value, so that zero means 'as expected'."""

    name = "regression"
    unit_words = "output units"
    index: int = 0
    """Which output number."""
    _: KW_ONLY
    reference: float = 0.0
    """Value to compare with, such as the mean age of the training set."""

    def choose(self, output: Tensor, head: Head, mask: Tensor | None) -> Choice:
        if output.ndim != 2:
            raise InputError(f"regression: the model gives a map {tuple(output.shape)}; use region(channel) as target")
        return Choice(chosen_class(output, self.index, self.name))

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return output - self.reference

    def words(self, index: int, class_names: Sequence[str]) -> str:
        named = class_names[index] if index < len(class_names) else f"output {index}"
        return named if self.reference == 0 else f"{named} minus {self.reference:g}"


@dataclass(frozen=True)
class Region(Target):
    """The mean (or sum) of a class's logit over a region of a segmentation output."""

    name = "region"
    unit_words = "logits"
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

    @property
    def unit(self) -> str:
        return "logits" if self.of == "logit" else "probability"

    def read(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return self._over(self._each_voxel(output, head)[:, self.index], choice)

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        classes = self._each_voxel(output, head).unbind(dim=1)
        return torch.stack([self._over(values, choice) for values in classes], dim=1)

    def _each_voxel(self, output: Tensor, head: Head) -> Tensor:
        return scores(output, head) if self.of == "logit" else probabilities(output, head)

    def _over(self, values: Tensor, choice: Choice) -> Tensor:
        """Mean or sum over the region of numbers (batch, *space)."""
        place = _told(choice.region).to(values.device)
        total = values.where(place, 0).flatten(1).sum(dim=1)
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
