"""The folder of a training: of which request it is, and the tables that a training leaves in it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.study.run_folder import RunFolder
from voxplain.study.training_samples import Material
from voxplain.toml import toml
from voxplain.training.recipe import Recipe
from voxplain.training.released import recipe_tables

REQUEST, SCORES, HISTORY, PREDICTIONS, LOG = "training.toml", "scores.json", "history.csv", "predictions.csv", "log.txt"

DIGITS = 8
"""Of the request's hash in the folder's name."""


def request(name: str, recipe: Recipe, stuff: Material, parts: Sequence[str], *, labels: str = "") -> dict[str, Any]:
    """All that decides the weights, as plain values: recipe, data, parts and other than true labels, with its hash."""
    split = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    order = {"labels": labels} if labels else {}
    asked: dict[str, Any] = {
        "recipe_name": name,
        "data": stuff.digest,
        "parts": split,
        **order,
        **recipe_tables(recipe),
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
    return {"hash": digest[:16], **asked}


@dataclass(frozen=True)
class TrainingFolder:
    """Paths and writers; every file appears whole or not at all."""

    path: Path

    @classmethod
    def at(cls, path: Path, asked: Mapping[str, Any]) -> TrainingFolder:
        """The folder for this request: new, empty, or one in which the same one was begun.

        Raises `FileError` where it cannot be written, `InputError` where it holds something else.
        """
        if path.exists() and not path.is_dir():
            raise FileError(f"output folder {path.name!r} must be a folder, got a file")
        if (path / REQUEST).exists():
            if _hash(path / REQUEST) != asked["hash"]:
                raise InputError(f"output folder {path.name!r} holds another training; choose another --out")
        elif path.exists() and any(path.iterdir()):
            raise InputError(f"output folder {path.name!r} must be empty or of the same training; choose another --out")
        RunFolder(path).probe()
        folder = cls(path)
        folder.write(REQUEST, toml(asked))
        return folder

    @property
    def finished(self) -> bool:
        """True where the scores are there: they are written last."""
        return (self.path / SCORES).is_file()

    def scores(self) -> dict[str, Any]:
        """The scores of a finished training by part."""
        try:
            found: dict[str, Any] = json.loads((self.path / SCORES).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{SCORES!r} in {self.path.name!r} must be readable JSON; choose another --out") from error
        return found

    def write(self, name: str, text: str) -> None:
        with written_beside(self.path / name) as beside:
            beside.write_text(text, "utf-8")

    def log(self, line: str) -> None:
        """One more line of the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        self.write(SCORES, json_text(dict(scores), indent=1) + "\n")

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """One line an epoch; whole numbers (fold, phase, epoch) without a point."""
        whole = [{key: int(value) if value == int(value) else value for key, value in row.items()} for row in rows]
        self.write(HISTORY, table_text(whole))

    def write_predictions(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.write(PREDICTIONS, table_text(rows))


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with the columns of all of them in the order in which they come up."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def prediction_rows(
    stuff: Material, numbers: Sequence[int], part: str, found: npt.NDArray[Any]
) -> list[dict[str, Any]]:
    """Case by case what is true and what was said: a class with its probabilities, or a number."""
    rows = []
    for number, said in zip(numbers, found, strict=True):
        truth: Any = stuff.samples.truth[number]
        row: dict[str, Any] = {"id": stuff.names[number], "group": stuff.groups[number] or "", "part": part}
        if stuff.classes:
            row |= {"truth": stuff.classes[int(truth)], "prediction": stuff.classes[int(np.argmax(said))]}
            row |= {f"probability_{name}": float(one) for name, one in zip(stuff.classes, said, strict=True)}
        else:
            row |= {"truth": float(truth), "prediction": float(said)}
        rows.append(row)
    return rows


def _hash(file: Path) -> Any:
    try:
        return tomllib.loads(file.read_text("utf-8")).get("hash")
    except (OSError, ValueError) as error:
        raise FileError(f"{file.name!r} in {file.parent.name!r} must be readable TOML; choose another --out") from error
