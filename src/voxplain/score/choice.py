"""How an output is read as scores of classes, and what was chosen from the clean one for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxplain.errors import InputError
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
        return Choice(*(None if part is None else part[rows.to(part.device)] for part in self.parts()))  # type: ignore[arg-type]

    def parts(self) -> tuple[Tensor | None, ...]:
        """Class, rival and region, in that order."""
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


def chosen_class(values: Tensor, index: int | None, name: str) -> Tensor:
    """(batch,) the given class, checked, or each sample's highest."""
    count = values.shape[1]
    if index is None:
        return values.detach().argmax(dim=1)
    if not 0 <= index < count:
        raise InputError(f"{name}: class must be between 0 and {count - 1}, got {index}")
    return torch.full((values.shape[0],), index, device=values.device)


def joined(choices: Sequence[Choice]) -> Choice:
    """The choices of several chunks as those of one batch."""

    def together(parts: Sequence[Tensor | None]) -> Tensor | None:
        tensors = [part for part in parts if part is not None]
        return torch.cat(tensors) if tensors else None

    index = torch.cat([choice.index for choice in choices])
    against = together([choice.against for choice in choices])
    return Choice(index, against, together([choice.region for choice in choices]))
