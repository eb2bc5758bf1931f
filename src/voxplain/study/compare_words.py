"""A comparison in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from voxplain.study.evaluate_words import ALPHA, p_words

Table = Mapping[str, Any]

KINDS = {"methods": "methods against methods", "layers": "layers against layers", "models": "the two models"}
"""What is held against what, in words."""

SHORT = {"spearman": "Spearman", "ssim": "SSIM", "top_overlap": "top overlap"}
"""The measures as tables name them."""


def comparison_words(found: Table) -> list[str]:
    """Pairs from the most to the least alike, what tells right from wrong, and how the models differ."""
    lines = [f"{SHORT[name]}: {words}" for name, words in found["measures"].items()]
    for kind, words in KINDS.items():
        own = [one for one in found["pairs"] if one["kind"] == kind]
        for target in dict.fromkeys(one["target"] for one in own):
            lines += ["", f"{words} ({target})"]
            chosen = [one for one in own if one["target"] == target]
            lines += [f"  {pair_words(one)}" for one in sorted(chosen, key=_rank)]
    return [*lines, *_predictions(found["predictions"]), *_models(found["against"]), *found["notes"]]


def _rank(one: Table) -> float:
    return -one["spearman"]["value"] if one["spearman"] is not None else 2.0


def pair_words(one: Table) -> str:
    """'gradient and grad_cam: Spearman 0.31 (0.2 to 0.4), ...'."""
    names = one["first"] if one["first"] == one["second"] else f"{one['first']} and {one['second']}"
    told = [f"{short} {estimate_words(one[name])}" for name, short in SHORT.items() if one[name] is not None]
    lacking = [f"{count} without: {reason}" for reason, count in one["reasons"].items()]
    return f"{names}: {', '.join(told)}{'; ' * bool(told and lacking)}{'; '.join(lacking)}"


def estimate_words(one: Table) -> str:
    """'0.31 (0.2 to 0.4)', or that there is no interval."""
    ends = f"({one['low']:.2f} to {one['high']:.2f})" if one["low"] is not None else "(no interval: one patient)"
    return f"{one['value']:.2f} {ends}"


def _predictions(found: list[Table]) -> Iterator[str]:
    if found:
        yield ""
        yield "right against wrong predictions (area under the curve: 0.5 tells nothing)"
    for one in found:
        yield f"  {prediction_words(one)}"


def prediction_words(one: Table) -> str:
    """How a number differs between right and wrong predictions."""
    sides = [f"{side} {estimate_words(one[side])}" for side in ("right", "wrong") if one[side] is not None]
    area = "" if one["auroc"] is None else f"; area {one['auroc']:.2f}"
    p_value = "" if one["p_holm"] is None else f", p {p_words(one['p_holm'])}"
    return f"{one['measure']} of {one['method']}: {', '.join(sides)}{area}{p_value}"


def _models(found: Table | None) -> Iterator[str]:
    if found is None or not found["metrics"]:
        return
    yield ""
    yield f"{found['first']} less {found['second']}"
    for one in found["metrics"]:
        apart = {"value": one["difference"], "low": one["low"], "high": one["high"]}
        star = "" if one["p_holm"] >= ALPHA else " (differs)"
        yield f"  {one['metric']} of {one['method']}: {estimate_words(apart)}, p {p_words(one['p_holm'])}{star}"
