"""Does the model need what lies outside the body, along the border, in the corners? Wipe it and ask again.

What is wiped loses small structures, such as letters, and keeps its brightness: the median around each voxel stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from voxplain.study.audit_cohort import Seen, by_class
from voxplain.study.audit_outside import FEWEST_OF_CLASS, leading
from voxplain.study.audit_places import ALONG, CORNERS, OUTSIDE
from voxplain.study.audit_verdict import Finding, Verdict, above, concluded, estimate

LOOK, FAIL = 0.15, 0.4
"""Of the mean distance of scores from the decision (other models: of their spread)."""

CHECK, TITLE = "wiping", "Wiping small structures off corners, border and what is outside the body"


def check(seen: Sequence[Seen], groups: Mapping[str, str]) -> Verdict:
    """How far scores fall when a place loses its small structures, in the class where they fall most."""
    size = scale(seen)
    if not size:
        return Verdict.not_applicable(CHECK, TITLE, "the model gives the same score to every case")
    verdict = Verdict(
        check=CHECK,
        title=TITLE,
        outcome="ok",
        sentence="",
        quantity="fall of the score, as a share of the mean distance to the decision",
        threshold=f"look above {LOOK:g}, fail above {FAIL:g}, with the whole interval, in any class",
        findings=tuple(_finding(seen, groups, place, size) for place in (CORNERS, ALONG, OUTSIDE)),
        numbers={"scale": size},
    )
    return concluded(
        verdict,
        {
            "ok": "the scores hardly change when letters and other small structures of these places are wiped off",
            "look": "the scores depend a little on small structures here: {names}",
            "fail": "the model needs what should not matter: wiping small structures off moves the scores ({names})",
        },
    )


def scale(seen: Sequence[Seen]) -> float:
    """The mean distance of scores from the decision of a classifier; else the standard deviation of scores."""
    scores = np.array([one.score for one in seen], dtype=np.float64)
    if not len(scores):
        return 0.0
    return float(np.abs(scores).mean() if any(one.said for one in seen) else scores.std())


def _finding(seen: Sequence[Seen], groups: Mapping[str, str], place: str, size: float) -> Finding:
    there = [one for one in seen if place in one.covered]
    if not there:
        return Finding.not_applicable(place, "no case has a body that leaves room around it")
    falls = {one.case: (one.score - one.covered[place]) / size for one in there}
    # A model without classes may move either way.
    falls = falls if any(one.said for one in there) else {name: abs(fall) for name, fall in falls.items()}
    found = {
        name: estimate({one.case: falls[one.case] for one in own}, groups)
        for name, own in by_class(there, FEWEST_OF_CLASS).items()
    }
    name, most = leading({said: one for said, one in found.items() if one is not None})
    turned = sum(one.covered[place] < 0 < one.score for one in there) if any(one.said for one in there) else 0
    of_class = f" of cases called {name}" if name else ""
    words = f"scores{of_class} fall by {most.value:.0%}; {turned} of {len(there)} answers turn"
    numbers = {"cases": falls, "said": name, "turned": turned, "of": len(there)}
    return Finding.of(place, above(most, LOOK, FAIL), words, most, **numbers)
