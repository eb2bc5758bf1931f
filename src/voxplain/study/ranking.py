"""Methods ranked over the same cases: Friedman's test, then Nemenyi's difference or Wilcoxon's tests with Holm's steps.

Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, section 3.2; for Wilcoxon with
Holm's correction Benavoli, Corani, Mangili, Should we really use post-hoc tests based on mean-ranks?, JMLR 17, 2016.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from voxplain.errors import InputError

Test = Literal["nemenyi", "wilcoxon_holm"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """How methods rank over cases, and which of them cannot be told apart."""

    mean_ranks: Mapping[str, float]
    """From the best to the worst method, 1 for one that is best in every case; ties share their ranks."""
    cases: int
    """How many cases had a number of every method."""
    left_out: int
    """How many had not."""
    p_value: float
    """Friedman's, that all methods rank alike; Wilcoxon's for two methods."""
    test: Test
    alpha: float
    difference: float | None
    """Nemenyi's critical difference of mean ranks; None for Wilcoxon's tests."""
    cliques: tuple[tuple[str, ...], ...]
    """Neighbours in rank of which no two differ significantly, the largest such groups of two or more."""


def ranking(
    scores: Mapping[str, Sequence[float] | npt.ArrayLike],
    *,
    better: Literal["higher", "lower"] = "higher",
    test: Test = "wilcoxon_holm",
    alpha: float = 0.05,
) -> Ranking:
    """Rank methods by their scores, {method: (case,)} in the same order of cases; cases with a NaN are left out.

    Where Friedman's test finds no difference, all methods form one clique. Raises InputError for fewer than two
    methods, unequal lengths, fewer than two complete cases, or an alpha out of range.
    """
    names, table, left_out = _complete(scores, alpha)
    ranks = np.stack([rankdata(-row if better == "higher" else row) for row in table])
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    means = {names[place]: float(ranks[:, place].mean()) for place in order}
    p_value = _friedman(table)
    difference = _nemenyi(len(names), len(table), alpha) if test == "nemenyi" else None
    alike = _nemenyi_alike(means, difference) if difference is not None else _wilcoxon_alike(names, table, alpha)
    cliques = (tuple(means),) if p_value >= alpha else _cliques(list(means), alike)
    return Ranking(means, len(table), left_out, p_value, test, alpha, difference, cliques)


def _complete(scores: Mapping[str, Sequence[float] | npt.ArrayLike], alpha: float) -> tuple[list[str], Floats, int]:
    names, columns = list(scores), [np.asarray(one, dtype=np.float64).ravel() for one in scores.values()]
    if len(names) < 2:
        raise InputError(f"methods must be at least two to be ranked, got {', '.join(names) or 'none'}")
    if len({len(one) for one in columns}) > 1:
        counts = ", ".join(f"{name} {len(one)}" for name, one in zip(names, columns, strict=True))
        raise InputError(f"methods must have one score for each case, got {counts}")
    if not 0 < alpha < 1:
        raise InputError(f"alpha must be between 0 and 1, got {alpha}")
    table = np.stack(columns, axis=1)
    known = np.isfinite(table).all(axis=1)
    if known.sum() < 2:
        raise InputError(f"ranks need at least two cases with a score of every method, got {int(known.sum())}")
    return names, table[known], int((~known).sum())


def _friedman(table: Floats) -> float:
    if table.shape[1] == 2:
        return signed_rank(table[:, 0], table[:, 1])
    with np.errstate(invalid="ignore"):
        p_value = float(friedmanchisquare(*table.T).pvalue)
    return 1.0 if np.isnan(p_value) else p_value  # all tied in every case: nothing differs


def signed_rank(first: Floats, second: Floats) -> float:
    """The p-value of Wilcoxon's signed-rank test, two-sided, of paired numbers (case,); 1 where all are equal."""
    return float(wilcoxon(first, second).pvalue) if bool((first != second).any()) else 1.0


def _nemenyi(methods: int, cases: int, alpha: float) -> float:
    """Equation 6.1 of Demšar: q times the standard error of a difference of mean ranks."""
    q = float(studentized_range.ppf(1 - alpha, methods, inf)) / sqrt(2)
    return q * sqrt(methods * (methods + 1) / (6 * cases))


def _nemenyi_alike(means: Mapping[str, float], difference: float) -> Callable[[str, str], bool]:
    return lambda one, other: abs(means[one] - means[other]) < difference


def _wilcoxon_alike(names: Sequence[str], table: Floats, alpha: float) -> Callable[[str, str], bool]:
    pairs = list(combinations(range(len(names)), 2))
    adjusted = holm([signed_rank(table[:, one], table[:, other]) for one, other in pairs])
    apart = {frozenset(names[at] for at in pair) for pair, p in zip(pairs, adjusted, strict=True) if p < alpha}
    return lambda one, other: frozenset((one, other)) not in apart


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values after Holm's steps: from the smallest, each times the number of those left, never falling again."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1))
    return [min(float(p), 1.0) for p in adjusted]


def _cliques(names: Sequence[str], alike: Callable[[str, str], bool]) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    for start in range(len(names)):
        end = start + 1
        while end < len(names) and all(alike(names[end], one) for one in names[start:end]):
            end += 1
        if end - start > 1 and not (found and set(names[start:end]) <= set(found[-1])):
            found.append(tuple(names[start:end]))
    return tuple(found)
