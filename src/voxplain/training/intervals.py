"""Intervals by the bootstrap over patients: cases of one patient resemble each other and are drawn together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REPLICATES = 2000
"""Bootstrap samples: enough that the ends of an interval move by a few percent of its width from seed to seed."""

BLOCK = 2**22
"""Numbers of one block of replicates that exist at a time."""

LEVEL = 0.95


def intervals(sums: Floats, measures: Callable[[Floats], Mapping[str, Floats]], seed: int) -> dict[str, Any]:
    """95 % intervals {key: [low, high]} under "intervals" and what they are, in words, under "interval".

    `sums` (patient, ...) are additive statistics of each patient's cases; `measures` turns those of many replicates
    (replicate, ...) into a number a replicate under each key, NaN where a replicate has none. Patients are drawn with
    replacement, ends are percentiles; for one patient there is no interval.
    """
    count = len(sums)
    if count < 2:
        return {"intervals": {}, "interval": "no interval: all cases come from one patient"}
    blocks = [measures(block) for block in _replicates(sums, seed)]
    found = {}
    for key in blocks[0]:
        values = np.concatenate([block[key] for block in blocks])
        values = values[np.isfinite(values)]
        tails = 100 * (1 - LEVEL) / 2
        found[key] = [float(end) for end in np.percentile(values, (tails, 100 - tails))] if len(values) else None
    return {"intervals": found, "interval": f"95 % interval by bootstrap over {count} patients"}


def _replicates(sums: Floats, seed: int) -> Iterator[Floats]:
    """Blocks (replicate, ...) of the statistics of redrawn patients; the numbers do not depend on the block's size."""
    generator = np.random.default_rng(seed)
    count = len(sums)
    block = max(1, BLOCK // count)
    flat = sums.reshape(count, -1)
    for start in range(0, REPLICATES, block):
        size = min(block, REPLICATES - start)
        times = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield (times @ flat).reshape(size, *sums.shape[1:])


def ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    """`above` / `below`, and `otherwise` where that is 0 / 0."""
    filled: Floats = np.full(np.shape(above), otherwise)
    return np.divide(above, below, out=filled, where=below != 0)
