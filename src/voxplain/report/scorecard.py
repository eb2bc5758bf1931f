"""The Clinical XAI Guidelines' five points, each with what this run knows of it and never with a grade.

W. Jin, X. Li, M. Fatehi, G. Hamarneh: Guidelines and evaluation of clinical explainable AI in medical image analysis,
Medical Image Analysis 84 (2023) 102684.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxplain.report.display import number
from voxplain.report.measured import Measure

CITATION = (
    "Jin, Li, Fatehi and Hamarneh, Guidelines and evaluation of clinical explainable AI in medical image analysis, "
    "Medical Image Analysis 84, 102684 (2023)"
)

UNMEASURED = "not measured: run voxplain evaluate"


@dataclass(frozen=True)
class Tally:
    """What the cards of a run add up to."""

    cases: int
    maps: int
    targets: Sequence[str]
    """What was explained, in words."""
    with_mask: int
    """Cases with a mask."""
    with_anatomy: int
    """Maps whose place has a name of an atlas."""
    physical: int
    """Cases in millimetres."""
    failed: int
    """Maps of which a check failed."""
    unchecked: int
    """Maps without any check."""
    checks: Sequence[str]
    """Names of the checks that were made."""
    above_chance: int
    """Maps with more of their evidence inside the mask than by chance."""
    masked: int
    """Maps with a share inside the mask and a chance to hold it against."""
    costs: Sequence[tuple[str, float]]
    """Method and seconds of each map."""


@dataclass(frozen=True)
class Point:
    """One point of the guidelines."""

    name: str
    question: str
    status: str
    """'for people to judge', 'partly known', 'measured' or 'not measured: ...'."""
    known: Sequence[str]
    """What this run knows of it, in sentences."""


def scorecard(tally: Tally, measures: Sequence[Measure]) -> list[Point]:
    """The five points in their order."""
    by_need = _by_need(measures)
    return [_understandable(tally), _relevant(tally), _truthful(tally, by_need["truth"]),
            _plausible(tally, by_need["place"]), _efficient(tally)]  # fmt: skip


def _understandable(tally: Tally) -> Point:
    known = [
        "Maps lie on the scan's own voxels, with units, raw range, limits and a legend; each case begins in words.",
        f"{tally.physical} of {tally.cases} cases are in millimetres with the patient's sides at the pictures' edges.",
        "Only readers can say whether they understand it: ask them with this report in hand.",
    ]
    return Point("G1 Understandability", "Can a clinician understand it without training in machine learning?",
                 "for people to judge", known)  # fmt: skip


def _relevant(tally: Tally) -> Point:
    known = [f"Explained: {'; '.join(tally.targets[:4])}{' and more' if len(tally.targets) > 4 else ''}."]
    if tally.with_anatomy:
        known.append(f"{tally.with_anatomy} of {tally.maps} maps name the anatomy at their strongest place.")
    known.append("Only clinicians can say whether this answers their question and fits how they decide.")
    return Point("G2 Clinical relevance", "Does it say what matters for the clinical decision?",
                 "for people to judge", known)  # fmt: skip


def _truthful(tally: Tally, measures: Sequence[Measure]) -> Point:
    known = []
    if tally.checks:
        made = tally.maps - tally.unchecked
        known.append(f"{made - tally.failed} of {made} maps passed every check ({', '.join(tally.checks)}).")
        known.append(
            "Checks prove that the method did what it promises, not that the map holds for the model at large."
        )
    known += _told(measures)
    status = "measured" if _any_value(measures) else f"partly known; faithfulness {UNMEASURED}" if known else UNMEASURED
    return Point("G3 Truthfulness", "Does it show what the model really used?", status, known)


def _plausible(tally: Tally, measures: Sequence[Measure]) -> Point:
    known = []
    if tally.masked:
        known.append(
            f"{tally.above_chance} of {tally.masked} maps have more of their evidence inside the mask than by chance "
            f"({tally.with_mask} of {tally.cases} cases have a mask)."
        )
    known += _told(measures)
    if known:
        known.append("A map may look right for a wrong answer: plausibility counts only where the map is truthful.")
    status = "measured" if _any_value(measures) else f"partly known; more {UNMEASURED}" if known else UNMEASURED
    known = known or ["No case has a reference mask that a map could be held against."]
    return Point(
        "G4 Informative plausibility", "Does its plausibility tell right answers from wrong ones?", status, known
    )


def _efficient(tally: Tally) -> Point:
    question = "Is it fast enough for the clinic?"
    if not tally.costs:
        return Point("G5 Computational efficiency", question, UNMEASURED, ["No map says what it took."])
    known = []
    for method in dict.fromkeys(name for name, _ in tally.costs):
        seconds = [took for name, took in tally.costs if name == method]
        of = f", median of {len(seconds)} maps" if len(seconds) > 1 else ""
        known.append(f"{method}: {number(float(np.median(seconds)))} s a map{of}.")
    known.append("Seconds on the machine of the run (see provenance); maps asked together share their passes.")
    return Point("G5 Computational efficiency", question, "measured", known)


def _any_value(measures: Sequence[Measure]) -> bool:
    return any(one.value is not None for one in measures)


def _told(measures: Sequence[Measure]) -> list[str]:
    """Which metrics there are; their numbers stand in the table of metrics."""
    names = list(dict.fromkeys(one.metric for one in measures if one.value is not None))
    refused = list(dict.fromkeys(one.metric for one in measures if one.value is None))
    sentences = [f"Measured by {', '.join(names)}: see the table of metrics."] if names else []
    only_refused = [name for name in refused if name not in names]
    return sentences + ([f"Not applicable here: {', '.join(only_refused)}."] if only_refused else [])


def _by_need(measures: Sequence[Measure]) -> dict[str, list[Measure]]:
    """Metrics that ask the model or the method are about truth, those that need a mask about plausibility."""
    sorted_out: dict[str, list[Measure]] = {"truth": [], "place": [], "": []}
    if measures:
        from voxplain.metrics import table
        from voxplain.metrics.base import Need

        meant = {Need.MODEL: "truth", Need.METHOD: "truth", Need.MASK: "place"}
        known = table()
        for one in measures:
            name = re.split(r"\W", one.metric, maxsplit=1)[0]
            sorted_out[meant.get(known[name].need, "") if name in known else ""].append(one)
    return sorted_out
