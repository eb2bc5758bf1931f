"""A run folder as an evaluation takes it up again: its plan, its cases, and which maps it holds."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti
from voxplain.data.prepare import Prepare
from voxplain.errors import FileError, InputError
from voxplain.methods import method as as_method
from voxplain.score.model import Model
from voxplain.score.target import target as as_target
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan, file_name
from voxplain.study.rows import Row
from voxplain.study.run_folder import RunFolder

HASHES = ("content_sha256", "mask_sha256", "segments_sha256")
"""Facts of a case that must be equal for it to be the one that was explained."""


@dataclass(frozen=True)
class Place:
    """A finished map of a run folder."""

    target: str
    method: str
    layer: str
    path: Path

    @property
    def story(self) -> Mapping[str, Any]:
        """Its sidecar; raises `FileError` where it cannot be read."""
        file = self.path.with_name(self.path.name.removesuffix(".nii.gz") + ".json")
        try:
            return dict(json.loads(file.read_text()))
        except (OSError, ValueError) as error:
            raise FileError(f"the map {self.path.name!r} has no readable sidecar") from error

    @property
    def request(self) -> Mapping[str, Any]:
        """What decided the map."""
        return dict(dict(self.story.get("provenance", {})).get("request", {}))

    @property
    def key(self) -> str:
        """The name under which its request stands."""
        return str(dict(self.story.get("provenance", {})).get("key", ""))


def opened(path: Path) -> RunFolder:
    """The run folder at `path`; raises `FileError` where there is none."""
    for name in ("plan.toml", "rows.jsonl"):
        if not (path / name).exists():
            raise FileError(f"{str(path)!r} must be a run folder, got one without {name}; make one: voxplain explain")
    return RunFolder(path)


def plan_table(folder: RunFolder) -> dict[str, Any]:
    """plan.toml as plain values; raises `FileError` where somebody else has changed it."""
    try:
        return tomllib.loads(folder.plan_file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError("'plan.toml' of the run folder is broken") from error


def plan_of(folder: RunFolder, model: Model, references: Sequence[Image] = ()) -> Plan:
    """The plan of a run folder with the model it was made with; raises `InputError` for any other model."""
    told = plan_table(folder)
    try:
        run, asked = dict(told["run"]), dict(told["model"])
        _check_model(asked, model)
        _check_references(run, references)
        return Plan(
            model,
            Prepare.of(told["prepare"]),
            tuple(None if one.get("name") == "default" else as_target(one) for one in told["targets"]),
            tuple(as_method(one) for one in told["methods"]),
            seed=int(run["seed"]),
            budget=int(run["memory_bytes"]) or None,
            references=tuple(references),
            every=bool(run["every_method"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise FileError(f"'plan.toml' of the run folder must be one of voxplain explain, got no {error}") from error


def _check_model(asked: Mapping[str, Any], model: Model) -> None:
    """The network and how its output is read must be those of the run."""
    if model.weights_hash != asked["weights_sha256"]:
        raise InputError(
            f"the model's weights must be those of the run ({asked['name']}), got others; "
            "pass the run's own --model and --weights"
        )
    for name in ("output", "head"):
        given = getattr(model, name) or ""
        if given != asked[name]:
            raise InputError(f"--{name} must be the run's own {asked[name] or 'left out'!r}, got {given!r}")


def _check_references(run: Mapping[str, Any], references: Sequence[Image]) -> None:
    wanted = list(run.get("reference_sha256", []))
    if wanted != [one.content_hash for one in references]:
        raise InputError(
            f"the run compared with {len(wanted)} reference images, which its folder does not keep; "
            "pass the same ones with --reference"
        )


def places(folder: RunFolder) -> dict[str, list[Place]]:
    """The finished maps of each case, in the order of the rows."""
    found: dict[str, list[Place]] = {}
    for row in folder.rows():
        own = found.setdefault(str(row["case"]), [])
        if row["status"] == "done":
            target, method, layer = (str(row.get(name) or "") for name in ("target", "method", "layer"))
            own.append(Place(target, method, layer, folder.path / str(row["map"])))
    return found


def failed_rows(folder: RunFolder) -> list[Row]:
    """The rows of cases that could not be explained."""
    return [row for row in folder.rows() if row["status"] == "failed"]


def stored_case(folder: RunFolder, name: str) -> Case:
    """A case as the run folder keeps it, bit by bit; segments are not kept."""
    facts, home = folder.facts_of(name), folder.path / "cases" / file_name(name)
    image = _image(home / "image.nii.gz", facts)
    if image is None:
        raise FileError(f"case {name!r} has no image in the run folder")
    mask = _mask(_image(home / "mask.nii.gz", {**facts, "channels": None}), image, facts)
    told = {key: facts.get(key) for key in ("label", "group", "split", "target")}
    return Case(name, image, mask=mask, **told)


def _mask(mask: Image | None, image: Image, facts: Mapping[str, Any]) -> Image | None:
    """The mask under the names that its channels had, which its hash tells: NIfTI keeps none."""
    if mask is None:
        return None
    names = [("mask",), image.channels, mask.channels]
    known = [replace(mask, channels=one) for one in names if len(one) == len(mask.channels)]
    return next((one for one in known if one.content_hash == facts.get("mask_sha256")), known[-1])


def _image(path: Path, facts: Mapping[str, Any]) -> Image | None:
    """An image of the run on its exact grid: NIfTI rounds affines, case.json does not."""
    if not path.exists():
        return None
    image, told = read_nifti(path, identifier=str(facts.get("id", "image"))), dict(facts.get("grid") or {})
    grid = Grid(image.grid.shape, told.get("affine", image.grid.affine), told.get("unit", image.grid.unit))
    channels = tuple(facts.get("channels") or ())
    named = replace(image, grid=grid, unit=str(facts.get("unit", image.unit)))
    return replace(named, channels=channels) if len(channels) == len(image.channels) else named


def same_case(folder: RunFolder, case: Case, facts: Mapping[str, Any]) -> None:
    """Raise `InputError` where a case has other voxels than the one of the run folder."""
    stored = folder.facts_of(case.identifier)
    for name in HASHES:
        if facts.get(name) != stored.get(name):
            what = name.removesuffix("_sha256").replace("content", "voxels")
            raise InputError(f"case {case.identifier!r} must have the {what} that the run explained, got others")


def same_map(place: Place, made: Attribution | None) -> None:
    """Raise `InputError` unless a map that was made again is the one of the folder by all that decides it."""
    if made is None:
        raise InputError(f"the map could not be made again: the method has no layer {place.layer!r} any more")
    stored, now = place.request, made.provenance.request
    deciding = ("voxels", "mask", "segments", "reference", "weights", "method", "target", "prepare", "seed", "output")
    other = [name for name in deciding if stored.get(name) != now.get(name)]
    if other:
        raise InputError(f"the map could not be made again: other {', '.join(other)} than in the run")
