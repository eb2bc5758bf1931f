"""What the myopathy study measures: scores, the counters of occlusion, and how much of each map is where fat is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.phantoms.muscle import INFILTRATED
from voxplain.study.plan import file_name
from voxplain.study.run_folder import RunFolder
from voxplain.study.study_myopathy_ensemble import RULES, joined_maps
from voxplain.study.study_myopathy_maps import OCCLUSION, informative, maps_of, method_name
from voxplain.study.training_job import TrainedFolder
from voxplain.training.results import NAME

SCORES = ("accuracy", "precision", "recall", "f1")

AFFECTED = 1
"""Number of the class whose evidence is the fat."""


def network_numbers(trained: TrainedFolder, folder: Path, network: str) -> dict[str, Any]:
    """Scores of the folds and of the test fold, counters, and shares of the maps in infiltrated muscle."""
    run, joined = folder / "explained" / network, folder / "ensembles" / network
    results = json.loads((trained.folder / f"final-{network}" / NAME).read_text("utf-8"))
    found: dict[str, Any] = {part: _scores(scores) for part, scores in trained.scores.items()}
    found |= {"epochs": results["epochs"], "occlusion": occlusion_counters(run)}
    shares = [(method_name(one), one, case) for case, maps in maps_of(run) for one in maps if informative(one)]
    shares += [(rule, one, case) for rule in RULES for case, one in joined_maps(joined, rule)]
    return found | {"in_infiltrated_muscle": in_infiltrated(run, shares)}


def _scores(scores: dict[str, Any]) -> dict[str, Any]:
    """The four scores with their intervals, and how many of each class are right."""
    whole = {name: scores[name] for name in ("cases", "patients", *SCORES)}
    right = {f"accuracy of {name}": one["recall"] for name, one in scores["per_class"].items()}
    ends = {f"{name} 95 %": interval for name, interval in scores.get("intervals", {}).items()}
    return {**whole, **right, **ends}


def occlusion_counters(run: Path) -> dict[str, int]:
    """Of each predicted class how many tiles there are and how many maps say something; how many fell back to black.

    The source counts a map that is the same everywhere as one that says something; how many these are is told as well.
    """
    names = _class_names(run)
    total = {f"{what} {name}": 0 for name in names for what in ("predicted", "informative")}
    total |= {"the same everywhere": 0, "fell back": 0}
    for one in (one for _, maps in maps_of(run) for one in maps if method_name(one) == OCCLUSION):
        name = names[int(one.numbers["label"])]
        total[f"predicted {name}"] += 1
        total[f"informative {name}"] += bool(one.numbers["informative"])
        total["the same everywhere"] += bool(one.numbers["informative"]) and bool(np.ptp(one.values) == 0)
        total["fell back"] += bool(one.numbers["fell_back"])
    return total


def _class_names(run: Path) -> list[str]:
    case = str(RunFolder(run).rows()[0]["case"])
    return [str(name) for name in dict(RunFolder(run).facts_of(case)["prediction"])["class_names"]]


def in_infiltrated(run: Path, maps: list[tuple[str, Attribution, str]]) -> dict[str, Any]:
    """Means over the tiles that were rightly called affected, of positive mass inside muscle; empty without phantoms.

    What a map that knows nothing gets is the infiltrated share of the muscle: chance.
    """
    measured: dict[str, list[float]] = {}
    for name, one, case in maps:
        for key, value in _measured(run, name, one, case):
            measured.setdefault(key, []).append(value)
    return {name: float(np.mean(values)) for name, values in measured.items()}


def _measured(run: Path, name: str, one: Attribution, case: str) -> Iterator[tuple[str, float]]:
    file = run / "cases" / file_name(case) / "mask.nii.gz"
    labels = np.rint(read_nifti(file).values)
    if not (labels == INFILTRATED).any() or one.numbers.get("class") != AFFECTED:
        return
    fat, muscle = (Image.of(mask.astype(np.float32), one.grid) for mask in (labels == INFILTRATED, labels > 0))
    found = RelevanceMass()(one, fat, muscle)
    if found.value is not None and found.chance is not None:
        yield name, found.value
        if name == "grad_cam":
            yield "chance", found.chance
