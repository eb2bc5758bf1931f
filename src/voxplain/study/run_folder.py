"""The run folder: everything a run leaves behind, and all that reports, figures and statistics read."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from voxplain.data import sidecar
from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.data.picture_names import figure_name, sheet_name
from voxplain.data.run_layout import LAYOUT
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.study.plan import file_name
from voxplain.toml import toml

COLUMNS = (
    "case", "model", "target", "method", "layer", "map", "status", "error", "certificate",
    "score", "share_in_mask", "mask_share", "seconds", "forwards", "backwards",
)  # fmt: skip
"""The columns of every table.csv; rows.jsonl holds the same names."""


@dataclass(frozen=True)
class RunFolder:
    """Paths and writers of one run; every file appears whole or not at all."""

    path: Path

    @classmethod
    def at(cls, path: Path, plan: Mapping[str, Any]) -> RunFolder:
        """The folder for this plan: new, empty, or one in which the same plan was begun.

        Raises `FileError` where it cannot be written, `InputError` where it holds something else.
        """
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise FileError(f"output folder {path.name!r} must be a folder, got a file")
        if folder.plan_file.exists():
            begun = _parsed(folder.plan_file, tomllib.loads)
            if {"layout": LAYOUT, **begun} != tomllib.loads(folder.plan_text(plan)):
                raise InputError(f"output folder {path.name!r} holds another run; choose another --out or remove it")
        elif path.exists() and any(path.iterdir()):
            raise InputError(f"output folder {path.name!r} must be empty or a run folder; choose another --out")
        folder.probe()
        return folder

    def probe(self) -> None:
        """Raise `FileError` now rather than after hours of work where the folder cannot be written."""
        there = next(folder for folder in (self.path.absolute(), *self.path.absolute().parents) if folder.is_dir())
        try:
            with TemporaryDirectory(dir=there):
                pass
        except OSError as error:
            raise FileError(f"output folder {str(self.path)!r} must be writable, got: {error.strerror}") from error

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write the plan: the first file of a run."""
        self._text(self.plan_file, self.plan_text(plan))

    @staticmethod
    def plan_text(plan: Mapping[str, Any]) -> str:
        """plan.toml: the plan, and which layout of a run folder it stands in."""
        return toml({"layout": LAYOUT, **plan})

    @property
    def plan_file(self) -> Path:
        """plan.toml, as understood, defaults filled in."""
        return self.path / "plan.toml"

    def rows(self) -> list[dict[str, Any]]:
        """The rows written so far, oldest first."""
        file = self.path / "rows.jsonl"
        return [dict(row) for row in _parsed(file, _json_lines)] if file.exists() else []

    def facts_of(self, case: str) -> Mapping[str, Any]:
        """What case.json says about a case of this folder; nothing where there is none."""
        file = self.path / "cases" / file_name(case) / "case.json"
        return dict(_parsed(file, json.loads)) if file.exists() else {}

    def write_case(
        self, case: str, facts: Mapping[str, Any], image: Image, mask: Image | None, labels: Image | None
    ) -> None:
        """The case's image, masks and facts."""
        folder = self.path / "cases" / file_name(case)
        for name, picture in (("image", image), ("mask", mask), ("prediction", labels)):
            file = folder / f"{name}.nii.gz"
            if picture is not None:
                write_nifti(file, picture.values, picture.grid)
            else:
                file.unlink(missing_ok=True)  # the case may have had one when it was done before
        self._text(folder / "case.json", json_text(facts, indent=1) + "\n")

    def write_map(self, case: str, model: str, attribution: Attribution) -> str:
        """The map and its sidecar; returns its path inside the run folder."""
        folder = self.path / "maps" / file_name(case) / file_name(model) / file_name(attribution.target)
        attribution.save(folder / f"{self.map_name(attribution)}.nii.gz")
        return (folder / f"{self.map_name(attribution)}.nii.gz").relative_to(self.path).as_posix()

    def remove_maps(self, places: Iterable[str | None]) -> None:
        """Delete maps by their path inside the run folder, with everything beside them and their pictures."""
        maps = (self.path / "maps").resolve()
        for place in places:
            file = (self.path / str(place)).resolve()
            if place is None or not file.is_relative_to(maps) or not file.name.endswith(sidecar.SUFFIXES):
                continue  # rows.jsonl may have been edited by hand: nothing but maps may go
            sidecar.remove(file)
            for name in (figure_name(PurePath(place)), sheet_name(PurePath(place))):
                (self.path / "figures" / name).unlink(missing_ok=True)
            for folder in takewhile(lambda one: one != maps, file.parents):
                with suppress(OSError):  # other maps are in it still
                    folder.rmdir()

    @staticmethod
    def map_name(attribution: Attribution) -> str:
        """Method and layer, with a hash only where options are not the defaults."""
        name = file_name(attribution.method)
        return f"{name}-{file_name(attribution.layer)}" if attribution.layer else name

    def write_rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
        """rows.jsonl and table.csv with these rows; entries of their own come after the `columns` of every run."""
        more = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in columns]
        self._text(self.path / "rows.jsonl", "".join(json_text(row) + "\n" for row in rows))
        with written_beside(self.path / "table.csv") as beside, beside.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*columns, *more])
            writer.writeheader()
            writer.writerows(rows)

    def log(self, line: str) -> None:
        """One more line in log.txt."""
        with (self.path / "log.txt").open("a") as stream:
            stream.write(line + "\n")

    @staticmethod
    def _text(path: Path, content: str) -> None:
        with written_beside(path) as beside:
            beside.write_text(content)


def _json_lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _parsed(file: Path, parse: Callable[[str], Any]) -> Any:
    """What a file of the run folder holds; raises `FileError` where somebody else has changed it."""
    try:
        return parse(file.read_text())
    except ValueError as error:
        raise FileError(f"{file.name!r} of the run folder is broken; choose another --out or remove it") from error


def case_facts(case: str, image: Image, prediction: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """What case.json says."""
    grid = image.grid
    return {
        "id": case,
        **more,
        "channels": list(image.channels),
        "unit": image.unit,
        "notices": list(image.notices),
        "grid": {
            "shape": list(grid.shape),
            "affine": grid.affine.tolist(),
            "unit": grid.unit,
            "orientation": grid.orientation if grid.physical else "",
        },
        "prediction": dict(prediction),
    }
