"""Readings before and after the maps: what changed, towards what, how sure, how long, and how far readers agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from voxplain.study.feedback_agreement import fleiss_kappa, kappa_sums, over_patients
from voxplain.study.feedback_answers import Collected
from voxplain.study.feedback_estimates import Block, crossed

WHEN = ("before", "after")

WORDS = {
    "changed": "readings changed after the maps",
    "agrees_before": "readings that agree with the model, before",
    "agrees_after": "readings that agree with the model, after",
    "right_before": "readings that agree with the label, before",
    "right_after": "readings that agree with the label, after",
    "corrected": "wrong readings that became right, of all",
    "misled": "right readings that became wrong, of all",
    "from_model_before": "distance from the model's number, before",
    "from_model_after": "distance from the model's number, after",
    "from_label_before": "distance from the label, before",
    "from_label_after": "distance from the label, after",
    "confidence_before": "confidence (0 to 100), before",
    "confidence_after": "confidence (0 to 100), after",
    "confidence_change": "change of confidence",
    "seconds_before": "seconds for the first reading",
    "seconds_map": "seconds a map",
    "seconds_after": "seconds for the second reading",
}
"""Measure -> what it is."""

SHARES = ("changed", "agrees_before", "agrees_after", "right_before", "right_after", "corrected", "misled")
"""Measures that are shares of readings."""

Values = Mapping[Block, float]


def readings(found: Collected) -> Iterator[dict[str, Any]]:
    """Means over readers and patients of everything the readings tell; what is unknown is left out."""
    patients = {case.case: case.patient for key in found.keys for case in key.cases}
    measures = {**_times(found), **_answers(found)}
    for name, words in WORDS.items():
        if measures.get(name):
            told = crossed(measures[name], patients).to_table()
            yield {"measure": name, "words": words, "share": name in SHARES, **told, "n": len(measures[name])}


def kappas(found: Collected) -> Iterator[dict[str, Any]]:
    """Fleiss' kappa of the first and the second readings, over the cases that every reader read."""
    answers, patients = found.keys[0].question.answers, {}
    for key in found.keys:
        patients.update({case.case: case.patient for case in key.cases})
    for when in WHEN if answers and len(found.readers) > 1 else ():
        given = _given(found, f"answer_{when}")
        whole = [case for case in patients if all((reader, case) in given for reader in found.readers)]
        if whole:
            table = np.array([[given[reader, case] for reader in found.readers] for case in whole])
            kappa = over_patients(kappa_sums(table, len(answers)), [patients[case] for case in whole], fleiss_kappa)
            yield {"when": when, "cases": len(whole), "kappa": None if kappa is None else kappa.to_table()}


def _given(found: Collected, item: str) -> dict[Block, float]:
    return {(one.reader, one.case): one.value for one in found.told if one.item == item and one.value is not None}


def _times(found: Collected) -> dict[str, Values]:
    """Confidence and seconds."""
    named = ("confidence_before", "confidence_after", "seconds_before", "seconds_after")
    given: dict[str, Values] = {name: _given(found, name) for name in named}
    first, second = given["confidence_before"], given["confidence_after"]
    maps: dict[Block, list[float]] = defaultdict(list)
    for one in found.told:
        if one.item == "seconds" and one.value is not None:
            maps[one.reader, one.case].append(one.value)
    change = {block: second[block] - first[block] for block in first if block in second}
    spent = {block: float(np.mean(own)) for block, own in maps.items()}
    return {**given, "confidence_change": change, "seconds_map": spent}


def _answers(found: Collected) -> dict[str, Values]:
    """What changed between the readings, and how they stand to the model's answer and to the label."""
    given = {when: _given(found, f"answer_{when}") for when in WHEN}
    cases = {case.case: case for key in found.keys for case in key.cases}
    both = [block for block in given["before"] if block in given["after"]]
    told: dict[str, Values] = {
        "changed": {block: float(given["before"][block] != given["after"][block]) for block in both}
    }
    choice = bool(found.keys[0].question.answers)
    for source, alike in (("model", "agrees"), ("truth", "right")):
        known = {name: getattr(case, source) for name, case in cases.items() if getattr(case, source) is not None}
        for when, own in given.items():
            name = f"{alike}_{when}" if choice else f"from_{'model' if source == 'model' else 'label'}_{when}"
            told[name] = {
                block: float(value == known[block[1]]) if choice else abs(value - known[block[1]])
                for block, value in own.items()
                if block[1] in known
            }
    if choice:
        first, second = told["right_before"], told["right_after"]
        turned = {block: second[block] - first[block] for block in both if block in first}
        told["corrected"] = {block: float(value > 0) for block, value in turned.items()}
        told["misled"] = {block: float(value < 0) for block, value in turned.items()}
    return told
