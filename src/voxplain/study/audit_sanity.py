"""Do maps change when the model forgets what it learnt, and stay when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from voxplain.data.case import Case
from voxplain.errors import VoxplainError
from voxplain.metrics.base import Measured
from voxplain.metrics.base_method import MethodMetric, measure_methods
from voxplain.metrics.efficient_mprt import EfficientMprt
from voxplain.metrics.max_sensitivity import MaxSensitivity
from voxplain.metrics.mprt import Mprt
from voxplain.spec import text
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_verdict import Finding, Outcome, Verdict, above, below, concluded, estimate
from voxplain.study.evaluate_maps import explain_with

CASES, QUICK_CASES = 8, 4
"""Cases whose maps are made again."""

SANE, INSANE = 0.5, 0.25
"""1 less the likeness to the clean map: 0 for a map that does not depend on what was learnt."""

SHAKY, UNSTABLE = 0.5, 1.0
"""Change of the map over its own size, for noise of 2 % of the image's range."""

Numbers = dict[str, dict[str, Measured]]
"""Method -> case -> number."""


def check_sanity(cohort: Cohort) -> Verdict:
    """The model parameter randomisation test, with the efficient one beside."""
    tests = (Mprt(stages=3 if cohort.quick else 6, seed=cohort.plan.seed), EfficientMprt(seed=cohort.plan.seed))
    own, beside = measured_again(cohort, "sanity", tests)
    words: dict[Outcome, str] = {
        "ok": "every method's maps change when the model's weights become random",
        "look": "{names}: maps keep much of their likeness when the model's weights become random",
        "fail": "{names}: maps stay nearly the same when the model's weights become random, as an edge filter's do",
    }
    return concluded(
        "sanity",
        "Sanity: maps of a model that forgot",
        words,
        [_sanity(name, own[name], beside[name], cohort.groups) for name in own],
        quantity="1 less the likeness of maps before and after weights became random (MPRT)",
        threshold=f"look below {SANE:g}, fail below {INSANE:g}",
    )


def check_stability(cohort: Cohort) -> Verdict:
    """The largest change of a map among noisy copies of the image."""
    noisy = MaxSensitivity(samples=3 if cohort.quick else 6, seed=cohort.plan.seed)
    (own,) = measured_again(cohort, "stability", [noisy])
    words: dict[Outcome, str] = {
        "ok": "every method's maps stay when noise of 2 % of the range is added",
        "look": "{names}: maps change by more than half of their size for noise of 2 % of the range",
        "fail": "{names}: maps change by more than all of their size for noise of 2 % of the range",
    }
    return concluded(
        "stability",
        "Stability under noise that nobody sees",
        words,
        [_stability(name, numbers, cohort.groups) for name, numbers in own.items()],
        quantity="largest change of the map over its size",
        threshold=f"look above {SHAKY:g}, fail above {UNSTABLE:g}, with the whole interval",
    )


def measured_again(cohort: Cohort, check: str, metrics: Sequence[MethodMetric]) -> list[Numbers]:
    """The numbers of every method on some cases, for each metric; methods explain other networks or inputs."""
    names = [text(method) for method in cohort.plan.methods]
    kept = cohort.kept(check)
    told = {
        case.identifier: kept(case.identifier, partial(_asked_again, cohort, case, metrics))
        for case in cohort.drawn(QUICK_CASES if cohort.quick else CASES)
    }
    return [
        {
            name: {case: Measured(**own[place][column]) for case, own in told.items() if own}
            for column, name in enumerate(names)
        }
        for place in range(len(metrics))
    ]


def _asked_again(cohort: Cohort, case: Case, metrics: Sequence[MethodMetric]) -> list[list[dict[str, Any]]]:
    """The numbers [metric][method] of one case as plain values; [] where it cannot be asked about."""
    try:
        ready = cohort.ready(case)
        asked = (cohort.explainer.score(ready, cohort.target(ready)), ready.x)
    except VoxplainError:  # told of where cases are seen
        return []
    found = measure_methods(metrics, [asked], [*map(explain_with, cohort.plan.methods)])
    return [[{"value": one.value, "reason": one.reason} for one in own] for (own,) in found]


def _sanity(
    name: str, own: Mapping[str, Measured], beside: Mapping[str, Measured], groups: Mapping[str, str]
) -> Finding:
    found = estimate(numbers_of(own), groups)
    if found is None:
        return Finding.not_applicable(name, reason_of(own))
    rise = estimate(numbers_of(beside), groups)
    more = "" if rise is None else f"; its entropy {'rises' if rise.value > 0 else 'falls'} by {abs(rise.value):.0%}"
    words = f"the map keeps {1 - found.value:.0%} of its likeness{more}"
    return Finding.of(name, below(found, SANE, INSANE), words, found, entropy=None if rise is None else rise.value)


def _stability(name: str, own: Mapping[str, Measured], groups: Mapping[str, str]) -> Finding:
    found = estimate(numbers_of(own), groups)
    if found is None:
        return Finding.not_applicable(name, reason_of(own))
    words = f"the map changes by {found.value:.0%} of its size"
    return Finding.of(name, above(found, SHAKY, UNSTABLE), words, found)


def numbers_of(found: Mapping[str, Measured]) -> dict[str, float]:
    """Case -> number, where there is one."""
    return {case: one.value for case, one in found.items() if one.value is not None}


def reason_of(found: Mapping[str, Measured]) -> str:
    """Why there is no number."""
    return next((one.reason for one in found.values() if one.reason), "no case could be asked about")
