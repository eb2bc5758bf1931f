"""Numbers of cases as numbers of patients: means with intervals, paired differences with tests, ranks of methods.

Cases of one patient resemble each other: they are averaged first, and everything else counts patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from voxplain.study.ranking import Ranking, holm, ranking, signed_rank
from voxplain.training.intervals import intervals

Floats = npt.NDArray[np.float64]
Better = Literal["higher", "lower"]
ByPatient = Mapping[str, float]
"""Patient -> the mean of its cases."""


@dataclass(frozen=True)
class Estimate:
    """A mean over patients, never without its interval or the reason why there is none."""

    value: float
    low: float | None
    high: float | None
    patients: int
    interval: str
    """What the interval is, in words."""

    def to_table(self) -> dict[str, Any]:
        """As plain values."""
        return {"value": self.value, "low": self.low, "high": self.high, "patients": self.patients}


@dataclass(frozen=True)
class Difference:
    """How far one method lies above another in the same patients."""

    first: str
    second: str
    difference: Estimate
    """First minus second."""
    p_value: float
    """Wilcoxon's signed-rank test, two-sided, over patients."""
    p_holm: float
    """The same after Holm's correction over all pairs of its family."""

    def to_table(self) -> dict[str, Any]:
        """As plain values."""
        told = self.difference.to_table()
        pair = {"first": self.first, "second": self.second, "difference": told.pop("value")}
        return {**pair, **told, "p": self.p_value, "p_holm": self.p_holm}


def by_patient(values: Mapping[str, float], patients: Mapping[str, str]) -> dict[str, float]:
    """The numbers of cases {case: number} averaged within each patient; a case without a patient is one by itself."""
    found: dict[str, list[float]] = {}
    for case, value in values.items():
        found.setdefault(patients.get(case) or f"case {case}", []).append(value)
    return {patient: float(np.mean(own)) for patient, own in found.items()}


def mean(values: ByPatient, seed: int = 0) -> Estimate:
    """The mean over patients with its 95 % interval by the bootstrap over them; none for a single patient."""
    numbers = np.array([values[patient] for patient in sorted(values)])
    found = intervals(numbers[:, None], lambda sums: {"mean": sums[:, 0] / len(numbers)}, seed)
    low, high = found["intervals"].get("mean") or (None, None)
    return Estimate(float(numbers.mean()), low, high, len(numbers), found["interval"])


def differences(scores: Mapping[str, ByPatient], pairs: Iterable[tuple[str, str]], seed: int = 0) -> list[Difference]:
    """Paired differences of methods {method: {patient: number}}, each over the patients that have both numbers.

    The pairs are one family for Holm's correction; pairs without a common patient are left out.
    """
    found = []
    for first, second in pairs:
        one, other = scores[first], scores[second]
        common = [patient for patient in one if patient in other]
        if common:
            apart = mean({patient: one[patient] - other[patient] for patient in common}, seed)
            p_value = signed_rank(_numbers(one, common), _numbers(other, common))
            found.append((first, second, apart, p_value))
    corrected = holm([p_value for *_, p_value in found])
    return [Difference(*one, p_holm) for one, p_holm in zip(found, corrected, strict=True)]


def ranked(scores: Mapping[str, ByPatient], better: Better) -> Ranking | None:
    """Methods ranked within each patient that has a number of all of them; None where fewer than two patients have."""
    names, table = complete(scores)
    if len(names) < 2 or len(table) < 2:
        return None
    everyone = {patient for one in scores.values() for patient in one}
    columns = {name: table[:, place] for place, name in enumerate(names)}
    lacking = np.full(len(everyone) - len(table), np.nan)
    return ranking({name: np.concatenate([column, lacking]) for name, column in columns.items()}, better=better)


def complete(scores: Mapping[str, ByPatient]) -> tuple[list[str], Floats]:
    """The methods that have any number, and the numbers (patient, method) of patients that have all of these."""
    names = [name for name, one in scores.items() if one]
    common = sorted(set.intersection(*(set(scores[name]) for name in names))) if names else []
    table = np.array([[scores[name][patient] for name in names] for patient in common], dtype=np.float64)
    return names, table.reshape(len(common), len(names))


def _numbers(values: ByPatient, patients: Sequence[str]) -> Floats:
    return np.array([values[patient] for patient in patients], dtype=np.float64)
