"""What the answers of readers add up to: ratings with intervals and tests, agreement, changed readings, sham maps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from voxplain.study.feedback import CAUSABILITY, ITEMS, LEVELS, Item
from voxplain.study.feedback_agreement import (
    coincidences,
    mean_of_readers,
    ordinal_alpha,
    over_patients,
    single_reader,
    variance_sums,
)
from voxplain.study.feedback_answers import Collected
from voxplain.study.feedback_estimates import Block, crossed
from voxplain.study.feedback_readings import kappas, readings
from voxplain.study.statistics import Estimate, by_patient, differences, ranked

Ratings = Mapping[str, Mapping[Block, float]]
"""Method -> reader and case -> rating."""

WATCHED = "location"
"""The item by which readers are held against the sham map."""


def summary(found: Collected) -> dict[str, Any]:
    """Everything about the answers, as plain values."""
    shown = {case.case: case for key in found.keys for case in key.cases}
    patients = {name: case.patient for name, case in shown.items()}
    maps = {name: tuple(case.maps.values()) for name, case in shown.items()}
    sham, ratings = found.keys[0].sham, {item.name: _ratings(found, item.name) for item in ITEMS}
    return {
        "schema": "voxplain-feedback/1",
        "forms": [key.form for key in found.keys],
        "question": asdict(found.keys[0].question),
        "readers": found.readers,
        "cases": len(shown),
        "patients": len(set(patients.values())),
        "sham": sham,
        "missing": found.missing,
        "interval": "95 % intervals by the bootstrap over readers and patients, whose cases are averaged first",
        "tests": "Friedman's and Wilcoxon's signed-rank tests over patients, readers averaged, with Holm's correction",
        "items": [_item(item, ratings[item.name], patients, maps, sham) for item in ITEMS],
        "agreement": [_agreement(item, ratings[item.name], patients, sham, found.readers) for item in ITEMS],
        "readings": [*readings(found)],
        "kappas": [*kappas(found)],
        "attention": [*_attention(ratings[WATCHED], found.readers, sham)],
        "causability": _causability(found),
        "comments": [
            {"reader": one.reader, "case": one.case, "words": one.words} for one in found.told if one.item == "comment"
        ],
    }


def _ratings(found: Collected, item: str) -> dict[str, dict[Block, float]]:
    ratings: dict[str, dict[Block, float]] = {}
    for one in found.told:
        if one.item == item and one.method and one.value is not None:
            ratings.setdefault(one.method, {})[one.reader, one.case] = one.value
    return ratings


def _item(
    item: Item, ratings: Ratings, patients: Mapping[str, str], maps: Mapping[str, Sequence[str]], sham: str
) -> dict[str, Any]:
    """Everything about one item: a row a method, the best first and the sham last, and the tests between them."""
    scores = _scores(ratings, patients, maps)
    real = {name: scores[name] for name in ratings if name != sham}
    ranking = ranked(real, item.better)
    against = differences(scores, [(name, sham) for name in real] if sham in scores else [])
    means = [
        {
            "method": name,
            "sham": name == sham,
            **crossed(own, patients).to_table(),
            "n": len(own),
            "counts": np.bincount(np.array([*own.values()], dtype=int), minlength=LEVELS + 1)[1:].tolist(),
            "mean_rank": None if ranking is None else ranking.mean_ranks.get(name),
        }
        for name, own in ratings.items()
    ]
    return {
        "item": item.name,
        "words": item.words,
        "better": item.better,
        "ends": item.ends,
        "means": sorted(means, key=lambda one: (one["sham"], one["value"] * (-1 if item.better == "higher" else 1))),
        "ranking": None if ranking is None else asdict(ranking),
        "pairs": [one.to_table() for one in differences(real, combinations(real, 2))],
        "against_sham": [one.to_table() for one in against],
    }


def _scores(
    ratings: Ratings, patients: Mapping[str, str], maps: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Method -> patient -> mean over readers; a reader counts for a case where all its maps were rated."""
    whole = {
        block
        for own in ratings.values()
        for block in own
        if all(block in ratings.get(method, {}) for method in maps[block[1]])
    }
    found: dict[str, dict[str, float]] = {}
    for name, own in ratings.items():
        by_case: dict[str, list[float]] = defaultdict(list)
        for block, value in own.items():
            if block in whole:
                by_case[block[1]].append(value)
        found[name] = by_patient({case: float(np.mean(told)) for case, told in by_case.items()}, patients)
    return found


def _agreement(
    item: Item, ratings: Ratings, patients: Mapping[str, str], sham: str, readers: Sequence[str]
) -> dict[str, Any]:
    """Agreement of readers on one item over all maps but the sham."""
    real = {method: own for method, own in ratings.items() if method != sham}
    units = sorted({(method, case) for method, own in real.items() for _, case in own})
    table = np.array([[real[method].get((reader, case), np.nan) for reader in readers] for method, case in units])
    if len(readers) < 2 or not units:
        return {"item": item.name, "units": 0, "whole": 0, "alpha": None, "icc_single": None, "icc_mean": None}
    groups = [patients[case] for _, case in units]
    whole = np.isfinite(table).all(axis=1)
    whole_groups = [group for group, one in zip(groups, whole, strict=True) if one]
    squares = variance_sums(table[whole])
    return {
        "item": item.name,
        "units": int((np.isfinite(table).sum(axis=1) > 1).sum()),
        "whole": int(whole.sum()),
        "alpha": _told(over_patients(coincidences(table), groups, ordinal_alpha)),
        "icc_single": _told(over_patients(squares, whole_groups, single_reader)),
        "icc_mean": _told(over_patients(squares, whole_groups, mean_of_readers)),
    }


def _told(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else found.to_table()


def _attention(ratings: Ratings, readers: Iterable[str], sham: str) -> Iterator[dict[str, Any]]:
    """For each reader how plausible the sham map's place seems beside that of the real ones."""
    for reader in readers if sham else ():
        own = {method: [value for (who, _), value in told.items() if who == reader] for method, told in ratings.items()}
        fake, real = own.pop(sham, []), [value for told in own.values() for value in told]
        if fake and real:
            means = {"sham": float(np.mean(fake)), "real": float(np.mean(real))}
            yield {"reader": reader, **means, "told_apart": means["sham"] < means["real"]}


def _causability(found: Collected) -> list[dict[str, Any]]:
    """The System Causability Scale of each reader who answered all ten items: their sum by 50."""
    told: dict[str, list[float]] = defaultdict(list)
    for one in found.told:
        if one.item.startswith("causability_") and one.value is not None:
            told[one.reader].append(one.value)
    most = LEVELS * len(CAUSABILITY)
    return [
        {"reader": reader, "score": sum(own) / most} for reader, own in told.items() if len(own) == len(CAUSABILITY)
    ]
