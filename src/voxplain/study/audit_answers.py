"""How often a model is right, where cases have labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from voxplain.study.audit_cohort import Seen
from voxplain.study.audit_verdict import estimate


def answers(seen: Sequence[Seen], groups: Mapping[str, str]) -> dict[str, Any]:
    """Accuracy over all labelled cases and within each label, each with its interval over patients; {} without labels.

    Where all answers are right, or all wrong, the interval is the exact one of Clopper and Pearson.

    Labels count that the model has a class of; case and spaces around do not matter.
    """
    known = [one for one in seen if one.label and one.said]
    if not known:
        return {}
    labels = sorted({str(one.label) for one in known})
    parts = {"all": known, **{label: [one for one in known if one.label == label] for label in labels}}
    return {name: _accuracy(own, groups) for name, own in parts.items()}


def _accuracy(seen: Sequence[Seen], groups: Mapping[str, str]) -> dict[str, Any]:
    right = {one.case: float(_plain(one.label) == _plain(one.said)) for one in seen}
    found = estimate(right, groups)
    told = {"cases": len(seen), "right": int(sum(right.values())), **({} if found is None else found.to_table())}
    if found is not None and found.value in (0.0, 1.0):  # redrawn patients are all alike: the exact interval instead
        exact = binomtest(round(found.value * found.patients), found.patients).proportion_ci()
        told |= {"low": float(exact.low), "high": float(exact.high)}
    return told


def _plain(name: str | None) -> str:
    return (name or "").strip().lower()
