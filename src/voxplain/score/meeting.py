"""Shared passes: jobs take turns, and what they ask about equal batches at the same time is answered once.

Each job is a greenlet: a call with a stack of its own that is left where it asks and taken up again with the answer.
All of them run in the caller's thread. Threads would be no faster, since networks run only when every job that is not
done waits, and a second thread that computes makes OpenMP send its workers to sleep between operations: measured, it
cost a sixth of a pass through ResNet-50 on two cores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from greenlet import getcurrent, greenlet

from voxplain.errors import VoxplainError
from voxplain.score.passes import Answer, Ask, answered
from voxplain.score.score import Score

T = TypeVar("T")

Job = tuple[Score, Callable[[Score], T]]
"""A score and what to do with it, such as `lambda score: method(score, x)`."""


def together(jobs: Sequence[Job[T]]) -> list[T | VoxplainError]:
    """The result of each job, or our own error that ended it; any other error ends all of them and is raised."""
    with torch.inference_mode(False), torch.enable_grad():
        return _Meeting(jobs).results()


class _Meeting(Generic[T]):
    """The jobs, who of them waits for what, and what has been found."""

    def __init__(self, jobs: Sequence[Job[T]]) -> None:
        self._jobs = jobs
        self._answered = jobs[0][0].ask if jobs else answered  # a meeting inside another one asks that one
        self._chair = getcurrent()
        self._members = [greenlet(self._work) for _ in jobs]
        self._asks: dict[int, Sequence[Ask]] = {}
        self._results: dict[int, T | VoxplainError] = {}

    def results(self) -> list[T | VoxplainError]:
        try:
            for number in range(len(self._jobs)):
                self._turn(number, number)
            while self._asks:
                self._round()
        finally:
            for member in self._members:
                if member:
                    member.throw()  # ends a job that still waits; its clean-up runs
        return [self._results[number] for number in range(len(self._jobs))]

    def _round(self) -> None:
        """Answer all that was asked, and let each asker go on to its next question or its end."""
        waiting, self._asks = self._asks, {}
        answers = iter(self._answered([ask for asks in waiting.values() for ask in asks]))
        shares = {number: list(islice(answers, len(asks))) for number, asks in waiting.items()}
        for number, share in shares.items():
            self._turn(number, share)

    def _turn(self, number: int, message: Any) -> None:
        """Let a job run until it asks or is done; an error that is not ours comes out here."""
        with _state_of_the_thread():
            found = self._members[number].switch(message)
        if self._members[number].dead:
            self._results[number] = found
        else:
            self._asks[number] = found

    def _work(self, number: int) -> T | VoxplainError:
        score, job = self._jobs[number]
        bound = copy.copy(score)
        bound.ask = self._asked
        try:
            return job(bound)
        except VoxplainError as error:
            return error

    def _asked(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        with _state_of_the_thread():
            answers: list[Answer | Exception] = self._chair.switch(asks)
        return answers


@contextmanager
def _state_of_the_thread() -> Iterator[None]:
    """Whoever is left while another one runs finds torch's gradient switch as he left it."""
    before = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(before)
