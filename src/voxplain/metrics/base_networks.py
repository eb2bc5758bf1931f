"""The networks that metrics of methods have explained: randomised, asked about another class, shifted, or others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from voxplain.errors import InputError
from voxplain.metrics.base_method import Change, Networks, Second
from voxplain.score.model import Model
from voxplain.score.randomised import randomised
from voxplain.score.score import Score
from voxplain.score.shifted import shifted
from voxplain.score.swapped import with_model, with_other_class

Kind = Literal["seed", "architecture", "labels"]

MISSING = {
    "seed": "no second model of the same architecture was given",
    "architecture": "no second model of another architecture was given",
    "labels": "no second model that learnt from shuffled labels was given; voxplain train --shuffle-labels makes one",
}


@dataclass(frozen=True)
class Randomised(Networks):
    """The model with more and more layers randomised, from the output down; with `own`, the model itself before."""

    stages: int | None
    seed: int
    own: bool = False

    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        if self.own:
            yield Change("as trained", lambda own, case: (own, case))
        for stage in randomised(score.model, x, stages=self.stages, seed=self.seed):
            yield Change(stage.layer, _asking(stage.model), stage.share)


@dataclass(frozen=True)
class OtherClass(Networks):
    """The same network, asked about another class."""

    seed: int

    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        yield Change("another class", lambda own, case: (with_other_class(own, case, self.seed), case))


@dataclass(frozen=True)
class Shifted(Networks):
    """A network that gives the same answers for inputs shifted by a constant, and such an input."""

    shift: float
    """As a share of the input's range."""

    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        def apply(own: Score, case: Tensor) -> tuple[Score, Tensor]:
            step = self.shift * float(case.max() - case.min())
            return with_model(own, shifted(own.model, case, step)), case + step

        yield Change("shifted", apply)


@dataclass(frozen=True)
class Others(Networks):
    """Further models that were trained: by another seed, of another architecture, or on labels in random order."""

    kind: Kind

    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        meant = [one for one in second if _kind(score.model, one) == self.kind]
        if not meant:
            raise InputError(MISSING[self.kind])
        for one in meant:
            yield Change(one.model.label, _asking(one.model))


def _asking(model: Model) -> Callable[[Score, Tensor], tuple[Score, Tensor]]:
    return lambda own, case: (with_model(own, model), case)


def _kind(model: Model, other: Second) -> Kind:
    """By names and shapes of all weights: equal ones are of one architecture."""
    if other.shuffled:
        return "labels"
    shapes = [{name: weight.shape for name, weight in one.module.named_parameters()} for one in (model, other.model)]
    return "seed" if shapes[0] == shapes[1] else "architecture"
