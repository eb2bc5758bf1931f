"""Shared passes: jobs run side by side, and what they ask about equal batches at the same time is answered once.

Each job runs in a thread of its own; networks run in the caller's thread alone, and only when every job that is not
done waits for an answer. So the passes, their order and their results do not depend on how threads are scheduled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import islice
from threading import Condition, Thread
from typing import Generic, TypeVar

from voxplain.errors import VoxplainError
from voxplain.score.passes import Answer, Ask, answered
from voxplain.score.score import Score

T = TypeVar("T")

Job = tuple[Score, Callable[[Score], T]]
"""A score and what to do with it, such as `lambda score: method(score, x)`."""


def together(jobs: Sequence[Job[T]]) -> list[T | VoxplainError]:
    """The result of each job, or our own error that ended it; any other error ends all of them and is raised."""
    return _Meeting(jobs).results()


class _Adjourned(BaseException):
    """Ends the threads of a meeting that was broken off; never seen outside."""


class _Meeting(Generic[T]):
    """The jobs, who of them waits for what, and what has been found."""

    def __init__(self, jobs: Sequence[Job[T]]) -> None:
        self._jobs = jobs
        self._changed = Condition()
        self._answered = jobs[0][0].ask if jobs else answered  # a meeting inside another one asks that one
        self._asks: dict[int, Sequence[Ask]] = {}
        self._answers: dict[int, list[Answer | Exception]] = {}
        self._results: dict[int, T | BaseException] = {}
        self._broken = False

    def results(self) -> list[T | VoxplainError]:
        threads = [Thread(target=self._work, args=(number,), daemon=True) for number in range(len(self._jobs))]
        for thread in threads:
            thread.start()
        try:
            while self._round():
                pass
        finally:
            with self._changed:
                self._broken = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()
        return [self._result(number) for number in range(len(self._jobs))]

    def _round(self) -> bool:
        """Wait until every job that is not done has asked, and answer them all; False once all are done."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._asks) + len(self._results) == len(self._jobs))
            waiting = sorted(self._asks)
        if not waiting:
            return False
        answers = iter(self._answered([ask for number in waiting for ask in self._asks[number]]))
        with self._changed:
            for number in waiting:
                self._answers[number] = list(islice(answers, len(self._asks.pop(number))))
            self._changed.notify_all()
        return True

    def _work(self, number: int) -> None:
        score, job = self._jobs[number]
        result: T | BaseException
        try:
            bound = copy.copy(score)
            bound.ask = lambda asks: self._asked(number, asks)
            result = job(bound)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that called the meeting
            result = error
        with self._changed:
            self._results[number] = result
            self._changed.notify_all()

    def _asked(self, number: int, asks: Sequence[Ask]) -> list[Answer | Exception]:
        with self._changed:
            self._asks[number] = asks
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._answers or self._broken)
            if number not in self._answers:
                raise _Adjourned
            return self._answers.pop(number)

    def _result(self, number: int) -> T | VoxplainError:
        result = self._results[number]
        if isinstance(result, BaseException) and not isinstance(result, VoxplainError):
            raise result
        return result
