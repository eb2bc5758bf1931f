"""Maps of a run held against each other: methods, layers, right and wrong predictions, and those of another model."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.nifti import write_nifti
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import InputError
from voxplain.study.compare_groups import is_right, sides, told_apart
from voxplain.study.compare_maps import MEASURES, Named, agreement, alike, pair_rows
from voxplain.study.evaluate_asked import FACTS
from voxplain.study.evaluate_folder import HASHES, Place, opened, places, plan_table
from voxplain.study.evaluate_rows import MetricRows
from voxplain.study.evaluate_summary import Numbers, gathered
from voxplain.study.plan import file_name
from voxplain.study.ranking import holm
from voxplain.study.rows import Row
from voxplain.study.run import Say
from voxplain.study.run_folder import RunFolder
from voxplain.study.statistics import by_patient, differences, mean

COLUMNS = ("kind", "case", "group", "target", "first", "second", *MEASURES, "reason")
"""The columns of comparison.csv."""

FOLDER = "comparison"
"""Where agreement maps lie in the run folder, and what the files of a comparison begin with."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison found; written as a table (a row a case and pair) and as JSON (the rest)."""

    folder: Path
    name: str
    """Of its files without their suffixes, as `comparison_name` tells."""
    rows: tuple[Row, ...]
    summary: Mapping[str, Any]


def compare(run: Path | str, against: Path | str | None = None, *, say: Say = lambda line: None) -> Comparison:
    """Compare the maps of a run folder case by case, and with those of a run of another model over the same cases.

    What is found is kept beside other comparisons of the run, see `comparison_name`.
    Methods are held against methods and layers against layers, on the same case and target; where cases have labels,
    right predictions against wrong ones. Maps are compared on the image's grid by rank correlation, structural
    similarity and the overlap of their strongest twentieth; where the methods agree is written as maps, too. Raises
    `FileError` for folders that are no run folders, `InputError` where there is nothing to compare.
    """
    folder = opened(Path(run))
    other = None if against is None else opened(Path(against))
    maps = {name: own for name, own in places(folder).items() if own}
    facts = {name: folder.facts_of(name) for name in maps}
    rows, notes = _rows(folder, other, maps, facts, say)
    groups = _right_and_wrong(folder, facts)
    if not rows and not groups:
        raise InputError("there is nothing to compare: the run has one map a case, and no case with a label")
    patients = {name: str(one["group"]) for name, one in facts.items() if one.get("group")}
    summary = {
        "measures": MEASURES,
        "pairs": [*_pairs(rows, patients)],
        "predictions": groups,
        "right": {name: is_right(one) for name, one in facts.items()},
        "against": None if other is None else _against(folder, other),
        "notes": list(dict.fromkeys(notes)),
    }
    found = Comparison(folder.path, comparison_name(folder.path, against), tuple(rows), summary)
    _write(found)
    return found


def comparison_name(run: Path | str, against: Path | str | None) -> str:
    """What the files of a comparison are called: 'comparison', and behind it the other run's folder where there is one.

    Other models in folders of one name are told apart by eight digits of their weights' hash.
    """
    if against is None:
        return FOLDER
    name, weights = f"{FOLDER}-{file_name(Path(against).resolve().name)}", _weights(opened(Path(against)))
    try:
        there = json.loads((Path(run) / f"{name}.json").read_text("utf-8"))["against"]["weights"]
    except (OSError, ValueError, KeyError, TypeError):
        return name
    return name if there == weights else f"{name}-{weights[:8]}"


def _rows(
    folder: RunFolder,
    other: RunFolder | None,
    maps: Mapping[str, Sequence[Place]],
    facts: Mapping[str, Mapping[str, Any]],
    say: Say,
) -> tuple[list[Row], list[str]]:
    """The rows of all cases, and what was left out, in sentences; the maps of one case are held at a time."""
    rows: list[Row] = []
    notes: list[str] = []
    theirs = {} if other is None else places(other)
    for number, (name, own) in enumerate(maps.items(), 1):
        say(f"comparing case {number} of {len(maps)}: {name}")
        row = {"case": name, "group": facts[name].get("group")}
        rows += _of_case(folder, row, own)
        if other is not None:
            rows += _of_models(folder, other, row, own, theirs.get(name, []), notes)
    return rows, notes


def _of_case(folder: RunFolder, row: Row, maps: Sequence[Place]) -> Iterator[Row]:
    """The pairs of methods and of layers of one case, and its agreement maps."""
    for target in dict.fromkeys(one.target for one in maps):
        named = [(one, _loaded(one)) for one in maps if one.target == target]
        begun = {**row, "target": target}
        first = {one.method: found for one, found in reversed(named)}
        methods = [Named(one, first[one]) for one in dict.fromkeys(one.method for one, _ in named)]
        yield from pair_rows(begun, "methods", methods)
        for method in first:
            layers = [Named(f"{method}, {one.layer}", found) for one, found in named if one.method == method]
            yield from pair_rows(begun, "layers", layers)
        if len(methods) > 1:
            _write_agreement(folder, str(row["case"]), target, methods)


def _loaded(place: Place) -> Attribution:
    return Attribution.load(place.path)


def _write_agreement(folder: RunFolder, case: str, target: str, maps: Sequence[Named]) -> None:
    """The share of methods that point at each voxel, as a NIfTI file on the image's grid."""
    try:
        values, _ = agreement([one.attribution for one in maps])
    except InputError:
        return
    write_nifti(agreement_file(folder.path, case, target), values, maps[0].attribution.grid)


def agreement_file(folder: Path, case: str, target: str) -> Path:
    """Where the agreement map of a case and target lies."""
    return folder / FOLDER / file_name(case) / f"{file_name(target)}-agreement.nii.gz"


def _of_models(
    folder: RunFolder, other: RunFolder, row: Row, ours: Sequence[Place], theirs: Sequence[Place], notes: list[str]
) -> Iterator[Row]:
    """The same method of both models on the same case, where both explain the same class."""
    case = str(row["case"])
    if not theirs:
        notes.append(f"case {case!r} has no maps in the other run")
        return
    facts = folder.facts_of(case), other.facts_of(case)
    if any(facts[0].get(name) != facts[1].get(name) for name in HASHES[:1]):
        notes.append(f"case {case!r} has other voxels in the other run")
        return
    named = {(one.target, one.method, one.layer): one for one in theirs}
    for one in ours:
        there = named.get((one.target, one.method, one.layer)) or _any_layer(theirs, one)
        if there is None:
            notes.append(f"{one.method} of {one.target} has no map in the other run")
            continue
        first, second = _loaded(one), _loaded(there)
        begun = {**row, "kind": "models", "target": one.target, "first": _named(one), "second": _named(there)}
        if first.numbers.get("class") != second.numbers.get("class"):
            reason = "the models predict different classes, so that the maps answer different questions"
            yield {**begun, **dict.fromkeys(MEASURES), "reason": reason}
        else:
            yield {**begun, **alike(first, second)}


def _any_layer(theirs: Sequence[Place], one: Place) -> Place | None:
    """The only map of the same method where the other network names its layers otherwise."""
    same = [there for there in theirs if (there.target, there.method) == (one.target, one.method)]
    return same[0] if len(same) == 1 else None


def _named(place: Place) -> str:
    return f"{place.method}, {place.layer}" if place.layer else place.method


def _pairs(rows: Sequence[Row], patients: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The mean over patients of each measure for each pair, with its interval."""
    names = ("kind", "target", "first", "second")
    for key in dict.fromkeys(tuple(str(row[name]) for name in names) for row in rows):
        own = [row for row in rows if tuple(str(row[name]) for name in names) == key]
        found = {}
        for measure in MEASURES:
            values = {str(row["case"]): float(row[measure]) for row in own if row[measure] is not None}
            found[measure] = mean(by_patient(values, patients)).to_table() if values else None
        reasons = [str(row["reason"]) for row in own if row["reason"]]
        counted = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}
        yield {**dict(zip(names, key, strict=True)), "n": len(own) - len(reasons), "reasons": counted, **found}


def _right_and_wrong(folder: RunFolder, facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What tells right predictions from wrong ones: every metric, or the share in the mask where none was measured."""
    known = {name: is_right(one) for name, one in facts.items()}
    right = {name: one for name, one in known.items() if one is not None}
    if len(set(right.values())) < 2:
        return []
    patients = {name: str(one["group"]) for name, one in facts.items() if one.get("group")}
    found = []
    for (target, measure), methods in _numbers(folder).items():
        for method, values in methods.items():
            found.append(sides(measure, method, target, values, right, patients))
    return told_apart(one for one in found if one.right or one.wrong)


def _numbers(folder: RunFolder) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """Target and measure -> method -> {case: number}, of all metrics but what maps take, controls left out."""
    store = MetricRows(folder.path)
    groups = gathered(store.rows()).groups
    found = {
        group: {name: one.values for name, one in methods.items() if not one.control}
        for group, methods in groups.items()
        if group[1] not in FACTS
    }
    return found or _shares(folder)


def _shares(folder: RunFolder) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in folder.rows():
        if row.get("share_in_mask") is not None:
            name = ", ".join(str(row[key]) for key in ("method", "layer") if row.get(key))
            own = found.setdefault((str(row["target"]), "share_in_mask"), {}).setdefault(name, {})
            own[str(row["case"])] = float(row["share_in_mask"])
    return found


def _against(folder: RunFolder, other: RunFolder) -> dict[str, Any]:
    """Both models by name, and how far their numbers lie apart."""
    names = {"first": _model(folder), "second": _model(other), "weights": _weights(other)}
    return {**names, "metrics": _metric_differences(folder, other)}


def _weights(folder: RunFolder) -> str:
    """The hash of a run's model."""
    return str(dict(plan_table(folder).get("model", {})).get("weights_sha256", ""))


def _model(folder: RunFolder) -> str:
    """The model of a run, and in brackets the run."""
    name = str(dict(plan_table(folder).get("model", {})).get("name", "model"))
    return f"{name} ({folder.path.resolve().name})"


def _metric_differences(folder: RunFolder, other: RunFolder) -> list[dict[str, Any]]:
    """Each number of the first model less that of the second, over the patients that both have; Holm over all."""
    groups = gathered(MetricRows(folder.path).rows()), gathered(MetricRows(other.path).rows())
    patients = groups[0].patients
    found = []
    for group, methods in groups[0].groups.items():
        for name, one in methods.items():
            there = _same_method(groups[1].groups.get(group, {}), name)
            if there is None or one.control or group[1] in FACTS:
                continue
            scores = {"first": by_patient(one.values, patients), "second": by_patient(there, patients)}
            found += [(group, name, apart) for apart in differences(scores, [("first", "second")])]
    corrected = holm([apart.p_value for *_, apart in found])
    return [
        {"target": group[0], "metric": group[1], "method": name, **replace(apart, p_holm=p_value).to_table()}
        for (group, name, apart), p_value in zip(found, corrected, strict=True)
    ]


def _same_method(methods: Mapping[str, Numbers], name: str) -> Mapping[str, float] | None:
    """The numbers of the same method, by its own name or, where only one layer was read, whatever that is called."""
    same = [one.values for other, one in methods.items() if _bare(other) == _bare(name)]
    return methods[name].values if name in methods else same[0] if len(same) == 1 else None


def _bare(name: str) -> str:
    """A method's name without the layer behind it."""
    head, _, layer = name.rpartition(", ")
    return head if head and ")" not in layer else name


def _write(found: Comparison) -> None:
    with written_beside(found.folder / f"{found.name}.json") as beside:
        beside.write_text(json_text(found.summary, indent=1) + "\n", encoding="utf-8")
    with written_beside(found.folder / f"{found.name}.csv") as beside, beside.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(found.rows)
