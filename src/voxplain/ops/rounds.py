"""Rounds of draws: who of a batch still needs some, so that each sample stops on its own."""

from collections.abc import Callable, Iterator, Sequence


def rounds(schedule: Sequence[int], count: int, precise: Callable[[int], bool]) -> Iterator[tuple[list[int], range]]:
    """The samples of a batch of `count` that go on, and the numbers of their next draws, up to each look.

    After a round each of them is asked whether it is `precise` enough to stop.
    """
    going, done = list(range(count)), 0
    for until in schedule:
        if going:
            yield going, range(done, until)
        going, done = [n for n in going if not precise(n)], until
