"""Right against wrong predictions: does a number of the maps tell them apart?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from voxplain.study.ranking import holm
from voxplain.study.statistics import ByPatient, Floats, by_patient, mean
from voxplain.training.intervals import REPLICATES

FEWEST = 2
"""Patients on either side below which nothing is tested."""


@dataclass(frozen=True)
class Sides:
    """A number's values where the prediction was right and where it was wrong."""

    measure: str
    method: str
    target: str
    right: ByPatient
    wrong: ByPatient


def is_right(facts: Mapping[str, Any]) -> bool | None:
    """Whether the model predicted the case's label, by class name or number; None where one of them is not known."""
    said = facts.get("prediction")
    told: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    place, label, names = told.get("predicted"), facts.get("label"), list(told.get("class_names") or ())
    if not isinstance(place, int) or label in (None, ""):
        return None
    name = str(names[place]) if place < len(names) else f"class {place}"
    return str(label) in (name, str(place))


def sides(
    measure: str, method: str, target: str, values: Mapping[str, float], right: Mapping[str, bool],
    patients: Mapping[str, str],
) -> Sides:  # fmt: skip
    """The values {case: number} of a number on both sides, averaged within patients on each."""
    own = {side: {case: value for case, value in values.items() if right.get(case) is side} for side in (True, False)}
    return Sides(measure, method, target, by_patient(own[True], patients), by_patient(own[False], patients))


def told_apart(found: Iterable[Sides], seed: int = 0) -> list[dict[str, Any]]:
    """For each number its mean on both sides, their difference with its interval, and how well it tells them apart.

    The area under the curve is the chance that a right prediction has the larger number. Mann and Whitney's tests are
    one family for Holm's correction; sides of fewer than two patients are not tested.
    """
    every = [*found]
    tests = [_p_value(one) for one in every]
    known = [p_value for p_value in tests if p_value is not None]
    corrected = iter(holm(known)) if known else iter(())
    return [
        {**_row(one, seed), "p": p_value, "p_holm": None if p_value is None else next(corrected)}
        for one, p_value in zip(every, tests, strict=True)
    ]


def _row(one: Sides, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"measure": one.measure, "method": one.method, "target": one.target}
    for name, side in (("right", one.right), ("wrong", one.wrong)):
        row[name] = mean(side, seed).to_table() if side else None
    if not one.right or not one.wrong:
        return {**row, "difference": None, "low": None, "high": None, "auroc": None}
    right, wrong = (np.array([*side.values()]) for side in (one.right, one.wrong))
    low, high = _interval(right, wrong, seed)
    ends = {"difference": float(right.mean() - wrong.mean()), "low": low, "high": high}
    return {**row, **ends, "auroc": _area(right, wrong)}


def _interval(right: Floats, wrong: Floats, seed: int) -> tuple[float | None, float | None]:
    """95 % interval of the difference of means by the bootstrap over the patients of each side."""
    if min(len(right), len(wrong)) < FEWEST:
        return None, None
    generator = np.random.default_rng(seed)
    means = [side[generator.integers(len(side), size=(REPLICATES, len(side)))].mean(axis=1) for side in (right, wrong)]
    low, high = np.percentile(means[0] - means[1], (2.5, 97.5))
    return float(low), float(high)


def _area(right: Floats, wrong: Floats) -> float:
    above = (right[:, None] > wrong[None]) + 0.5 * (right[:, None] == wrong[None])
    return float(above.mean())


def _p_value(one: Sides) -> float | None:
    if min(len(one.right), len(one.wrong)) < FEWEST:
        return None
    return float(mannwhitneyu([*one.right.values()], [*one.wrong.values()]).pvalue)
