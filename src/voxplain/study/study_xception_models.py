"""The networks of the Xception study: the compared backbones, the strong network and the weak one."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxplain.data.writing import written_beside
from voxplain.score.networks_pretrained import UNTRAINED
from voxplain.study.training_job import TrainedFolder

RECIPE, TABLE = "tumour-types", "comparison.csv"

SMALL_SIDE, SIDE = 80, 299
"""Pixels that the compared backbones read: InceptionV3 takes no fewer than 75, the study has 299."""

WEAK_EPOCHS = 2
"""Of the weak network at size small, where the strong one has those of the recipe."""

COLUMNS = ("backbone", "start", "parameters", "trained first", "cases", "accuracy", "low", "high")


def compared(backbone: str, size: str, weights: str | None, epochs: tuple[int, int]) -> dict[str, Any]:
    """Settings of a backbone of the table: head alone, then everything; small pictures at size small."""
    phases: dict[str, Any] = {"frozen": ["backbone.*"], "frozen_epochs": epochs[0], "epochs": epochs[1], "batch": 16}
    phases |= {"optimiser": "adam", "weight_decay": 0.0, "schedule": "constant", "rate": 1e-4, "frozen_rate": 1e-3}
    start = {} if weights is None else {"backbone": weights}
    if size == "paper":
        return {"network": f"transfer(backbone={backbone!r}, head='best', size={SIDE})", **phases, **start}
    network = f"transfer(backbone={backbone!r}, head='low', channels=1, size={SMALL_SIDE}, frozen=False)"
    # From random weights the study's rate of fine tuning would change next to nothing in so few steps, and without a
    # fall at the end norms would leave the accuracy to chance.
    quick = {} if weights else {"rate": 1e-3, "schedule": "one_cycle"}
    return {"network": network, **phases, **start, **quick, "prepare": {"size": [SMALL_SIDE, SMALL_SIDE]}}


def strong_settings(size: str, weights: Mapping[str, str], epochs: int | None) -> dict[str, Any]:
    """The recipe's network in full; at size paper that is the study's best model."""
    start = {"backbone": weights["xception"]} if size == "paper" and "xception" in weights else {}
    return {**start, **({} if epochs is None else {"epochs": epochs})}


def weak_settings(size: str, weights: Mapping[str, str]) -> dict[str, Any]:
    """The same network after a short training; at size paper the study's low model, which saw little of its data."""
    if size == "small":
        return {"epochs": WEAK_EPOCHS}
    network = f"transfer(backbone='xception', head='low', size={SIDE})"
    return {**strong_settings(size, weights, None), "network": network, "frozen_epochs": 1, "epochs": 0}


def write_comparison(folder: Path, found: Mapping[str, TrainedFolder]) -> None:
    """The table of backbones as CSV, the best one first."""
    rows = sorted((_row(name, one) for name, one in found.items()), key=lambda row: -float(row["accuracy"]))
    with written_beside(folder / TABLE) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(name: str, trained: TrainedFolder) -> dict[str, Any]:
    scores = trained.scores["test"]
    low, high = scores.get("intervals", {}).get("accuracy") or (None, None)
    sizes = _sizes(trained.folder)
    start = "random weights" if sizes["start"] == UNTRAINED else sizes["start"]
    told = {"backbone": name, "start": start, "parameters": sizes["all"], "trained first": sizes["head"]}
    return {**told, "cases": scores["cases"], "accuracy": scores["accuracy"], "low": low, "high": high}


def _sizes(folder: Path) -> dict[str, Any]:
    """Numbers of weights, all and of the head, from the file; and how the backbone began, from the log."""
    with (folder / "weights.safetensors").open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    counts = {name: _product(one["shape"]) for name, one in header.items() if name != "__metadata__"}
    learnt = {
        name: count
        for name, count in counts.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    log = (folder / "log.txt").read_text("utf-8") if (folder / "log.txt").is_file() else ""
    start = next((line for line in log.splitlines() if "backbone" in line), UNTRAINED)
    return {
        "all": sum(learnt.values()),
        "head": sum(n for name, n in learnt.items() if name.startswith("head.")),
        "start": start,
    }


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
