"""Where metrics disagree: how alike the orders are into which two metrics bring the same methods.

Kendall, A new measure of rank correlation, Biometrika 30, 1938, with ties as in tau b.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from voxplain.study.statistics import Better, ByPatient, Floats, complete
from voxplain.training.intervals import intervals

FEWEST_METHODS = 3
"""Two methods are ordered alike or the other way round, and chance gives each as often: that says nothing."""


@dataclass(frozen=True)
class Disagreement:
    """Two metrics, and how alike they order the methods over the same patients."""

    first: str
    second: str
    tau: float | None
    """1: the same order, -1: the opposite one; None where a metric ranks all methods alike."""
    low: float | None
    high: float | None
    patients: int
    best: tuple[str, str]
    """The best method by the first metric and by the second."""
    turned: tuple[tuple[str, str], ...]
    """Pairs (a, b) of methods of which the first metric prefers a and the second b."""

    def to_table(self) -> dict[str, Any]:
        """As plain values."""
        ends = {"tau": self.tau, "low": self.low, "high": self.high, "patients": self.patients}
        best = {"best_by_first": self.best[0], "best_by_second": self.best[1]}
        turned = [{"first_prefers": one, "second_prefers": other} for one, other in self.turned]
        return {"first": self.first, "second": self.second, **ends, **best, "turned": turned}


def disagreements(
    scores: Mapping[str, Mapping[str, ByPatient]], better: Mapping[str, Better], seed: int = 0
) -> list[Disagreement]:
    """All pairs of metrics {metric: {method: {patient: number}}}, the least alike first; `better` says what is good.

    Methods are ordered by their mean rank over the patients that have all numbers of both metrics. Pairs with fewer
    than three methods or two patients in common are left out.
    """
    found = [_pair(one, other, scores, better, seed) for one, other in combinations(scores, 2)]
    return sorted((one for one in found if one is not None), key=lambda one: (one.tau is None, one.tau))


def _pair(
    first: str, second: str, scores: Mapping[str, Mapping[str, ByPatient]], better: Mapping[str, Better], seed: int
) -> Disagreement | None:
    methods = [name for name, one in scores[first].items() if one and scores[second].get(name)]
    both = {(metric, name): scores[metric][name] for metric in (first, second) for name in methods}
    _, table = complete({f"{metric} {name}": one for (metric, name), one in both.items()})
    if len(methods) < FEWEST_METHODS or len(table) < 2:
        return None
    halves = np.split(table, 2, axis=1)
    ranks = np.stack([_ranks(half, better[metric]) for half, metric in zip(halves, (first, second), strict=True)], 1)
    tau = _finite(kendall(ranks.mean(axis=0)[None])[0])
    low, high = intervals(ranks, lambda sums: {"tau": kendall(sums)}, seed)["intervals"].get("tau") or (None, None)
    orders = ranks.mean(axis=0)
    best = (methods[int(orders[0].argmin())], methods[int(orders[1].argmin())])
    return Disagreement(first, second, tau, low, high, len(table), best, _turned(methods, orders))


def _ranks(table: Floats, better: Better) -> Floats:
    """Ranks (patient, method) from 1 for the best."""
    ranks: Floats = rankdata(-table if better == "higher" else table, axis=1)
    return ranks


def kendall(ranks: Floats) -> Floats:
    """Tau b of two orders (..., 2, method) over the last axis; NaN where one of them ties all methods."""
    one, other = np.triu_indices(ranks.shape[-1], k=1)
    signs = np.sign(ranks[..., one] - ranks[..., other])
    first, second = signs[..., 0, :], signs[..., 1, :]
    ordered = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    tau: Floats = np.full(ordered.shape, np.nan)
    np.divide((first * second).sum(axis=-1), ordered, out=tau, where=ordered > 0)
    return tau


def _turned(methods: Sequence[str], orders: Floats) -> tuple[tuple[str, str], ...]:
    found = []
    for one, other in combinations(range(len(methods)), 2):
        gaps = orders[:, one] - orders[:, other]
        if gaps[0] * gaps[1] < 0:
            found.append((methods[one], methods[other]) if gaps[0] < 0 else (methods[other], methods[one]))
    return tuple(found)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
