"""How long a run takes, how much memory it needs and how many forwards it costs; contestants take turns."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.contest import Run

STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Examined(NamedTuple):
    """What an untimed run tells."""

    result: Any
    operations: int
    """Floating-point operations of its convolutions and matrix products."""
    memory: int | None
    """Bytes at its peak above what was held before it; None where the system does not tell."""


TRIALS = 3
"""Times that each setting is tried; the first one warms up."""
LONG_SECONDS = 4.0
"""A run of this length warms itself up, and one time tells settings apart."""


def seconds_of(run: Run, device: torch.device) -> tuple[float, Any]:
    """Wall seconds of one run, work on the accelerator included, and its result."""
    _finished(device)
    begin = time.perf_counter()
    result = run()
    _finished(device)
    return time.perf_counter() - begin, result


def interleaved(runs: Mapping[str, Run], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each run; they take turns in rotating order, so that a machine that slows down slows all of them."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            seconds[name].append(seconds_of(runs[name], device)[0])
    return seconds


def fastest(runs: Mapping[Any, Run], device: torch.device) -> Any:
    """The key of the fastest run by the best of a few times each, long ones once; failing ones drop out."""
    found: dict[Any, list[float]] = {key: [] for key in runs}
    failed: Exception | None = None
    for _ in range(TRIALS):
        for key in [key for key, seconds in found.items() if min(seconds, default=0.0) < LONG_SECONDS]:
            try:
                found[key].append(seconds_of(runs[key], device)[0])
            except (RuntimeError, ValueError, AssertionError, MemoryError) as error:
                failed = error
                del found[key]
    if not found:
        raise RuntimeError(f"no setting works: {failed}") from failed
    return min(found, key=lambda key: min(found[key]))


def examined(run: Run, device: torch.device) -> Examined:
    """Two runs that are not timed: how many operations it costs; what it gives, and how much memory it needs.

    A run that is counted operation by operation takes other ways than an ordinary one.
    """
    operations = counted(run)
    with Peak(device) as peak:
        result = run()
    return Examined(result, operations, peak.bytes)


def counted(run: Run) -> int:
    """Floating-point operations of a run's convolutions and matrix products."""
    with _counter() as counter:
        run()
    return counter.get_total_flops()


def _counter() -> FlopCounterMode:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Whole()  # type: ignore[assignment]
    return counter


class _Whole:
    """Stands in for the counter's tracker of modules, whose hooks fail where a graph begins inside a network."""

    parents = frozenset({"Global"})
    is_bw = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Peak:
    """Bytes at the peak of a block above what was held before it; None where the system does not tell.

    On the processor it is the process's resident memory, after freed memory was handed back to the system.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._before = device, 0
        self.bytes: int | None = None

    def __enter__(self) -> Self:
        gc.collect()
        if self._device.type == "cuda":
            _finished(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            _hand_back()
            with suppress(OSError):
                PEAK_RESET.write_text("5")
                self._before = _resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            _finished(self._device)
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
        elif self._before:
            self.bytes = max(0, _resident("VmHWM") - self._before)


def _finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _hand_back() -> None:
    """Give freed memory back, so that a run cannot fill it unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _resident(field: str) -> int:
    """A field of this process's status in bytes."""
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {field}")
