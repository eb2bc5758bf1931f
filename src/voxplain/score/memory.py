"""The memory plan: how many samples go through the network at once, decided before the run."""

import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from voxplain.errors import MemoryShort, OptionError
from voxplain.score.dry import peak_bytes
from voxplain.score.recomputing import fitting, room

SAFETY = 1.3
"""Convolution workspaces and allocator rounding come on top of the tensors that the dry pass counts."""

SHARE_OF_AVAILABLE = 0.5
"""Default budget: half of what is free now leaves room for the operating system's cache and other jobs."""

LAST_RESORT = 0.85
"""Without a budget given, a single sample that half cannot hold may take so much of what is free."""

RECORDED = 3
"""A recorded forward keeps more than one that torch keeps for itself: more than so many times more was never seen."""

RULES = 0.75
"""Backward rules compute with several tensors of a layer's size at once: so much of the peak of a forward on top. With
the margin above in place 0.6 was the most (relevance propagation through a U-Net at 4 x 240 x 240 x 160: 7.2 GB)."""

MOST_SAMPLES = {"cpu": 64, "cuda": 256}
"""Beyond this a larger chunk no longer runs faster, it only uses more memory."""

MOST_BYTES = {"cpu": 215 * 10**6}
"""Peak of a forward beyond which a processor slows down, sample by sample: its caches no longer hold a chunk. Twice of
it with a backward. On 2 cores ResNet-50 at 224 pixels did best with 16 samples forward (213 MB; 32 took a quarter
longer each) and with 8 backward (414 MB; 16 took an eighth longer), ResNet-18 at 64 pixels with 64."""

GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells the limits of the control group (container, batch job) that the process lives in."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")
"""What the allocators of torch and the operating system say when memory is short."""

UNITS = {
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
}
"""What stands before the B, in capitals; the B may be left out."""


@dataclass
class Ledger:
    """What a run of a score took: forwards, backwards, chunk sizes, and fall-backs in words."""

    forwards: int = 0
    """Samples sent forward."""
    backwards: int = 0
    """Samples sent backward."""
    chunks: dict[str, int] = field(default_factory=dict)
    """Planned chunk size for each kind of pass."""
    fallbacks: list[str] = field(default_factory=list)
    """Sentences for the certificate: chunks halved, plans that could not be made."""
    covered: Counter[str] = field(default_factory=Counter)
    """Nonlinearities that backward rules handled, by name; in the pass that met most."""
    missed: Counter[str] = field(default_factory=Counter)
    """Nonlinearities that those passes went through by their derivative."""
    plans: dict[Any, int] = field(default_factory=dict, repr=False)
    """Chunk sizes already planned, by input shape and kind of pass."""
    stretches: dict[Any, int] = field(default_factory=dict, repr=False)
    """Bytes of the forward after which activations are let go, by the plans that need it."""

    def note(self, covered: Counter[str], missed: Counter[str]) -> None:
        """Remember which nonlinearities a backward under rules met; every chunk meets the same ones."""
        self.covered, self.missed = self.covered | covered, self.missed | missed

    def say(self, sentence: str) -> None:
        """A sentence for the certificate, once."""
        self.fallbacks += [sentence] * (sentence not in self.fallbacks)

    def halve(self, size: int) -> int:
        """Remember that a chunk of `size` ran out of memory: later passes start from half of it, which is returned."""
        half = (size + 1) // 2
        self.say(f"memory ran out with {size} samples at once, went on with {half}")
        self.plans.update({key: min(chunk, half) for key, chunk in self.plans.items()})
        self.chunks.update({key: min(chunk, half) for key, chunk in self.chunks.items()})
        return half


def short_of_memory(error: BaseException) -> bool:
    """True for every way in which torch, Python and the operating system say that memory is short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def parse_bytes(text: str) -> int:
    """'4GB' or '4G', '512MiB' or '512Mi', or a plain number of bytes."""
    cleaned = text.strip().upper().removesuffix("B")
    unit = next((name for name in sorted(UNITS, key=len, reverse=True) if cleaned.endswith(name)), "")
    number = cleaned.removesuffix(unit)
    try:
        amount = float(number) * UNITS.get(unit, 1)
    except ValueError as error:
        raise OptionError(f"memory must read like 4GB or 512MiB, got {text!r}") from error
    if not 1 <= amount <= sys.maxsize:
        raise OptionError(f"memory must be at least one byte and finite, got {text!r}")
    return int(amount)


def words(amount: float) -> str:
    """Bytes as '1.3 GB', few of them as they are: '5 bytes'."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= size:
            return f"{amount / size:.1f} {unit}"
    return "1 byte" if int(amount) == 1 else f"{int(amount)} bytes"


def available_bytes(device: torch.device) -> int:
    """Memory that is free now on a device; on a CPU the least of free memory, control group and address limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [_free_memory(), *_group_room(), *_address_room()]
    return max(min(limits), 1)


def _free_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _group_room() -> list[int]:
    """Room left under a control group's limit, where one is set; cached files count as room: they give way."""
    try:
        limit = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        told = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or its limit reads 'max'
        return []
    return [limit - used + int(told.get("inactive_file", 0))]


def _address_room() -> list[int]:
    """Room left under a limit on the address space (ulimit -v), where one is set."""
    if sys.platform == "win32":
        return []
    import resource  # not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return []
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return [soft - used]


@dataclass(frozen=True)
class Way:
    """What a backward is for."""

    layers: tuple[nn.Module, ...] = ()
    """The layers it goes to; the input where there are none."""
    ruled: bool = False
    """Whether it follows rules."""
    width: int = 1
    """Samples that must go through the network together."""


def plan_chunk(
    module: nn.Module, x: Tensor, *, backward: bool, budget: int | None, ledger: Ledger, way: Way = Way()
) -> int:
    """How many samples like `x[:1]` fit the budget at once, at least 1.

    Where not even one fits, its activations are computed again on the way back (`ledger.stretches`), and raises
    `MemoryShort` where that does not fit either. The estimate is a dry pass (no arithmetic); where the network cannot
    run without data the chunk is 1 and the ledger says so.
    """
    key = key_of(module, x, backward, way)
    if key in ledger.plans:
        return ledger.plans[key]
    free = available_bytes(x.device) if budget is None else budget
    allowed, last = (int(SHARE_OF_AVAILABLE * free), int(LAST_RESORT * free)) if budget is None else (free, free)
    peak = peak_bytes(module, x[:1], backward)
    if peak is None:
        ledger.say("memory could not be planned for this network, so samples went one by one")
        chunk = 1
    else:
        swift = MOST_BYTES.get(x.device.type, allowed) * (1 + backward) // max(peak, 1)
        most = min(MOST_SAMPLES.get(x.device.type, 16), max(1, swift))
        need = SAFETY * peak if not (backward and way.ruled) else _need_of_rules(module, x[:1], peak, allowed / most)
        chunk = min(int(allowed / need), most)
        if chunk < way.width:
            found, chunk = _cut(module, x[:1], way if backward else None, (allowed, last), need), way.width
            if found.limit is not None:
                ledger.stretches[key] = found.limit
                ledger.say(found.told)
    ledger.plans[key] = chunk
    ledger.chunks["backward" if backward else "forward"] = chunk
    return chunk


class _Cut(NamedTuple):
    """How a sample that is too large was made to fit."""

    limit: int | None
    """Bytes of a stretch; None where all activations are kept after all, as the way back ends at layers."""
    told: str
    """What that takes, in words."""


def _need_of_rules(module: nn.Module, x: Tensor, peak: int, enough: float) -> float:
    """Bytes that a sample needs whose way back follows rules; not looked at closely where there is `enough` anyway."""
    if RECORDED * SAFETY * peak <= enough:
        return SAFETY * peak
    whole, forward = room(module, x, (), True, None), peak_bytes(module, x, False)
    return SAFETY * peak if whole is None or forward is None else SAFETY * whole.peak + RULES * forward


def _cut(module: nn.Module, x: Tensor, way: Way | None, allowed: tuple[int, int], need: float) -> _Cut:
    """How samples like `x` fit, of which one whole needs too much; raises `MemoryShort` where they do not.

    `way` is the way back (None: forward alone), `allowed` the budget, and what may be taken where nothing fits that.
    """
    budget, last = allowed
    if way is not None:
        x = x.expand(way.width, *x.shape[1:])
    extra = RULES * (peak_bytes(module, x, False) or 0) if way is not None and way.ruled else 0.0
    found = None if way is None else fitting(module, x, way.layers, way.ruled, (budget - extra) / SAFETY)
    least = need if found is None else min(need, SAFETY * found.peak + extra)
    if least > last:
        again = " even with activations computed again on the way back" if way is not None else ""
        raise MemoryShort(
            f"one sample of {tuple(x.shape[1:])} needs about {words(least)}{again}, "
            f"more than {words(last)} allowed; raise --memory, use a smaller image or free some memory"
        )
    if found is None:  # a forward alone, which only the larger share holds
        return _Cut(None, "")
    return _Cut(
        found.limit,
        f"activations were computed again on the way back, in {found.stretches} stretches of the forward: that takes "
        f"about {words(least)} instead of {words(need)}, and one more forward for each backward",
    )


def evened(size: int, count: int) -> int:
    """The largest chunk when `count` samples are shared out evenly over as few chunks of at most `size` as can be.

    A small rest at the end would go through the network at the speed of single samples.
    """
    return -(-count // -(-count // size))


def settle(ledger: Ledger, module: nn.Module, x: Tensor, chunk: int) -> None:
    """From now on `chunk` samples like `x[:1]` go forward at once: planned by who knows what they take."""
    ledger.plans[key_of(module, x, False)] = chunk


def key_of(module: nn.Module, x: Tensor, backward: bool, way: Way = Way()) -> tuple[Any, ...]:
    """What a plan is known by: the network, the size of a sample, and what the pass is for."""
    return id(module), tuple(x.shape[1:]), x.dtype, backward, way if backward else None
