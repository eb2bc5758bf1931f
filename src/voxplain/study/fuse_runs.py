"""Several runs over the same cases made into one run folder, whose maps are the fusion of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti
from voxplain.errors import FileError, InputError, VoxplainError
from voxplain.methods import Method
from voxplain.ops.fusing import Fusing
from voxplain.space.grid import Unit
from voxplain.spec import table_of, text
from voxplain.study.fuse import fuse, methods_match
from voxplain.study.plan import file_name
from voxplain.study.rows import Row, laid
from voxplain.study.run import Outcome, Say
from voxplain.study.run_folder import RunFolder

SAME = ("content_sha256", "mask_sha256")
"""Facts of a case that must be equal in all runs: else their maps are of different images."""


@dataclass(frozen=True)
class Fused:
    """One case: the maps of all runs on it, by target."""

    case: str
    facts: Mapping[str, Any]
    places: Mapping[str, list[Path]]
    """Target -> the maps of it."""
    models: str
    image: Image
    mask: Image | None
    labels: Image | None


def fuse_runs(
    folders: Sequence[Path], out: Path, how: Fusing, methods: Sequence[Method] = (), *, say: Say = lambda line: None
) -> Outcome:
    """Fuse the finished maps of each case that all runs hold, target by target, into the run folder `out`.

    `methods` limits which maps take part (none: all). A case whose maps cannot be joined is a failed row.
    Raises `FileError` for folders that are no run folders, `InputError` where the runs share no case.
    """
    runs = [_run(folder) for folder in folders]
    shared = [case for case in _cases(runs[0]) if all(case in _cases(run) for run in runs[1:])]
    if not shared:
        raise InputError("fusion: the runs must share a case, got none that all of them finished")
    table = {
        "cases": shared,
        "fusion": table_of(how),
        "methods": [table_of(one) for one in methods],
        "runs": [{"models": _models([run])} for run in runs],
    }
    outcome = Outcome(RunFolder.at(out, table))
    outcome.folder.begin(table)
    for number, case in enumerate(shared, 1):
        say(f"case {number} of {len(shared)}: {case}")
        try:
            outcome.add(_written(outcome.folder, _found(runs, case, methods), how))
        except VoxplainError as error:
            say(f"  failed: {error}")
            outcome.add([{"case": case, "model": _models(runs), "map": None, "status": "failed", "error": str(error)}])
    return outcome


def _run(folder: Path) -> RunFolder:
    if not (folder / "rows.jsonl").exists():
        raise FileError(f"{folder.name!r} must be a run folder, got one without rows.jsonl; make one: voxplain explain")
    return RunFolder(folder)


def _done(run: RunFolder) -> list[Row]:
    return [row for row in run.rows() if row["status"] == "done"]


def _cases(run: RunFolder) -> list[str]:
    return list(dict.fromkeys(str(row["case"]) for row in _done(run)))


def _models(runs: Sequence[RunFolder]) -> str:
    """The models of some runs, each once."""
    return " + ".join(dict.fromkeys(str(row["model"]) for run in runs for row in _done(run)))


def _found(runs: Sequence[RunFolder], case: str, methods: Sequence[Method]) -> Fused:
    """What all runs know of a case."""
    facts = [run.facts_of(case) for run in runs]
    for key in SAME:
        if len({one.get(key) for one in facts}) > 1:
            raise InputError(f"fusion: case {case!r} must be the same in all runs, got different {key.split('_')[0]}")
    places: dict[str, list[Path]] = {}
    for run in runs:
        for row in _done(run):
            if row["case"] == case and methods_match(row["method"], methods):
                places.setdefault(row["target"], []).append(run.path / str(row["map"]))
    if not places:
        asked = ", ".join(text(one) for one in methods)
        raise InputError(f"fusion: case {case!r} must have maps of {asked}, got none with these very options")
    home, unit = runs[0].path / "cases" / file_name(case), dict(facts[0].get("grid", {})).get("unit", "mm")
    image, mask, labels = (_picture(home / f"{name}.nii.gz", unit) for name in ("image", "mask", "prediction"))
    if image is None:
        raise FileError(f"fusion: case {case!r} must have its image in the run folder, got none")
    return Fused(case, facts[0], places, _models(runs), image, mask, labels)


def _picture(path: Path, unit: Unit) -> Image | None:
    """A file of the case's folder in the unit of its grid, which NIfTI cannot always tell."""
    if not path.exists():
        return None
    image = read_nifti(path)
    return replace(image, grid=replace(image.grid, unit=unit))


def _written(folder: RunFolder, found: Fused, how: Fusing) -> list[Row]:
    joined = [fuse([Attribution.load(place) for place in places], how) for places in found.places.values()]
    folder.write_case(found.case, found.facts, found.image, found.mask, found.labels)
    rows = []
    for single in joined:
        place = folder.write_map(found.case, found.models, single)
        rows.append(laid(found.case, found.models, single, found.mask, place))
    return rows
