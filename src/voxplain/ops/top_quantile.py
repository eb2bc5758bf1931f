"""The exact value that a given share of a stream of numbers exceeds, in memory that does not grow with the stream.

Single-precision numbers in order are 32-bit whole numbers in order. A first reading counts their upper 16 bits, a
second the lower 16 bits of those that share the upper ones of the value sought: two histograms of 65,536 bins for
each channel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HALF = 1 << 16
"""Bins of a histogram: numbers that 16 bits can tell apart."""

Array = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


def ordered(values: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Whole numbers in the same order as the finite numbers they stand for."""
    # Adding 0 turns -0.0, which equals 0.0, into it.
    bits = (np.asarray(values, dtype=np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))


def number(order: int) -> float:
    """The number that `ordered` gave this place."""
    bits = np.uint32(order)
    plain = bits & np.uint32(0x7FFFFFFF) if bits >> 31 else ~bits
    return float(np.array(plain, dtype=np.uint32).view(np.float32))


class TopQuantile:
    """For each channel the smallest number that at most `share` of all its numbers exceed.

    Show every batch to `count`, then, in a second reading, to `refine`; `thresholds` are exact.
    """

    def __init__(self, channels: int, share: float) -> None:
        self._share = share
        self._upper: Counts = np.zeros((channels, HALF), np.int64)
        self._lower: Counts = np.zeros((channels, HALF), np.int64)
        self._found: list[tuple[int, int]] | None = None

    def count(self, values: Array) -> None:
        """First reading of numbers (channel, ...)."""
        for channel, line in enumerate(values):
            self._upper[channel] += np.bincount(ordered(line).ravel() >> 16, minlength=HALF)

    def refine(self, values: Array) -> None:
        """Second reading of the same numbers."""
        self._found = self._found or [_bin(own, int(self._share * own.sum())) for own in self._upper]
        for channel, ((upper, _), line) in enumerate(zip(self._found, values, strict=True)):
            order = ordered(line).ravel()
            self._lower[channel] += np.bincount(order[order >> 16 == upper] & (HALF - 1), minlength=HALF)

    @property
    def thresholds(self) -> Array:
        """(channel,), once both readings are done."""
        if self._found is None:
            raise RuntimeError("thresholds were asked for before the second reading")
        pairs = zip(self._found, self._lower, strict=True)
        orders = [(upper << 16) | _bin(own, rest)[0] for (upper, rest), own in pairs]
        return np.array([number(order) for order in orders], dtype=np.float32)


def _bin(counts: Counts, above: int) -> tuple[int, int]:
    """The bin of the number that `above` numbers come before, counted from the top, and how many of them are in it."""
    from_top = counts[::-1].cumsum()
    place = int(np.searchsorted(from_top, above, side="right"))
    return HALF - 1 - place, above - int(from_top[place - 1] if place else 0)
