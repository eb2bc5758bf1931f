"""Several questions about one case at once: passes that answer more than one of them run once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from voxplain.errors import VoxplainError
from voxplain.methods import Map, Method
from voxplain.score.meeting import together
from voxplain.score.memory import SHARE_OF_AVAILABLE, available_bytes
from voxplain.score.passes import Answer, Ask
from voxplain.score.score import Score

Tick = Callable[[int], None]
"""Takes how many questions are answered."""


HELD = 10
"""A question holds up to so many times its input while it is being answered: sums in double precision, their squares, a
baseline, the map and its error, and what is made of them."""

SHARE = 0.25
"""Of the memory budget for what questions hold; the larger part is for the passes through the network."""


def found_together(
    scores: Sequence[Score], methods: Sequence[Method], x: Tensor, *, each: bool, tick: Tick = lambda done: None
) -> list[Map | VoxplainError]:
    """What each method says about a batch by its own score.

    Questions are answered side by side, as many as memory holds (see `at_once`). With `each`, an error stands in the
    place of the map that it prevented. Otherwise one error ends all questions and is raised: nobody waits an hour for
    maps that are thrown away.
    """
    course, size, found = _Course(x, each, tick), at_once(scores, x), list[Map | VoxplainError]()
    for start in range(0, len(scores), size):
        found += _answered(course, scores[start : start + size], methods[start : start + size], each)
    return found


def at_once(scores: Sequence[Score], x: Tensor) -> int:
    """How many questions about a batch may be answered side by side within the memory budget, at least 1."""
    budgets = [score.budget for score in scores if score.budget is not None]
    budget = min(budgets) if budgets else SHARE_OF_AVAILABLE * available_bytes(x.device)
    return max(1, int(SHARE * budget / (HELD * x.nbytes)))


def _answered(
    course: _Course, scores: Sequence[Score], methods: Sequence[Method], each: bool
) -> list[Map | VoxplainError]:
    """Some of the questions, side by side."""
    if len(scores) == 1 and not each:
        return [course.map(methods[0], scores[0])]
    found = together([(score, partial(course.map, method)) for score, method in zip(scores, methods, strict=True)])
    errors = [one for one in found if isinstance(one, VoxplainError)]
    if errors and not each:
        raise errors[0]
    return found


class _Course:
    """What the questions of one case know of each other: how many are done, and whether one has failed."""

    def __init__(self, x: Tensor, each: bool, tick: Tick) -> None:
        self._x, self._each, self._tick = x, each, tick
        self._done = 0
        self._ending: VoxplainError | None = None

    def map(self, method: Method, score: Score) -> Map:
        """The method's map, unless another question has ended them all."""
        bound = copy.copy(score)
        bound.ask = partial(self._ask, score.ask)
        try:
            found = method(bound, self._x)
        except VoxplainError as error:
            if not self._each:
                self._ending = self._ending or error
            raise
        finally:
            self._done += 1
            self._tick(self._done)
        return found

    def _ask(
        self, ask: Callable[[Sequence[Ask]], list[Answer | Exception]], asks: Sequence[Ask]
    ) -> list[Answer | Exception]:
        if self._ending is not None:
            raise self._ending
        return ask(asks)
