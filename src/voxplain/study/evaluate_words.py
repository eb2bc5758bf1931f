"""The summary of an evaluation in lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voxplain.study.evaluate_asked import FACTS

ALPHA = 0.05
"""Level of the tests, as in the ranking."""

MOST_DISAGREEMENTS = 5
"""Pairs of metrics that are named; summary.json has all."""

Table = Mapping[str, Any]


def summary_words(found: Table) -> list[str]:
    """Each metric with its methods from the best to the worst, the controls, what the tests say, and disagreements."""
    lines = [f"{found['interval']}; * stands at a control."]
    for group in found["groups"]:
        lines += ["", *_group(group, found["metrics"].get(group["metric"], {}))]
    return [*lines, *_disagreements(found["disagreement"]), *_missing(found)]


def _group(group: Table, facts: Table) -> Iterator[str]:
    better = f", {facts['better']} is better" if facts else ""
    yield f"{group['metric']} ({group['target']}{better})"
    width = max(len(_name(one)) for one in group["means"])
    for one in _ordered(group["means"], facts.get("better", "")):
        yield f"  {_name(one):{width}}  {value_words(one)}"
    said = test_words(group)
    if said:
        yield f"  {said}"


def _ordered(means: list[Table], better: str) -> list[Table]:
    """Those with a number first, from the best to the worst."""
    sign = -1 if better == "higher" else 1
    return sorted(means, key=lambda one: (one["value"] is None, sign * (one["value"] or 0)))


def _name(one: Table) -> str:
    return f"{one['method']} *" if one["control"] else str(one["method"])


def value_words(one: Table) -> str:
    """'0.31 (0.27 to 0.35), n = 12 of 4 patients', or why there is no number."""
    if one["value"] is None:
        return f"no number: {max(one['reasons'], key=one['reasons'].get, default='nothing was measured')}"
    ends = f"({one['low']:.3g} to {one['high']:.3g})" if one["low"] is not None else "(no interval: one patient)"
    people = f" of {one['patients']} patients" if one["patients"] != one["n"] else ""
    rank = f", mean rank {one['mean_rank']:.2f}" if one["mean_rank"] is not None else ""
    lacking = one["not_applicable"] + one["failed"]
    return f"{one['value']:.3g} {ends}, n = {one['n']}{people}{rank}{f', {lacking} without' if lacking else ''}"


def test_words(group: Table) -> str:
    """What the tests between methods say, '' where there were none."""
    ranking = group["ranking"]
    if group["metric"] in FACTS or ranking is None:
        return ""
    whole = "Friedman" if len(ranking["mean_ranks"]) > 2 else "Wilcoxon"
    p_value = f"{whole} p {p_words(ranking['p_value'])} over {ranking['cases']} patients"
    apart = [one for one in group["pairs"] if one["p_holm"] < ALPHA]
    if ranking["p_value"] >= ALPHA:
        return f"{p_value}: no difference between methods was found"
    if too_few(group["pairs"]):
        return f"{p_value}, but {ranking['cases']} patients are too few for any pair to differ after Holm's correction"
    return f"{p_value}; {len(apart)} of {len(group['pairs'])} pairs of methods differ (Wilcoxon, Holm)"


def beside_words(group: Table) -> Iterator[str]:
    """For each control, which methods differ from it after correction."""
    pairs = group["against_controls"]
    if pairs and too_few(pairs):
        yield f"{pairs[0]['patients']} patients are too few for any method to differ from a control in these tests."
        return
    for control in dict.fromkeys(one["second"] for one in pairs):
        own = [one for one in pairs if one["second"] == control]
        differ = [f"{one['first']} (p {p_words(one['p_holm'])})" for one in own if one["p_holm"] < ALPHA]
        rest = [one["first"] for one in own if one["p_holm"] >= ALPHA]
        some = f"{', '.join(differ)} differ{'s' * (len(differ) == 1)}" if differ else "no method was found to differ"
        other = f"; no difference was found for {', '.join(rest)}" if differ and rest else ""
        yield f"From {control}: {some}{other}."


def too_few(pairs: Sequence[Table]) -> bool:
    """Whether the smallest p-value that so many patients can give stays above the level after Holm's first step."""
    smallest = min((2.0 ** (1 - one["patients"]) for one in pairs), default=0.0)
    return smallest * len(pairs) >= ALPHA


def p_words(value: float) -> str:
    """'= 0.012' or '< 0.001'."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _disagreements(found: list[Table]) -> Iterator[str]:
    against = opposed(found)
    if not against:
        return
    yield ""
    yield f"metrics that order the methods against each other: {len(against)} of {len(found)} pairs"
    for one in against[:MOST_DISAGREEMENTS]:
        yield f"  {disagreement_words(one)}"


def opposed(found: Sequence[Table]) -> list[Table]:
    """The pairs of metrics that order the methods rather the other way round."""
    return [one for one in found if one["tau"] is not None and one["tau"] < 0]


def disagreement_words(one: Table) -> str:
    """'deletion and auprc: tau -0.40 (-0.60 to 0.20); best by the first is gradient, by the second grad_cam'."""
    ends = f" ({one['low']:.2f} to {one['high']:.2f})" if one["low"] is not None else ""
    best = f"the best is {one['best_by_first']} by the first and {one['best_by_second']} by the second"
    return f"{one['first']} and {one['second']}: Kendall's tau {one['tau']:.2f}{ends}; {best}"


def _missing(found: Table) -> Iterator[str]:
    """Why numbers are missing, each reason once."""
    reasons: Counter[str] = Counter()
    for group in found["groups"]:
        for one in group["means"]:
            reasons.update(one["reasons"])
    if reasons:
        yield ""
    for reason, count in reasons.most_common():
        yield f"{count} number{'s' * (count > 1)} missing: {reason}"
