"""Do maps tell what the model needs, better than maps that know nothing, and do metrics of that agree?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from voxplain.data.case import Case
from voxplain.errors import VoxplainError
from voxplain.metrics.abpc import Abpc
from voxplain.metrics.base_model import ModelMetric
from voxplain.metrics.deletion import Deletion
from voxplain.metrics.faithfulness_correlation import FaithfulnessCorrelation
from voxplain.metrics.insertion import Insertion
from voxplain.metrics.together import measure_all
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_sanity import CASES, QUICK_CASES
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, concluded, estimate
from voxplain.study.evaluate_maps import Laid, controls, explained
from voxplain.study.ready import Ready
from voxplain.study.statistics import by_patient
from voxplain.study.statistics_disagreement import FEWEST_METHODS, Disagreement, disagreements

AGREE = 0.3
"""Kendall's tau below which two metrics cannot be said to order methods alike."""

DECIDES = "abpc"
"""The metric by which methods are held against controls: a random order of voxels has 0."""


@dataclass(frozen=True)
class Measures:
    """Numbers of some cases."""

    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Metric -> method or control -> case -> number."""
    control: Mapping[str, bool]
    """Which names are controls'."""


def metrics(*, quick: bool, seed: int) -> tuple[ModelMetric, ...]:
    """Metrics of what the model needs; they share their curves and forwards."""
    steps = 8 if quick else 16
    return (
        Abpc(steps=steps),
        Deletion(steps=steps),
        Insertion(steps=steps),
        FaithfulnessCorrelation(samples=50 if quick else 100, seed=seed),
    )


def measured(cohort: Cohort) -> Measures:
    """Numbers of every method and control on some cases."""
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    control: dict[str, bool] = {}
    kept = cohort.kept("truthfulness")
    for case in cohort.drawn(QUICK_CASES if cohort.quick else CASES):
        for one in kept(case.identifier, partial(_measured, cohort, case)):
            control[one["method"]] = one["control"]
            for metric, value in one["numbers"].items():
                found[metric][one["method"]][case.identifier] = value
    return Measures(found, control)


def _measured(cohort: Cohort, case: Case) -> list[dict[str, Any]]:
    """The numbers of each method and control on one case, as plain values; [] where it cannot be asked about."""
    asked = metrics(quick=cohort.quick, seed=cohort.plan.seed)
    try:
        ready = cohort.ready(case)
        laid = [one for one in _laid(cohort, ready) if one.values is not None]
        score = cohort.explainer.score(ready, cohort.target(ready))
        found = measure_all(asked, score, ready.x, [one.values for one in laid if one.values is not None])
    except VoxplainError:
        return []
    return [
        {
            "method": one.attribution.method,
            "control": one.control,
            "numbers": {
                metric.name: own[place].value
                for metric, own in found.items()
                if own[place].value is not None and not one.flaw
            },
        }
        for place, one in enumerate(laid)
    ]


def _laid(cohort: Cohort, ready: Ready) -> list[Laid]:
    found = []
    for method in cohort.plan.methods:
        try:
            found.append(explained(cohort.explainer, ready, cohort.target(ready), method)[0])
        except VoxplainError:
            continue
    return [*found, *controls(ready.image, ready, "")]


def check_truthfulness(found: Measures, names: Sequence[str], groups: Mapping[str, str]) -> Verdict:
    """Whether removing voxels in the order of a method moves the score more than in the order of each control."""
    own = found.values.get(DECIDES, {})
    words: dict[Outcome, str] = {
        "ok": "every method tells what the score needs better than a random map, an edge filter and a blob do",
        "look": "{names}: not surely better than maps that know nothing at telling what the score needs",
        "fail": "{names}: no better than maps that know nothing at telling what the score needs",
    }
    return concluded(
        "truthfulness",
        "Truthfulness against maps that know nothing",
        words,
        [_finding(name, own, found.control, groups) for name in names],
        quantity="area between perturbation curves, less that of the best control",
        threshold="ok where the whole interval lies above 0, fail where the mean does not",
    )


def _finding(
    name: str, own: Mapping[str, Mapping[str, float]], control: Mapping[str, bool], groups: Mapping[str, str]
) -> Finding:
    beside = {
        other: {case: own[name][case] - one[case] for case in own[name] if case in one}
        for other, one in own.items()
        if control[other] and name in own
    }
    found = {other: estimate(gaps, groups) for other, gaps in beside.items()}
    real = {other: one for other, one in found.items() if one is not None}
    if not real:
        return Finding.not_applicable(name, "there is no number of this method")
    worst = min(real, key=lambda other: real[other].value)
    gap = real[worst]
    surely = gap.value if gap.low is None else gap.low
    outcome: Outcome = "ok" if surely > 0 else "look" if gap.value > 0 else "fail"
    return Finding.of(name, outcome, f"{gap.value:+.2g} against {worst}, the best control", gap, control=worst)


def check_disagreement(found: Measures, groups: Mapping[str, str], seed: int) -> Verdict:
    """How alike metrics order the methods: the pair that agrees least decides."""
    title = "Do metrics of truthfulness agree?"
    scores = {
        metric: {name: by_patient(one, groups) for name, one in own.items() if not found.control[name]}
        for metric, own in found.values.items()
    }
    pairs = disagreements(scores, {one.name: one.better for one in metrics(quick=True, seed=seed)}, seed)
    if not pairs:
        reason = f"metrics are held against each other over at least {FEWEST_METHODS} methods and two patients"
        return Verdict.not_applicable("disagreement", title, reason)
    words: dict[Outcome, str] = {
        "ok": "metrics of truthfulness order the methods alike",
        "look": "metrics order the methods differently ({names}): name the question before the metric",
    }
    return concluded(
        "disagreement",
        title,
        words,
        [*map(_pair, pairs)],
        quantity="Kendall's tau between the orders of methods",
        threshold=f"look below {AGREE:g}; never a failure, since metrics ask different questions",
    )


def _pair(one: Disagreement) -> Finding:
    name = f"{one.first} and {one.second}"
    if one.tau is None:
        return Finding.not_applicable(name, "one of them ranks all methods alike")
    words = f"best by the first {one.best[0]}, by the second {one.best[1]}"
    outcome: Outcome = "ok" if one.tau >= AGREE else "look"
    return Finding(name, outcome, words, one.tau, one.low, one.high, one.patients)
