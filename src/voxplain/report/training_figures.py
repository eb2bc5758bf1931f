"""Pictures of a training's folder: curves, confusion matrices, predictions against truth, residuals."""

import csv
import json
import tomllib
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from voxplain.errors import FileError
from voxplain.report.figures import save
from voxplain.report.training_curves import History, curve_grid, curves
from voxplain.report.training_scores import age_histogram, confusion, joint, residuals

__all__ = ["age_histogram", "confusion", "curve_grid", "curves", "joint", "residuals", "write_training_figures"]

FIGURES = "figures"

Rows = list[dict[str, str]]


def write_training_figures(folder: Path, unit: str | None = None) -> list[Path]:
    """Draw what a training's folder holds into `folder/figures` and return the pictures' paths.

    `history.csv` (an epoch a row: train_loss, val_loss, train_<score>, val_<score>, and optionally phase and fold)
    becomes `curves.png`, and for folds `folds.png`; `scores.json` ({part: its scores}) a `confusion-<part>.png` a part;
    `predictions.csv` (id, group, part, truth, prediction) of numbers, `predictions-<part>.png` and
    `residuals-<part>.png`, in the unit that `model.toml` names where `unit` does not. What a missing file would show is
    left out; `FileError` for files that cannot be read.
    """
    unit = _unit(folder / "model.toml") if unit is None else unit
    drawn = [*_of_history(_rows(folder / "history.csv"), unit), *_of_scores(folder / "scores.json")]
    drawn += _of_predictions(_rows(folder / "predictions.csv"), unit)
    return [save(figure, folder / FIGURES / f"{name}.png") for name, figure in drawn]


def _of_history(rows: Rows, unit: str) -> Iterator[tuple[str, Figure]]:
    """Curves of one run; of folds a grid of those with validation, and the final run apart."""
    folds: dict[str, Rows] = {}
    for row in rows:
        folds.setdefault(row.get("fold", ""), []).append(row)
    histories = {name: _history(own) for name, own in folds.items()}
    validated = {name: own for name, own in histories.items() if any(key.startswith("val_") for key in own)}
    if len(validated) > 1:
        yield "folds", curve_grid(list(validated.values()), [f"fold {name}" for name in validated], unit)
        histories = {name: own for name, own in histories.items() if name not in validated}
    for own in histories.values():
        yield "curves", curves(own, unit=unit)


def _history(rows: Rows) -> History:
    """Columns as numbers; those without any number are left out."""
    columns = {name: [_number(row[name]) for row in rows] for name in rows[0]}
    return {name: values for name, values in columns.items() if not all(map(isnan, values))}


def _of_scores(path: Path) -> Iterator[tuple[str, Figure]]:
    for part, scores in _json(path).items():
        if isinstance(scores, dict) and "confusion" in scores:
            told = f"{part}: accuracy {scores['accuracy']:.3f} of {scores['cases']} cases"
            yield f"confusion-{_file_name(part)}", confusion(scores["confusion"], scores["classes"], told)


def _of_predictions(rows: Rows, unit: str) -> Iterator[tuple[str, Figure]]:
    """Nothing where truths are classes."""
    if not rows or any(name.startswith("probability_") for name in rows[0]):
        return
    for part in dict.fromkeys(row["part"] for row in rows):
        pairs = [(_number(row["truth"]), _number(row["prediction"])) for row in rows if row["part"] == part]
        truth, prediction = zip(*pairs, strict=True)
        yield f"predictions-{_file_name(part)}", joint(truth, prediction, unit)
        yield f"residuals-{_file_name(part)}", residuals(truth, prediction, unit)


def _rows(path: Path) -> Rows:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path.name!r} must be a table in UTF-8 text, got something else") from error


def _unit(path: Path) -> str:
    """The unit of what a network was trained on, '' where it has none."""
    if not path.is_file():
        return ""
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("unit", ""))
    except (OSError, ValueError) as error:
        raise FileError(f"{path.name!r} must be TOML, got something else") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path.name!r} must be JSON, got something else") from error
    return found


def _number(text: str | None) -> float:
    """The number, NaN for an empty cell."""
    try:
        return float(text or "nan")
    except ValueError as error:
        raise FileError(f"a table of a training must hold numbers, got {text!r}") from error


def _file_name(part: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in part)
