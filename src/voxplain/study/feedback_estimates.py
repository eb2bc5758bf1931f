"""Means over readers and patients, whose interval speaks of other readers and other patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from voxplain.study.statistics import Estimate, Floats, by_patient
from voxplain.training.intervals import LEVEL, REPLICATES

Block = tuple[str, str]
"""A reader and a case."""


def crossed(values: Mapping[Block, float], patients: Mapping[str, str], seed: int = 0) -> Estimate:
    """The mean of {(reader, case): number}, cases averaged within each reader's patients, with its 95 % interval.

    Readers and patients are both drawn again, each independently (Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1,
    2007): the interval speaks of other readers and other patients. Of a single one of either only the other is drawn.
    """
    table = _table(values, patients)
    known, filled, total = np.isfinite(table), np.nan_to_num(table), int(np.isfinite(table).sum())
    value = float(filled.sum() / total)
    drawn = [name for name, count in zip(("readers", "patients"), table.shape, strict=True) if count > 1]
    if not drawn:
        return Estimate(value, None, None, table.shape[1], "no interval: one reader and one patient")
    generator = np.random.default_rng(seed)
    times = [generator.multinomial(count, np.full(count, 1 / count), size=REPLICATES) for count in table.shape]
    above, below = (np.einsum("br,rp,bp->b", times[0], one, times[1]) for one in (filled, known.astype(np.float64)))
    tails = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(above[below > 0] / below[below > 0], (tails, 100 - tails))
    return Estimate(value, float(low), float(high), table.shape[1], f"95 % by bootstrap over {' and '.join(drawn)}")


def _table(values: Mapping[Block, float], patients: Mapping[str, str]) -> Floats:
    """Means (reader, patient), NaN where a reader saw no case of a patient."""
    readers = {reader: by_patient(own, patients) for reader, own in _by_reader(values).items()}
    names = sorted({patient for own in readers.values() for patient in own})
    return np.array([[own.get(name, np.nan) for name in names] for _, own in sorted(readers.items())])


def _by_reader(values: Mapping[Block, float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (reader, case), value in values.items():
        found[reader][case] = value
    return found
