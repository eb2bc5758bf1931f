"""What the NeuroXAI study measures: scores, where the maps lie, how well sums hold, and the flow through the layers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.errors import FileError
from voxplain.study.run_folder import RunFolder
from voxplain.study.study_neuroxai_flow import FLOWS
from voxplain.study.study_neuroxai_methods import EXPLAINED, missed
from voxplain.study.training_job import TrainedFolder

Table = dict[str, Any]


def read_explained(folder: Path) -> Table:
    """What a half explained; raises `FileError` where its list is missing or broken."""
    return read_json(folder / EXPLAINED)


def read_json(file: Path) -> Table:
    """A JSON object of the study's folder; raises `FileError` where there is none."""
    try:
        found: Table = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{file.name!r} of the study must be readable JSON; remove the folder to run again") from error
    return found


def grade_numbers(trained: TrainedFolder, folder: Path) -> Table:
    """Scores of the test part, and for each method the share of its maps inside the tumour against chance."""
    told = read_explained(folder)
    rows = RunFolder(folder / "run").rows()
    evidence, gaps = _of_methods(rows, told["methods"], folder / "run")
    return {
        "test": plain_scores(trained.scores.get("test", {})),
        "explained_slices": len(told["cases"]),
        "inside_tumour": evidence,
        "sums": _misses(gaps),
    }


def segmentation_numbers(trained: TrainedFolder, folder: Path) -> Table:
    """Dice of the test part, maps by method and part of the tumour, and the flow's layers."""
    told = read_explained(folder)
    inside: Table = {}
    gaps: dict[str, list[float]] = defaultdict(list)
    for part in told["cases"][0]["parts"]:
        rows: list[Table] = []
        for case in told["cases"]:
            target = next(one["target"] for one in case["parts"] if one["key"] == part["key"])
            own = [row for row in RunFolder(folder / case["folder"] / "run").rows() if row["target"] == target]
            _, found = _of_methods(own, told["methods"], folder / case["folder"] / "run")
            for name, some in found.items():
                gaps[name] += some
            rows += own
        inside[part["key"]], _ = _of_methods(rows, told["methods"], None)
    return {
        "test": plain_scores(trained.scores.get("test", {})),
        "explained_volumes": len(told["cases"]),
        "layers": len(told["layers"]),
        "relabelled_voxels": {case["id"]: case["relabelled_voxels"] for case in told["cases"]},
        "inside_tumour": inside,
        "sums": _misses(gaps),
        "flow": _flows(folder, told),
    }


def _misses(gaps: Mapping[str, Sequence[float]]) -> Table:
    """By short name the middle and the largest miss; where f(x) is nearly f(baseline), the largest says little."""
    return {name: {"median_miss": float(np.median(some)), "largest_miss": max(some)} for name, some in gaps.items()}


def _of_methods(
    rows: Sequence[Mapping[str, Any]], methods: Mapping[str, str], run: Path | None
) -> tuple[Table, dict[str, list[float]]]:
    """By short name: mean share of the maps inside the tumour and chance; with a run, what each map's sum misses."""
    shares, missing = {}, {}
    for name, spec in methods.items():
        own = [row for row in rows if row["method"] == spec]
        measured = [row for row in own if row["share_in_mask"] is not None]
        if measured:
            means = {key: float(np.mean([row[key] for row in measured])) for key in ("share_in_mask", "mask_share")}
            shares[name] = {"share": means["share_in_mask"], "chance": means["mask_share"]}
        gaps = [missed(Attribution.load(run / row["map"])) for row in own] if run and name in ("ig", "gig") else []
        known = [gap for gap in gaps if gap is not None]
        if known:
            missing[name] = known
    return shares, missing


def _flows(folder: Path, told: Table) -> Table:
    """For each method and part: maps, constant ones, and the layer whose map lies most inside the tumour on average."""
    found: Table = {name: {} for name in FLOWS}
    for part in told["cases"][0]["parts"]:
        files = [folder / case["folder"] / "flow" / f"{part['key']}.json" for case in told["cases"]]
        tables = [read_json(file) for file in files]
        for name in FLOWS:
            rows = [row for table in tables for row in table[name]]
            inside: dict[str, list[float]] = defaultdict(list)
            for row in rows:
                if row["inside"] is not None:
                    inside[row["name"]].append(row["inside"])
            means = {layer: float(np.mean(shares)) for layer, shares in inside.items()}
            best = max(means, key=means.__getitem__) if means else ""
            constant = sum(row["low"] == row["high"] for row in rows)
            found[name][part["key"]] = {
                "maps": len(rows), "constant": constant, "best_layer": best, "inside": means.get(best)
            }  # fmt: skip
    return found


def plain_scores(scores: Mapping[str, Any]) -> Table:
    """Plain scores of one part, Dice of each label among them, with their intervals."""
    labels = {f"dice of {name}": one.get("dice") for name, one in scores.get("per_class", {}).items()}
    numbers = {key: value for key, value in {**scores, **labels}.items() if isinstance(value, int | float)}
    intervals = {key: list(ends) for key, ends in scores.get("intervals", {}).items() if key in numbers}
    return {**numbers, "intervals": intervals}
