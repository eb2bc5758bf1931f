"""What a row of the benchmark is: one piece of work, done by us, by peers and by bare torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from voxplain.methods import Map

Run = Callable[[], Any]
"""Does the work once; maps come back as tensors or arrays."""

Compared = Callable[[Any, Any], tuple[Tensor, Tensor]]
"""Our result and a rival's -> two tensors that ought to be equal."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """Another way to the same result, at the best of some settings."""

    make: Callable[[Any], Run]
    """A setting -> what to run."""
    settings: Sequence[Any] = (None,)
    """What is tried; the fastest is taken."""
    knob: str = ""
    """What the setting is called; empty: settings speak for themselves."""
    package: str = ""
    """What must be importable."""
    compared: Compared | None = None
    """None: its result cannot be held against ours, and it does not count as the same work."""
    differs: str = ""
    """Where its result is another one by definition."""
    alike: bool = False
    """True where it counts as the same work although its result differs by definition."""

    @property
    def installed(self) -> bool:
        """Whether it can run at all."""
        return not self.package or find_spec(self.package) is not None

    def told(self, setting: Any) -> str:
        """The setting in words; empty where there was nothing to choose."""
        if setting is None:
            return ""
        return f"{self.knob}={setting}" if self.knob else str(setting)


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One row, built: everything is ready to run."""

    ours: Run
    forward: Run
    """One forward of one sample through the network as the user has it: the unit of cost."""
    peers: Mapping[str, Rival] = field(default_factory=dict)
    floor: Rival | None = None
    """Bare torch doing only the passes that nobody can avoid."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its words, and how to build it on a device."""

    name: str
    work: str
    network: str
    size: str
    build: Callable[[torch.device], Contest]
    part: str = ""
    """Which fixed part of the positions or samples is done, the same by all; empty: all of them."""
    repeats: int = 5
    long: bool = False
    """Only run with --full or by name."""
    goal: str = ""
    """The ratios that are aimed at."""
    limit: str = ""
    """Why no more can be had, where an aim is missed."""
    published: str = ""
    """Seconds that others published for such work."""
    kinds: tuple[str, ...] = ("cpu", "cuda")
    """Devices on which it is run."""


def flat(result: Any) -> Tensor:
    """A map, whatever carries it, as a float64 tensor on the processor."""
    return torch.as_tensor(result.values if isinstance(result, Map) else result).detach().cpu().double()


def same(ours: Any, theirs: Any) -> tuple[Tensor, Tensor]:
    """Two results that hold the same numbers in the same order, whatever the axes of length 1."""
    one, other = flat(ours), flat(theirs)
    return one.squeeze(), other.squeeze()


def gap(ours: Any, theirs: Any, compared: Compared) -> float:
    """Largest difference as a share of the largest value."""
    one, other = compared(ours, theirs)
    if one.shape != other.shape:
        raise ValueError(f"maps of {tuple(one.shape)} and {tuple(other.shape)} cannot be compared")
    largest = float(other.abs().max())
    if not largest > 0:
        raise ValueError("a blank map agrees with anything")
    return float((one - other).abs().max()) / largest
