"""Targets of classifiers and regressors: one number a class, or one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score.choice import Choice, chosen_class, probabilities, resolved, scores
from voxplain.score.target_base import Target, class_words, told
from voxplain.types import Head


@dataclass(frozen=True)
class OfClass(Target):
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


@dataclass(frozen=True)
class ClassScore(OfClass):
    """The class's logit: the evidence before normalisation. One-logit heads: class 0 is minus the logit."""

    name = "class_score"
    unit_words = "logits"

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return scores(output, head)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"score (logit) of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Probability(OfClass):
    """The class's probability: softmax, or sigmoid for one-logit and multi-label heads."""

    name = "probability"
    unit_words = "probability"

    def read_all(self, output: Tensor, choice: Choice, head: Head) -> Tensor:
        return probabilities(output, head)

    def words(self, index: int, class_names: Sequence[str]) -> str:
        return f"probability of {class_words(index, class_names)}"


@dataclass(frozen=True)
class Margin(OfClass):
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
        return values - values.gather(1, told(choice.against)[:, None].to(values.device))

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
