"""How far readers agree with each other: Krippendorff's alpha, intraclass correlations, Fleiss' kappa.

Each is a function of sums over units, so that its interval comes from drawing patients again; the readers stay.
Krippendorff, Computing Krippendorff's alpha-reliability, 2011; Shrout and Fleiss, Intraclass correlations, Psychol.
Bull. 86, 1979; Fleiss, Measuring nominal scale agreement among many raters, Psychol. Bull. 76, 1971.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from voxplain.study.feedback import LEVELS
from voxplain.study.statistics import Estimate, Floats
from voxplain.training.intervals import intervals

Measure = Callable[[Floats], Floats]
"""Sums over units (..., *what is summed) -> the statistic (...), NaN where it is not defined."""


def over_patients(sums: Floats, patients: Sequence[str], measure: Measure) -> Estimate | None:
    """A statistic of the sums of units (unit, ...), with its 95 % interval by the bootstrap over their patients.

    None where it is not defined, such as for ratings that are all alike.
    """
    names = sorted(set(patients))
    own = np.array([sums[[one == name for one in patients]].sum(axis=0) for name in names])
    value = float(measure(own.sum(axis=0)[None])[0]) if names else np.nan
    if not np.isfinite(value):
        return None
    found = intervals(own, lambda drawn: {"value": measure(drawn)}, seed=0)
    low, high = found["intervals"].get("value") or (None, None)
    return Estimate(value, low, high, len(names), found["interval"])


def coincidences(ratings: Floats) -> Floats:
    """How often two readers gave two values to one unit (unit, level, level), each pair counted 1 / (readers - 1).

    `ratings` (unit, reader) run from 1 to 5, NaN where there is none; units with fewer than two count nothing.
    """
    counts = (ratings[..., None] == np.arange(1, LEVELS + 1)).sum(axis=1).astype(np.float64)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(LEVELS)
    readers = counts.sum(axis=1)[:, None, None]
    found: Floats = np.zeros(pairs.shape)
    np.divide(pairs, readers - 1, out=found, where=readers > 1)
    return found


def ordinal_alpha(coincident: Floats) -> Floats:
    """Krippendorff's alpha for ranks, of summed coincidences (..., level, level): 1 full agreement, 0 chance."""
    level = coincident.sum(axis=-1)
    total = level.sum(axis=-1)
    middle = level.cumsum(axis=-1) - level / 2
    apart = (middle[..., :, None] - middle[..., None, :]) ** 2
    seen = (coincident * apart).sum(axis=(-2, -1)) * (total - 1)
    chance = (level[..., :, None] * level[..., None, :] * apart).sum(axis=(-2, -1))
    return 1 - _ratio(seen, chance)


def variance_sums(ratings: Floats) -> Floats:
    """What the mean squares are made of (unit, 3 + reader): 1, the squared mean, the sum of squares, the ratings."""
    ones = np.ones((len(ratings), 1))
    return np.hstack([ones, ratings.mean(axis=1, keepdims=True) ** 2, (ratings**2).sum(axis=1, keepdims=True), ratings])


def single_reader(sums: Floats) -> Floats:
    """ICC(2,1) of summed `variance_sums`: absolute agreement of one reader."""
    units, readers, between, by_reader, rest = _mean_squares(sums)
    return _ratio(between - rest, between + (readers - 1) * rest + readers * (by_reader - rest) / units)


def mean_of_readers(sums: Floats) -> Floats:
    """ICC(2,k) of summed `variance_sums`: absolute agreement of the mean of all k readers."""
    units, _, between, by_reader, rest = _mean_squares(sums)
    return _ratio(between - rest, between + (by_reader - rest) / units)


def _mean_squares(sums: Floats) -> tuple[Floats, int, Floats, Floats, Floats]:
    """Units, readers, and the mean squares between units, between readers, and of the rest (NaN for one unit)."""
    units, squared_means, squares, columns = sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3:]
    readers = columns.shape[-1]
    centre = columns.sum(axis=-1) ** 2 / (units * readers)
    between = readers * squared_means - centre
    by_reader = (columns**2).sum(axis=-1) / units - centre
    free = np.where(units > 1, units - 1, np.nan)
    rest = (squares - centre - between - by_reader) / (free * (readers - 1))
    return units, readers, between / free, by_reader / (readers - 1), rest


def kappa_sums(readings: Floats, answers: int) -> Floats:
    """What Fleiss' kappa is made of (unit, 2 + answer): 1, the share of agreeing pairs, how often each was given."""
    counts = (readings[..., None] == np.arange(answers)).sum(axis=1).astype(np.float64)
    readers = readings.shape[1]
    alike = ((counts**2).sum(axis=1) - readers) / (readers * (readers - 1))
    return np.column_stack([np.ones(len(readings)), alike, counts])


def fleiss_kappa(sums: Floats) -> Floats:
    """Fleiss' kappa of summed `kappa_sums`, for answers without order."""
    given = sums[..., 2:]
    share = given / given.sum(axis=-1, keepdims=True)
    chance = (share**2).sum(axis=-1)
    return _ratio(sums[..., 1] / sums[..., 0] - chance, 1 - chance)


def _ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the divisor is 0 or less."""
    found: Floats = np.full(np.shape(below), np.nan)
    return np.divide(above, below, out=found, where=below > 1e-12)
