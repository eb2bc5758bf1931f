"""What a piece of work takes: seconds, and memory beyond what was held before."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

MEGABYTE = 10**6
PROCESS = Path("/proc/self")


@dataclass
class Taken:
    """Filled in when the work is done."""

    seconds: float = 0.0
    peak_megabytes: float | None = None
    """None where the system cannot tell a single piece of work."""


@contextmanager
def measured(device: torch.device) -> Iterator[Taken]:
    """Measure what is done inside: on the device's own memory, or on the process's where the system is Linux."""
    taken, before = Taken(), _begin(device)
    started = time.perf_counter()
    yield taken
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    taken.seconds = time.perf_counter() - started
    most = None if before is None else _most(device)
    if before is not None and most is not None:
        taken.peak_megabytes = max(0.0, (most - before) / MEGABYTE)


def _begin(device: torch.device) -> int | None:
    """Bytes held now, with the mark of the highest level brought down to it; None where that cannot be done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier work has freed must not hide what this one takes
        (PROCESS / "clear_refs").write_text("5")  # Linux: the peak of resident memory begins anew
        return _resident("VmRSS")
    return None


def _most(device: torch.device) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _resident("VmHWM")


def _resident(name: str) -> int | None:
    """A line of /proc/self/status in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
