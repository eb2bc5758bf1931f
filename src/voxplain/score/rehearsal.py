"""A run without its passes: methods ask as they would, and what answering would take is counted.

Numbers are made up from the clean output, so methods whose further questions depend on what they heard (a search by
falls of the score, an early stop) may ask a little more or less in earnest. What reads layers or watches the network is
answered in earnest: the shapes of what is inside cannot be made up.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from voxplain.score.choice import Choice
from voxplain.score.memory import Ledger
from voxplain.score.passes import Answer, Ask, alike, answered, computed_again, same_number
from voxplain.score.score import Score
from voxplain.score.watched import is_watched

SPREAD = 0.1
"""Made-up outputs differ from the clean one by about so much of its size: no two numbers tie."""


def rehearsed(score: Score, output: Tensor) -> Score:
    """The same score, answered by nobody; `output` is what the model says about the clean batch."""
    twin = copy.copy(score)
    twin.ask, twin.rehearsal = _Prompter(output).answers, True
    return twin


class _Prompter:
    """Answers from made-up outputs, and keeps the books that real passes would keep."""

    def __init__(self, output: Tensor) -> None:
        self._output = output.detach()
        self._draws = torch.Generator().manual_seed(0)

    def answers(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        """One answer an ask, in their order."""
        found: dict[int, Answer | Exception] = {}
        for group in alike(asks):
            own = [asks[number] for number in group]
            said = self._said(own)
            found.update(zip(group, said, strict=True))
            self._count(own, said)
        return [found[number] for number in range(len(asks))]

    def _said(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        """Answers about one batch: in earnest, off the books, where what is inside the network is asked for."""
        earnest = [number for number, ask in enumerate(asks) if ask.layers or is_watched(ask.model)]
        found = answered([replace(asks[number], ledger=Ledger()) for number in earnest]) if earnest else []
        told = dict(zip(earnest, found, strict=True))
        output = self._invented(len(asks[0].batch))
        return [told[number] if number in told else self._made_up(ask, output) for number, ask in enumerate(asks)]

    def _invented(self, count: int) -> Tensor:
        """What the network might say about a batch; all who ask about the same one hear the same."""
        like = self._output[:1].expand(count, *self._output.shape[1:])
        noise = torch.randn(like.shape, generator=self._draws, dtype=torch.float64).to(like)
        return like + SPREAD * like.abs().amax() * noise

    @staticmethod
    def _made_up(ask: Ask, output: Tensor) -> Answer | Exception:
        try:
            values, choice = ask.read(output)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, as a pass does
            return error
        gradient = torch.ones_like(ask.batch) if ask.gradient else None
        return Answer(values.detach().double(), choice, gradient)

    @staticmethod
    def _count(asks: Sequence[Ask], said: Sequence[Answer | Exception]) -> None:
        """One forward for all, one backward for each number and set of rules, and what these compute again."""
        asks[0].ledger.forwards += len(asks[0].batch)
        pairs = [
            (ask, answer.choice)
            for ask, answer in zip(asks, said, strict=True)
            if isinstance(answer, Answer) and ask.graded
        ]
        seen: list[tuple[Ask, Choice]] = []
        for ask, choice in pairs:
            if not any(same_number(ask, choice, *other) for other in seen):
                seen.append((ask, choice))
                ask.ledger.backwards += len(ask.batch)
                ask.ledger.forwards += len(ask.batch) * computed_again(asks)
