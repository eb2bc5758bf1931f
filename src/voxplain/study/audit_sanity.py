"""Do maps change when the model forgets what it learnt, and stay when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from voxplain.data.case import Case
from voxplain.errors import VoxplainError
from voxplain.metrics.base import Measured
from voxplain.metrics.base_method import MethodMetric, measure_methods
from voxplain.metrics.efficient_mprt import EfficientMprt
from voxplain.metrics.max_sensitivity import MaxSensitivity
from voxplain.metrics.mprt import Mprt
from voxplain.score.score import Score
from voxplain.spec import text
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_verdict import Finding, Verdict, above, below, concluded, estimate
from voxplain.study.evaluate_maps import explain_with

CASES, QUICK_CASES = 8, 4
"""Cases whose maps are made again; a portion is held in memory at a time."""

SANE, INSANE = 0.5, 0.25
"""1 less the likeness to the clean map: 0 for a map that does not depend on what was learnt."""

SHAKY, UNSTABLE = 0.5, 1.0
"""Change of the map over its own size, for noise of 2 % of the image's range."""

Numbers = dict[str, dict[str, Measured]]
"""Method -> case -> number."""


def check_sanity(cohort: Cohort) -> Verdict:
    """The model parameter randomisation test, with the efficient one beside."""
    tests = (Mprt(stages=3 if cohort.quick else 6, seed=cohort.plan.seed), EfficientMprt(seed=cohort.plan.seed))
    own, beside = measured_again(cohort, tests)
    findings = tuple(_sanity(name, own[name], beside[name], cohort.groups) for name in own)
    verdict = Verdict(
        check="sanity",
        title="Sanity: maps of a model that forgot",
        outcome="ok",
        sentence="",
        quantity="1 less the likeness of maps before and after weights became random (MPRT)",
        threshold=f"look below {SANE:g}, fail below {INSANE:g}",
        findings=findings,
    )
    return concluded(
        verdict,
        {
            "ok": "every method's maps change when the model's weights become random",
            "look": "{names}: maps keep much of their likeness when the model's weights become random",
            "fail": "{names}: maps stay nearly the same when the model's weights become random, as an edge filter's do",
        },
    )


def check_stability(cohort: Cohort) -> Verdict:
    """The largest change of a map among noisy copies of the image."""
    (own,) = measured_again(cohort, (MaxSensitivity(samples=3 if cohort.quick else 6, seed=cohort.plan.seed),))
    findings = tuple(_stability(name, numbers, cohort.groups) for name, numbers in own.items())
    verdict = Verdict(
        check="stability",
        title="Stability under noise that nobody sees",
        outcome="ok",
        sentence="",
        quantity="largest change of the map over its size",
        threshold=f"look above {SHAKY:g}, fail above {UNSTABLE:g}, with the whole interval",
        findings=findings,
    )
    return concluded(
        verdict,
        {
            "ok": "every method's maps stay when noise of 2 % of the range is added",
            "look": "{names}: maps change by more than half of their size for noise of 2 % of the range",
            "fail": "{names}: maps change by more than all of their size for noise of 2 % of the range",
        },
    )


def measured_again(cohort: Cohort, metrics: Sequence[MethodMetric]) -> list[Numbers]:
    """The numbers of every method on some cases, for each metric; methods explain other networks or inputs."""
    count = QUICK_CASES if cohort.quick else CASES
    names = [text(method) for method in cohort.plan.methods]
    explains = [explain_with(method) for method in cohort.plan.methods]
    kept, asked = _asked(cohort, cohort.drawn(count))
    found = measure_methods(metrics, asked, explains)
    return [
        {
            name: {case.identifier: found[place][row][column] for row, case in enumerate(kept)}
            for column, name in enumerate(names)
        }
        for place in range(len(metrics))
    ]


def _asked(cohort: Cohort, cases: Sequence[Case]) -> tuple[list[Case], list[tuple[Score, Tensor]]]:
    kept, asked = [], []
    for case in cases:
        try:
            ready = cohort.ready(case)
            asked.append((cohort.explainer.score(ready, cohort.target(ready)), ready.x))
            kept.append(case)
        except VoxplainError:  # told of where cases are seen
            continue
    return kept, asked


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
