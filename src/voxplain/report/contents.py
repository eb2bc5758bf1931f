"""What a run folder holds, read leniently: what is there is shown, what is missing is named."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import FileError, VoxplainError
from voxplain.space.grid import Grid, Unit

Table = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class MapEntry:
    """One row of the run: a finished map, or why there is none."""

    row: Table
    """The row as `rows.jsonl` has it."""
    path: Path | None = None
    """The map's file, where there is one inside the run folder."""
    problem: str = ""
    """Why the map cannot be shown, in a sentence; empty where it can."""

    @property
    def refused(self) -> bool:
        """True for a method that could not explain the case, where every method was asked for."""
        return self.row.get("status") == "refused"

    def text(self, key: str) -> str:
        """An entry of the row as text, '' where it has none."""
        value = self.row.get(key)
        return "" if value is None else str(value)

    def load(self, image: Image) -> Attribution:
        """The map of this row, laid on the image's grid where it fills the same space."""
        if self.path is None:
            raise FileError(self.problem)
        attribution = Attribution.load(self.path)
        return replace(attribution, grid=_in_unit_of(attribution.grid, image.grid), image=image)


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """One case of the run with its image and its rows."""

    identifier: str
    facts: Table
    """`case.json` as it is; empty where it is missing."""
    image: Image | None
    mask: Image | None
    maps: tuple[MapEntry, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """Everything a page shows of a run folder."""

    folder: Path
    plan: str
    """`plan.toml` verbatim."""
    cases: tuple[CaseEntry, ...]
    missing: tuple[str, ...]
    """What should be in the folder but is not, or cannot be read, in sentences."""


def read_run(folder: Path) -> Run:
    """Read a run folder; parts that are missing or broken become sentences, only a missing folder is an error."""
    if not folder.is_dir():
        raise FileError(f"run folder must be a folder, got {str(folder)!r}; make one with: voxplain explain")
    missing: list[str] = []
    rows = _rows(folder / "rows.jsonl", missing)
    folders = {path.parent.name: path for path in sorted(folder.glob("cases/*/case.json"))}
    facts = {name: _json(path, folder, missing) for name, path in folders.items()}
    homes = {str(table.get("id", name)): name for name, table in facts.items()}
    names = list(dict.fromkeys([*(str(row.get("case", "")) for row in rows), *homes]))
    cases = []
    for name in names:
        home = homes.get(name, name if name in facts else "")
        if not home and any(row.get("status") == "done" for row in rows if str(row.get("case", "")) == name):
            missing.append(f"case {name!r} has rows but no case.json")
        own = [_entry(folder, row, missing) for row in rows if str(row.get("case", "")) == name]
        cases.append(_case(folder, name, home, facts.get(home, {}), own, missing))
    return Run(folder, _text(folder / "plan.toml", missing), tuple(cases), tuple(missing))


def _case(folder: Path, name: str, home: str, facts: Table, maps: Sequence[MapEntry], missing: list[str]) -> CaseEntry:
    if not home:
        return CaseEntry(name, facts, None, None, tuple(maps))
    image = _image(folder / "cases" / home / "image.nii.gz", folder, facts, missing)
    mask_file = folder / "cases" / home / "mask.nii.gz"
    mask = _image(mask_file, folder, {"grid": facts.get("grid")}, missing) if mask_file.exists() else None
    return CaseEntry(name, facts, image, mask, tuple(maps))


def _image(path: Path, folder: Path, facts: Table, missing: list[str]) -> Image | None:
    """The image as it was explained: NIfTI knows no channel names, no intensity units and no pixels without size."""
    from voxplain.data.nifti import read_nifti

    try:
        image = read_nifti(path)
    except (VoxplainError, OSError) as error:
        missing.append(f"{path.relative_to(folder)} cannot be shown: {error}")
        return None
    unit = mapping(facts.get("grid")).get("unit")
    grid = Grid(image.grid.shape, image.grid.affine, unit if unit in ("mm", "detector mm", "px") else image.grid.unit)
    named = tuple(map(str, listing(facts.get("channels"))))
    channels = named if len(named) == len(image.channels) else image.channels
    identifier, words = str(facts.get("id", image.identifier)), str(facts.get("unit", image.unit))
    return replace(image, grid=grid, channels=channels, unit=words, identifier=identifier)


def _entry(folder: Path, row: Table, missing: list[str]) -> MapEntry:
    if row.get("status") in ("failed", "refused"):
        return MapEntry(row, None, str(row.get("error") or "failed without a message"))
    relative = row.get("map")
    path = (folder / str(relative)).resolve() if relative else None
    # A row edited by hand must not make the page show files from elsewhere.
    if path is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        missing.append(f"map {str(relative)!r} of case {str(row.get('case'))!r} is not in the run folder")
        return MapEntry(row, None, f"the map {str(relative)!r} is not in the run folder")
    return MapEntry(row, path)


def _in_unit_of(grid: Grid, like: Grid) -> Grid:
    """The grid in the image's unit: pixels of unknown size come back from a NIfTI file as millimetres."""
    unit: Unit = like.unit
    return Grid(grid.shape, grid.affine, unit)


def _rows(path: Path, missing: list[str]) -> list[Table]:
    rows: list[Table] = []
    for count, line in enumerate(_text(path, missing).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            missing.append(f"{path.name} line {count} is no JSON object")
    return rows


def _json(path: Path, folder: Path, missing: list[str]) -> Table:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = None
    if not isinstance(table, dict):
        missing.append(f"{path.relative_to(folder)} is no JSON object")
        return {}
    return table


def _text(path: Path, missing: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        missing.append(f"{path.name} is missing or cannot be read")
        return ""


def mapping(value: Any) -> Table:
    """`value` where it is a JSON object, else an empty one: files may have been edited by hand."""
    return value if isinstance(value, Mapping) else {}


def listing(value: Any) -> list[Any]:
    """`value` where it is a JSON list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []
