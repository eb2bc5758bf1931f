"""The seven methods of the NeuroXAI study under the source's short names, with its settings, its defects left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.writing import json_text, written_beside
from voxplain.methods import Method, method

TITLES = {
    "vanilla": "Vanilla",
    "gbp": "Backprop",
    "ig": "IG",
    "gig": "Guided IG",
    "smooth": "SmoothGrad",
    "gcam": "Grad-CAM",
    "ggcam": "Guided Grad-CAM",
}
"""Short name, as in the names of files -> name above a panel, in the order of the panels."""

INTEGRATED = "integrated_gradients(steps=25, tolerance=0.01)"
"""The source's 25 steps, doubled where the map's sum misses f(x) - f(baseline) by more than 1 %. Its own map was input
times gradient: it took the gradient at the image in every step."""

SHORT_GUIDED = "guided_ig(steps=5, fraction=0.5, max_distance=1.0)"
"""As the source runs it on volumes."""

SMOOTH = "smoothgrad(inner={inner!r}, samples=5, noise=0.15, kind='squared')"

GUIDED = {
    "grade": "guided_ig(steps=200, fraction=0.25, max_distance=0.02)",
    "small": "guided_ig(steps=30, fraction=0.25, max_distance=0.02)",
    "paper": SHORT_GUIDED,
}
"""Guided IG for slices, for small volumes, and for volumes of full size."""

EXPLAINED = "explained.json"
"""In a half's folder: which cases, slices, targets and methods there are."""


def grade_methods(layer: str) -> dict[str, Method]:
    """The methods for the classifier, by short name; SmoothGrad smooths IG."""
    return _methods(layer, GUIDED["grade"], "integrated_gradients(steps=25)")


def volume_methods(layer: str, size: str) -> dict[str, Method]:
    """The methods for the segmenter; SmoothGrad smooths guided IG."""
    return _methods(layer, GUIDED[size], SHORT_GUIDED)


def _methods(layer: str, guided: str, inner: str) -> dict[str, Method]:
    specs = {
        "vanilla": "gradient",
        "gbp": "guided_backprop",
        "ig": INTEGRATED,
        "gig": guided,
        "smooth": SMOOTH.format(inner=inner),
        "gcam": f"grad_cam(layer={layer!r})",
        "ggcam": f"guided_grad_cam(layer={layer!r})",
    }
    return {name: method(specs[name]) for name in TITLES}


def write_explained(folder: Path, told: Mapping[str, Any]) -> None:
    """What a half explained, for its figures."""
    with written_beside(folder / EXPLAINED) as beside:
        beside.write_text(json_text(dict(told), indent=1) + "\n", "utf-8")


def missed(one: Attribution) -> float | None:
    """By which share of f(x) - f(baseline) a map's sum misses it; None for methods without that law."""
    gap, start, score = (one.numbers.get(key) for key in ("completeness_gap", "score_at_baseline", "score"))
    if gap is None or start is None or score is None or score == start:
        return None
    return abs(float(gap)) / abs(float(score) - float(start))
