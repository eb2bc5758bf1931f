"""Does the model need what lies outside the body, along the border, in the corners? Wipe it and ask again.

What is wiped loses small structures, such as letters, and keeps its brightness: the median around each voxel stays.
Wiping as much of the image anywhere moves scores as well; a place counts where it moves them more than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxplain.study.audit_cohort import Seen, by_class
from voxplain.study.audit_outside import FEWEST_OF_CLASS
from voxplain.study.audit_places import ALONG, CORNERS, OUTSIDE
from voxplain.study.audit_verdict import ORDER, Finding, Outcome, Verdict, above, concluded, lower_end
from voxplain.study.statistics import Estimate, by_patient, mean

LOOK, FAIL = 0.15, 0.4
"""Of the mean distance of scores from the decision (other models: of their spread)."""

CHECK, TITLE = "wiping", "Wiping small structures off corners, border and what is outside the body"


def check(seen: Sequence[Seen], groups: Mapping[str, str]) -> Verdict:
    """How far scores fall when a place loses its small structures, in the class where they fall most."""
    size = scale(seen)
    if not size:
        return Verdict.not_applicable(CHECK, TITLE, "the model gives the same score to every case")
    words: dict[Outcome, str] = {
        "ok": "small structures of these places hardly move the scores, or no more than as much anywhere in the image",
        "look": "the scores depend a little on small structures here: {names}",
        "fail": "the model needs what should not matter: wiping small structures off moves the scores ({names})",
    }
    return concluded(
        CHECK,
        TITLE,
        words,
        [_finding(seen, groups, place, size) for place in (CORNERS, ALONG, OUTSIDE)],
        quantity="fall of the score, as a share of the mean distance to the decision",
        threshold=f"look above {LOOK:g}, fail above {FAIL:g}, with the whole interval, in any class, where the fall is "
        "also surely larger than for the same shape anywhere in the image",
        numbers={"scale": size},
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
    found = {said: _fall(own, groups, place, size) for said, own in by_class(there, FEWEST_OF_CLASS).items()}
    said = max(found, key=lambda one: (ORDER.index(found[one].outcome), lower_end(found[one].here)))
    most = found[said]
    turned = sum(one.covered[place] < 0 < one.score for one in there) if any(one.said for one in there) else 0
    of_class = f" of cases called {said}" if said else ""
    words = (
        f"scores{of_class} fall by {most.here.value:.0%}, and by {most.anywhere:.0%} for the same shape anywhere; "
        f"{turned} of {len(there)} answers turn"
    )
    numbers: dict[str, Any] = {"turned": turned, "of": len(there), "said": said}
    numbers |= {"cases": {one.case: _moved(one, one.covered[place], size) for one in there}}
    numbers |= {"anywhere": most.anywhere, "more": most.more.to_table()}
    return Finding.of(place, most.outcome, words, most.here, **numbers)


@dataclass(frozen=True)
class Fall:
    """How far the scores of a class fall when a place is wiped."""

    here: Estimate
    more: Estimate
    """Than when the same shape is wiped anywhere."""

    @property
    def anywhere(self) -> float:
        """How far they fall when the same shape is wiped anywhere."""
        return self.here.value - self.more.value

    @property
    def outcome(self) -> Outcome:
        """Small falls say nothing, nor do those that any place of this size would bring."""
        return above(self.here, LOOK, FAIL) if lower_end(self.more) > 0 else "ok"


def _fall(seen: Sequence[Seen], groups: Mapping[str, str], place: str, size: float) -> Fall:
    here = {one.case: _moved(one, one.covered[place], size) for one in seen}
    anywhere = {one.case: np.mean([_moved(one, score, size) for score in one.elsewhere[place]]) for one in seen}
    more = {case: here[case] - float(anywhere[case]) for case in here}
    return Fall(mean(by_patient(here, groups)), mean(by_patient(more, groups)))


def _moved(one: Seen, score: float, size: float) -> float:
    """How far a case's score has fallen; without classes it may move either way."""
    fall = (one.score - score) / size
    return fall if one.said else abs(fall)
