"""What the rows of an evaluation add up to: means with intervals, ranks and tests, and where metrics disagree."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import OptionError
from voxplain.study.evaluate_asked import FACTS, Told, told
from voxplain.study.rows import Row
from voxplain.study.statistics import ByPatient, by_patient, differences, mean, ranked
from voxplain.study.statistics_disagreement import disagreements

COLUMNS = (
    "metric", "better", "target", "method", "control", "value", "low", "high", "n", "patients", "chance", "mean_rank",
    "not_applicable", "failed", "reason",
)  # fmt: skip
"""The columns of summary.csv."""

ROUNDING = 1e-12

Group = tuple[str, str]
"""A target and a metric: what numbers may be compared within."""


@dataclass
class Numbers:
    """The numbers of one method for one target and metric."""

    control: bool = False
    values: dict[str, float] = field(default_factory=dict)
    """Case -> number."""
    chances: dict[str, float] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    """Why cases have none."""
    failed: int = 0

    @property
    def not_applicable(self) -> int:
        """Cases to which the metric does not apply."""
        return self.missing.total() - self.failed


@dataclass
class Gathered:
    """All numbers of an evaluation: so many floats as rows, and nothing else of them."""

    groups: dict[Group, dict[str, Numbers]] = field(default_factory=dict)
    """Target and metric -> method -> its numbers."""
    patients: dict[str, str] = field(default_factory=dict)
    """Case -> patient, where one is known."""


def gathered(rows: Iterable[Row]) -> Gathered:
    """The numbers of rows, read one by one."""
    found = Gathered()
    for row in rows:
        case, group = str(row["case"]), (str(row["target"]), str(row["metric"]))
        numbers = found.groups.setdefault(group, {}).setdefault(method_name(row), Numbers(bool(row["control"])))
        if row.get("group"):
            found.patients[case] = str(row["group"])
        if row["value"] is not None:
            numbers.values[case] = float(row["value"])
        else:
            numbers.missing[str(row["reason"])] += 1
            numbers.failed += row["status"] == "failed"
        if row["chance"] is not None:
            numbers.chances[case] = float(row["chance"])
    return found


def method_name(row: Mapping[str, Any]) -> str:
    """A method, and its layer where it has one."""
    return ", ".join(str(row[name]) for name in ("method", "layer") if row.get(name))


def summary(rows: Iterable[Row], seed: int = 0) -> dict[str, Any]:
    """Means, ranks, tests and disagreements of rows as plain values.

    Methods are ranked and tested among themselves, and each against each control; every such family of tests is
    corrected by Holm's steps. Metrics are held against each other over the methods alone.
    """
    numbers = gathered(rows)
    known = {metric: _told(metric) for _, metric in numbers.groups}
    groups = {
        group: _group(group, methods, known[group[1]], numbers.patients, seed)
        for group, methods in numbers.groups.items()
    }
    return {
        "interval": "95 % intervals by the bootstrap over patients, whose cases are averaged first",
        "tests": "Wilcoxon's signed-rank tests over patients, two-sided, with Holm's correction; Friedman's over all",
        "metrics": {name: asdict(one) for name, one in known.items() if one is not None},
        "groups": list(groups.values()),
        "disagreement": [*_disagreement(numbers, known, seed)],
    }


def _told(metric: str) -> Told | None:
    try:
        return told(metric)
    except OptionError:  # a metric of a package that is no longer installed
        return None


def _group(
    group: Group, methods: Mapping[str, Numbers], known: Told | None, patients: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Everything about one target and metric."""
    scores = {name: by_patient(one, patients) for name, one in _rounded(methods).items()}
    real = {name: scores[name] for name, one in methods.items() if not one.control}
    ranking = None if known is None else ranked(real, known.better)
    ranks = {} if ranking is None else dict(ranking.mean_ranks)
    beside = [(name, other) for name in real for other, one in methods.items() if one.control]
    return {
        "target": group[0],
        "metric": group[1],
        "means": [_mean(name, one, scores[name], patients, ranks.get(name), seed) for name, one in methods.items()],
        "ranking": None if ranking is None else asdict(ranking),
        "pairs": [one.to_table() for one in differences(real, combinations(real, 2), seed)],
        "against_controls": [one.to_table() for one in differences(scores, beside, seed)],
    }


def _rounded(methods: Mapping[str, Numbers]) -> dict[str, dict[str, float]]:
    """The values of methods without the last digits, in which equal numbers differ: ranks and tests must not see these.

    A step is a million-millionth of the largest value, or of 1.
    """
    largest = max((abs(value) for one in methods.values() for value in one.values.values()), default=0.0)
    step = ROUNDING * max(1.0, largest)
    return {
        name: {case: round(value / step) * step for case, value in one.values.items()} for name, one in methods.items()
    }


def _mean(
    name: str, numbers: Numbers, scores: ByPatient, patients: Mapping[str, str], rank: float | None, seed: int
) -> dict[str, Any]:
    counts = {"n": len(numbers.values), "not_applicable": numbers.not_applicable, "failed": numbers.failed}
    chance = by_patient(numbers.chances, patients)
    row = {"method": name, "control": numbers.control, **counts, "reasons": dict(numbers.missing), "mean_rank": rank}
    row["chance"] = sum(chance.values()) / len(chance) if chance else None
    if not scores:
        return {**row, "value": None, "low": None, "high": None, "patients": 0, "interval": "no number"}
    found = mean(scores, seed)
    return {**row, **found.to_table(), "interval": found.interval}


def _disagreement(numbers: Gathered, known: Mapping[str, Told | None], seed: int) -> Iterator[dict[str, Any]]:
    """Metrics of each target held against each other, those that are least alike first."""
    by_target: dict[str, dict[str, dict[str, ByPatient]]] = defaultdict(dict)
    for (target, metric), methods in numbers.groups.items():
        if metric not in FACTS and known[metric] is not None:
            real = {name: one for name, one in _rounded(methods).items() if not methods[name].control}
            by_target[target][metric] = {name: by_patient(one, numbers.patients) for name, one in real.items()}
    better = {metric: one.better for metric, one in known.items() if one is not None}
    for target, scores in by_target.items():
        for one in disagreements(scores, better, seed):
            yield {"target": target, **one.to_table()}


def write_summary(folder: Path, found: Mapping[str, Any]) -> None:
    """summary.json with everything, summary.csv with a row for each target, metric and method."""
    with written_beside(folder / "summary.json") as beside:
        beside.write_text(json_text(found, indent=1) + "\n", encoding="utf-8")
    with written_beside(folder / "summary.csv") as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(flat(found))


def flat(found: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each target, metric and method, with the reason that most cases without a number have."""
    for group in found["groups"]:
        better = found["metrics"].get(group["metric"], {}).get("better", "")
        for one in group["means"]:
            reason = max(one["reasons"], key=one["reasons"].get) if one["reasons"] else ""
            yield {"metric": group["metric"], "target": group["target"], "better": better, **one, "reason": reason}
