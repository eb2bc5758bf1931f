"""Reading the next case and writing the last one while the network works on the one between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from voxplain.data.case import Case
from voxplain.data.image import Image

Kind = type[BaseException] | None

MOST_BEHIND = 10**9
"""Maps of more bytes are written at once: two such cases in memory would be one too many."""


class Ahead:
    """Cases in turn, the voxels of the next one read meanwhile; what was read is let go with its case."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._pool = ThreadPoolExecutor(1, "reading")
        self._next: tuple[int, Case, Future[None]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def case(self, number: int) -> Case:
        """Case `number`, read or being read."""
        begun, self._next = self._next, None
        if begun is None or begun[0] != number:
            return unread(self._cases[number])
        begun[2].result()
        return begun[1]

    def read(self, number: int) -> None:
        """Begin to read case `number`, if there is one."""
        if number < len(self._cases):
            case = unread(self._cases[number])
            self._next = number, case, self._pool.submit(_read, case)


class Behind:
    """Work that may be one piece late: it is done by another thread, in order; its error is raised by the next call."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "writing")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was begun is finished, also after an error or Ctrl-C: a finished case must not be lost."""
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True)

    def do(self, work: Callable[[], None]) -> None:
        """Begin `work` once all before it is done."""
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """Until all is done; raises what went wrong with it."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def unread(case: Case) -> Case:
    """The case without the voxels that it may have read already: a table's images must not stay in memory."""
    return replace(
        case,
        image=replace(case.image),
        mask=None if case.mask is None else replace(case.mask),
        segments=None if case.segments is None else replace(case.segments),
    )


def _read(case: Case) -> None:
    """Read a case's files; whoever uses it meets the error of one that cannot be read."""
    for picture in (case.image, case.mask, case.segments):
        if isinstance(picture, Image):
            with suppress(Exception):
                _ = picture.values
