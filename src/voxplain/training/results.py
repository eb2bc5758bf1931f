"""The `results.json` of the myopathy study's two runs, with exactly its keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import InputError
from voxplain.training.scores import FOUR

NAME = "results.json"

FOLD_SETTINGS, FINAL_SETTINGS = ("learning rate", "momentum", "patience", "delta"), ("learning rate", "momentum")
"""Numbers of the recipe that the two files repeat."""

Scores = Mapping[str, float | None]


def fold_results(
    title: str, settings: Mapping[str, float], folds: Sequence[Scores], epochs: Sequence[int]
) -> dict[str, Any]:
    """The document of a cross-validation: means, population variances, and each fold's four scores under "0", "1" ...

    `epochs` are those after which each fold stopped. A score that a fold does not have is left out of its mean.
    """
    if len(folds) != len(epochs) or not folds:
        raise InputError(f"folds and epochs must be equally many, at least 1, got {len(folds)} and {len(epochs)}")
    columns = {key: np.array([_known(fold[key]) for fold in folds]) for key in FOUR}
    means = {key: _over(np.mean, column) for key, column in columns.items()}
    return {
        "title": title,
        **_settings(settings, FOLD_SETTINGS),
        "final": means | {"avg epochs": float(np.mean(epochs))},
        "variance": {key: _over(np.var, column) for key, column in columns.items()},
        **{str(number): {key: fold[key] for key in FOUR} for number, fold in enumerate(folds)},
    }


def final_results(title: str, settings: Mapping[str, float], epochs: int, scores: Scores) -> dict[str, Any]:
    """The document of the final run: how long it trained and its four scores on the test set."""
    final = {key: scores[key] for key in FOUR}
    return {"title": title, **_settings(settings, FINAL_SETTINGS), "epochs": epochs, "final": final}


def write_results(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write a document to `results.json` in the folder named by its title inside `folder`, and return the path."""
    path = folder / str(document["title"]) / NAME
    with written_beside(path) as beside:
        beside.write_text(json_text(dict(document), indent=2) + "\n", encoding="utf-8")
    return path


def _settings(settings: Mapping[str, float], keys: Sequence[str]) -> dict[str, float]:
    missing = [key for key in keys if key not in settings]
    if missing:
        raise InputError(f"settings must have {', '.join(keys)}, got none for {missing[0]!r}")
    return {key: settings[key] for key in keys}


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _over(take: Any, column: Any) -> float | None:
    """Mean or variance of the numbers that are known."""
    known = column[np.isfinite(column)]
    return float(take(known)) if len(known) else None
