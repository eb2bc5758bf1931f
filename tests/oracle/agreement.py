"""How far our maps are from another library's, asserted and written down for the table in the documentation."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

RELATIVE = 1e-9
"""Two float64 computations of one formula differ by the order of their additions only."""

FOUND: dict[tuple[str, str], dict[str, float]] = {}
"""(method, peer) -> largest distances seen in this run: 'float64', and in float32 'ours' and 'peer' to the truth."""


def relative_gap(ours: torch.Tensor | np.ndarray, theirs: torch.Tensor | np.ndarray) -> float:
    """Largest difference as a share of the largest value."""
    one, other = (
        np.asarray(values.detach() if isinstance(values, torch.Tensor) else values) for values in (ours, theirs)
    )
    if one.shape != other.shape:
        raise AssertionError(f"maps of {one.shape} and {other.shape} cannot be compared")
    largest = np.abs(other).max()
    if not largest > 0:
        raise AssertionError("a blank map agrees with anything")
    return float(np.abs(one - other).max() / largest)


def assert_same(method: str, peer: str, ours, theirs, relative: float = RELATIVE) -> None:
    """Raise unless both maps agree, and note by how much."""
    gap = relative_gap(ours, theirs)
    _note(method, peer, "float64", gap)
    if not gap <= relative:
        raise AssertionError(f"{method} and {peer} differ by {gap:.2e} of the largest value")


def assert_no_further(method: str, peer: str, truth, ours, theirs, slack: float) -> None:
    """Raise where our float32 map lies further from the float64 truth than the peer's, times `slack`."""
    own, other = relative_gap(ours, truth), relative_gap(theirs, truth)
    _note(method, peer, "ours", own)
    _note(method, peer, "peer", other)
    if not own <= slack * other:
        raise AssertionError(f"{method}: float32 is {own:.2e} from the truth, {peer} {other:.2e}")


def _note(method: str, peer: str, what: str, gap: float) -> None:
    row = FOUND.setdefault((method, peer), {})
    row[what] = max(gap, row.get(what, 0.0))


HEAD = """# Agreement with other libraries

Written by `make parity`, which runs the comparisons of `tests/oracle`. Distances are the largest difference between two
maps as a share of the largest value, the worst of all networks, classes and options compared. *float64*: our map and
the peer's, both in double precision. *float32*: how far each lies from the double-precision map, in single precision;
for networks with ReLU that is rounding where units are near zero, and ours may not be larger. Where a peer's definition
differs from the paper's, or it rounds on the way, the test says how that was evened out.

| method | peer | float64 | float32, ours | float32, peer |
|---|---|---|---|---|
"""


def write() -> None:
    """Write the table to the file named by VOXPLAIN_PARITY, where that is set."""
    path = os.environ.get("VOXPLAIN_PARITY")
    if path:
        cells = (
            [name, peer, *(_told(row, what) for what in ("float64", "ours", "peer"))]
            for (name, peer), row in sorted(FOUND.items())
        )
        Path(path).write_text(HEAD + "".join(f"| {' | '.join(row)} |\n" for row in cells), encoding="utf-8")


def _told(row: dict[str, float], what: str) -> str:
    return f"{row[what]:.0e}" if what in row else ""
