"""What the Xception study measures: accuracies of all networks, and how much of each map lies in the tumour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.study.run_folder import RunFolder
from voxplain.study.training_job import TrainedFolder


def numbers_of(
    folder: Path, trained: Mapping[str, TrainedFolder], others: Mapping[str, TrainedFolder]
) -> dict[str, Any]:
    """Test scores of the strong and the weak network, accuracies of the backbones, shares of the maps in the tumour."""
    found: dict[str, Any] = {name: _scores(one.scores["test"]) for name, one in trained.items()}
    found["backbones"] = {name: one.scores["test"]["accuracy"] for name, one in others.items()}
    runs = {name: in_tumour(folder / "runs" / name) for name in ("explained", "catalogue", "catalogue-weak")}
    return found | {"in_tumour": runs}


def _scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: scores[name] for name in ("cases", "patients", "accuracy", "f1")}
    each = {f"accuracy of {name}": one["recall"] for name, one in scores["per_class"].items()}
    return {**plain, **each, "accuracy 95 %": scores.get("intervals", {}).get("accuracy")}


def in_tumour(run: Path) -> dict[str, float]:
    """Mean share of each method's positive mass in the tumour; chance is what a map that knows nothing gets."""
    rows = [row for row in RunFolder(run).rows() if row["status"] == "done" and row["share_in_mask"] is not None]
    shares: dict[str, list[float]] = {}
    for row in rows:
        shares.setdefault(str(row["method"]).partition("(")[0], []).append(float(row["share_in_mask"]))
    chance = {"chance": float(np.mean([float(row["mask_share"]) for row in rows]))} if rows else {}
    return {name: float(np.mean(values)) for name, values in shares.items()} | chance
