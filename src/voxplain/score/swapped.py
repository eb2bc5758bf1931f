"""The same question put to another network, or about another class: scores for metrics that explain again."""

import copy
from dataclasses import fields, replace

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.ops import draws
from voxplain.score.choice import Choice, resolved
from voxplain.score.model import Model
from voxplain.score.score import Score
from voxplain.score.target import Target
from voxplain.score.target_base import OfClasses


def with_model(score: Score, model: Model) -> Score:
    """The score of `model` for the class and region that were chosen for the score's own; the ledger is shared."""
    twin = copy.copy(score)
    twin.model, twin.access = model, min(score.access, model.access)
    return twin


def with_region(score: Score, region: Tensor) -> Score:
    """The frozen score read from another region (batch, *space) of the output."""
    return score.frozen(replace(_choice(score), region=region))


def with_other_class(score: Score, x: Tensor, seed: int) -> Score:
    """The frozen score of another class or output than the explained one, drawn at random, over the same region.

    The rival of a margin is not drawn. Raises `InputError` where there is no other class.
    """
    choice, target = _choice(score), score.target
    if not any(option.name == "index" for option in fields(target)):
        raise InputError(f"{target.name} has no class that could be exchanged")
    count = _class_count(score, x)
    others = sorted(set(range(count)) - _taken(choice, target)) if count > 1 else []
    if not others:
        raise InputError("the model has no other class")
    index = others[int(torch.randint(len(others), (), generator=draws.generator(seed, 0)))]
    twin = score.frozen(replace(choice, index=torch.full_like(choice.index, index)))
    twin.target = replace(target, index=index)  # type: ignore[call-arg]
    return twin


def _class_count(score: Score, x: Tensor) -> int:
    """How many classes or outputs the model tells apart; 1 for a single logit, whose sign is the class."""
    output = score.output(x[:1])
    return 1 if resolved(output, score.model.head) == "one_logit" else output.shape[1]


def _taken(choice: Choice, target: Target) -> set[int]:
    """Classes that the question is about already."""
    own = target.classes if isinstance(target, OfClasses) else ()
    rivals = [] if choice.against is None else choice.against.tolist()
    return {*choice.index.tolist(), *own, *rivals}


def _choice(score: Score) -> Choice:
    if score.choice is None:
        raise InputError("the score must be frozen by a clean batch before it is changed")
    return score.choice
