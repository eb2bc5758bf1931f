"""What a run folder holds, read leniently: what is there is shown, what is missing is named."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.run_layout import LAYOUT
from voxplain.errors import FileError, VoxplainError
from voxplain.report.reading import is_inside, read_object, read_rows, read_text
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

    def load(self, image: Image | None) -> Attribution:
        """The map of this row, laid on the image's grid where it fills the same space; without image on black."""
        if self.path is None:
            raise FileError(self.problem)
        attribution = Attribution.load(self.path)
        if image is None:
            black = np.zeros(attribution.grid.shape, np.float32)
            image = Image.of(black, attribution.grid, identifier=self.text("case"))
        return replace(attribution, grid=_in_unit_of(attribution.grid, image.grid), image=image)


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """One case of the run with its image and its rows."""

    identifier: str
    facts: Table
    """`case.json` as it is; empty where it is missing."""
    image: Image | None
    mask: Image | None
    labels: Image | None
    """The predicted class of each voxel, where the model segments."""
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

    @property
    def empty(self) -> bool:
        """True where there is nothing at all to report on."""
        return not self.cases


def read_run(folder: Path) -> Run:
    """Read a run folder; parts that are missing or broken become sentences, only a missing folder is an error.

    Links that lead out of the folder count as missing: nothing from elsewhere is ever read.
    """
    if not folder.is_dir():
        raise FileError(f"run folder must be a folder, got {str(folder)!r}; make one with: voxplain explain")
    missing: list[str] = []
    plan = read_text(folder / "plan.toml", folder, missing)
    missing += _layout(plan)
    rows = read_rows(folder / "rows.jsonl", folder, missing)
    facts = _facts(folder, missing)
    homes = {str(table.get("id", name)): name for name, table in facts.items()}
    rows += _without_row(folder, rows, {name: case for case, name in homes.items()}, missing)
    names = list(dict.fromkeys([*(str(row.get("case", "")) for row in rows), *homes]))
    cases = []
    for name in names:
        home = homes.get(name, "")
        if not home and any(row.get("status") == "done" for row in rows if str(row.get("case", "")) == name):
            missing.append(f"case {name!r} has rows but no case.json")
        own = [_entry(folder, row, missing) for row in rows if str(row.get("case", "")) == name]
        cases.append(_case(folder, name, home, facts.get(home, {}), own, missing))
    return Run(folder, plan, tuple(cases), tuple(dict.fromkeys(missing)))


def _layout(plan: str) -> list[str]:
    """What the plan says of a layout that this version does not know, or why it cannot be understood."""
    try:
        layout = tomllib.loads(plan).get("layout", LAYOUT)
    except tomllib.TOMLDecodeError as error:
        return [f"plan.toml cannot be understood: {error}"]
    if layout == LAYOUT:
        return []
    return [
        f"the run folder has layout {layout!r}, written by another version of voxplain; this one knows {LAYOUT}, and "
        "what it does not know is not shown"
    ]


def _facts(folder: Path, missing: list[str]) -> dict[str, Table]:
    """What is told of each case, by the name of its folder; nothing where only an image is there."""
    facts: dict[str, Table] = {}
    for home in sorted(path for path in folder.glob("cases/*") if path.is_dir()):
        if not is_inside(home, folder):
            missing.append(f"{home.relative_to(folder)} leads out of the run folder and is not read")
        elif (home / "case.json").exists() or (home / "image.nii.gz").exists():
            facts[home.name] = read_object(home / "case.json", folder, missing)
    return facts


def _without_row(folder: Path, rows: Sequence[Table], cases: Mapping[str, str], missing: list[str]) -> list[Table]:
    """Rows for maps that lie in the folder though no row names them, by the folder of their case."""
    told = {str(row.get("map")) for row in rows}
    found: list[Table] = []
    for sidecar in sorted(folder.glob("maps/*/*/*/*.json")):
        place = sidecar.with_suffix(".nii.gz").relative_to(folder).as_posix()
        if place in told or not (folder / place).exists() or not is_inside(sidecar, folder):
            continue
        _, case, model, target, _ = Path(place).parts
        words = read_object(sidecar, folder, [])
        row = {"case": cases.get(case, case), "model": model, "target": words.get("target", target), "map": place}
        found.append({**row, "method": words.get("method", sidecar.stem), "status": "done"})
    if found:
        some = "1 map has" if len(found) == 1 else f"{len(found)} maps have"
        missing.append(f"{some} no row in rows.jsonl; shown as found under maps/")
    return found


def _case(folder: Path, name: str, home: str, facts: Table, maps: Sequence[MapEntry], missing: list[str]) -> CaseEntry:
    if not home:
        return CaseEntry(name, facts, None, None, None, tuple(maps))
    files = folder / "cases" / home
    image = _image(files / "image.nii.gz", folder, facts, missing)
    mask, labels = (
        _image(file, folder, {"grid": facts.get("grid")}, missing) if file.exists() else None
        for file in (files / "mask.nii.gz", files / "prediction.nii.gz")
    )
    return CaseEntry(name, facts, image, mask, labels, tuple(maps))


def _image(path: Path, folder: Path, facts: Table, missing: list[str]) -> Image | None:
    """The image as it was explained: NIfTI knows no channel names, no intensity units and no pixels without size."""
    from voxplain.data.nifti import read_nifti

    place = path.relative_to(folder)
    if not is_inside(path, folder):
        missing.append(f"{place} leads out of the run folder and is not read")
        return None
    try:
        image = read_nifti(path)
    except (VoxplainError, OSError) as error:
        missing.append(f"{place} cannot be shown: {error}")
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
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    beside = [one for one in path.parent.glob("*") if one.name.startswith(f"{stem}.")]
    outside = [one.name for one in beside if not is_inside(one, folder)]
    if outside:
        missing.append(f"{outside[0]!r} beside map {str(relative)!r} leads out of the run folder and is not read")
        return MapEntry(row, None, f"the file {outside[0]!r} beside the map leads out of the run folder")
    return MapEntry(row, path)


def _in_unit_of(grid: Grid, like: Grid) -> Grid:
    """The grid in the image's unit: pixels of unknown size come back from a NIfTI file as millimetres."""
    unit: Unit = like.unit
    return Grid(grid.shape, grid.affine, unit)


def mapping(value: Any) -> Table:
    """`value` where it is a JSON object, else an empty one: files may have been edited by hand."""
    return value if isinstance(value, Mapping) else {}


def listing(value: Any) -> list[Any]:
    """`value` where it is a JSON list, else an empty one."""
    return list(value) if isinstance(value, list | tuple) else []
