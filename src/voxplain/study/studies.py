"""The five studies: what each of them is, the folder that it fills, and how one is found by its name."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tomllib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from voxplain.data.case import Case
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError, OptionError, unknown
from voxplain.phantoms import phantom
from voxplain.spec import Options, Spec, build, parse, table_of
from voxplain.study.run_folder import RunFolder
from voxplain.study.simulate import simulate
from voxplain.study.train import train
from voxplain.study.training_folder import PREDICTIONS
from voxplain.study.training_job import TrainedFolder
from voxplain.toml import toml
from voxplain.training.recipe import Recipe
from voxplain.training.recipe_files import read_recipe

Say = Callable[[str], None]
Size = Literal["small", "paper"]

STUDIES = {
    "neuroxai": "study_neuroxai:NeuroxaiStudy",
    "myopathy": "study_myopathy:MyopathyStudy",
    "xception": "study_xception:XceptionStudy",
    "pumpkin": "study_pumpkin:PumpkinStudy",
    "chest-view": "study_chest_view:ChestViewStudy",
}
"""Name -> module below `voxplain.study` and its class; `voxplain.report.<module>` draws the figures."""

REQUEST, NUMBERS, DATA, TRAINED = "study.toml", "numbers.json", "data", "trained"
"""What was asked for and what came out of it; usual folders of the simulated data and of the training."""

HEAD = re.compile(r"[\w-]+")
"""The name at the front of a spec; a study's name may have a dash."""


@dataclass(frozen=True, kw_only=True)
class Study(Options):
    """Base of all studies: a frozen record of options, and a way from nothing to a folder of arrays and tables."""

    name: ClassVar[str]
    title: ClassVar[str]
    """One sentence on what is studied, for listings."""

    size: Size = "small"
    """small: at most 15 minutes on two cores; paper: the source's own sizes."""
    data: Path | None = None
    """Folder or table in the source's layout; none: phantoms are simulated."""
    seed: int = 0
    """Everything random follows from this."""
    device: str = "auto"
    """auto, cpu, cuda, mps ..."""

    @abstractmethod
    def run(self, folder: Path, say: Say) -> None:
        """Do all steps, keep those that lie finished in `folder`, and end with `write_numbers`."""

    def recipe(self, name: str, **settings: Any) -> Recipe:
        """A shipped recipe in this study's size, with `settings` on top; [data] of the recipe holds for given data."""
        return read_recipe(name, self.size, settings, with_data=self.data is not None)

    def source(self, recipe: Recipe, folder: Path, say: Say) -> Path:
        """The given data, or `recipe.n` phantoms of the recipe in `folder`, made now or before."""
        if self.data is not None:
            return Path(self.data)
        simulation = phantom(recipe.phantom)
        say(f"simulating {recipe.n} {simulation.name}")
        return simulate(simulation, recipe.n, seed=recipe.seed, out=folder).folder

    def trained(self, recipe: Recipe, source: Path, folder: Path, say: Say) -> TrainedFolder:
        """A training in `folder`; a finished one is kept, one that was cut short goes on from its last whole epoch."""
        return train(recipe, source, out=folder, device=self.device, say=say)

    @property
    def place(self) -> str:
        """The device on which maps are made, as torch names it."""
        import torch

        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    def _check(self) -> None:
        self._require(self.seed >= 0, "seed", "at least 0")


@dataclass(frozen=True)
class StudyFolder:
    """A folder with a finished study."""

    path: Path
    study: Study
    numbers: dict[str, Any]
    """What was measured, by name."""
    reused: bool = False
    """True where the same study lay there finished."""


def study_of(source: str | Study, **options: Any) -> Study:
    """The study of a name or a spec such as "pumpkin(growth_mode='eternal')", with `options` on top.

    Raises `OptionError` for unknown names, options and values.
    """
    if isinstance(source, Study):
        if options:
            raise OptionError(f"study: options of {source.name} must be given when it is made")
        return source
    head = HEAD.match(source.strip())
    name = head[0].replace("_", "-") if head else source
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    spec = parse(source.strip().replace(head[0], name.replace("-", "_"), 1) if head else source, "study")
    double = sorted({*spec.options} & {*options})
    if double:
        raise OptionError(f"{name}: {double[0]} must be given once, got it in the spec and as an option")
    given = {**spec.options, **options}
    if isinstance(given.get("data"), str):
        given["data"] = Path(given["data"])
    built: Study = build(Spec(name, spec.arguments, given), {name: study_class(name)}, "study")
    return built


def study_class(name: str) -> type[Study]:
    """The class of a study; its module is imported now."""
    module, _, inside = STUDIES[name].partition(":")
    found: type[Study] = getattr(import_module(f"voxplain.study.{module}"), inside)
    return found


def run_study(study: Study, out: str | Path | None = None, *, say: Say = lambda line: None) -> StudyFolder:
    """Run a study into the folder `out` (left out: a name that equal requests share); a finished one is reused.

    Raises `FileError` where the folder cannot be written or the data do not exist, `InputError` where it holds
    something else.
    """
    if study.data is not None and not Path(study.data).exists():
        raise FileError(f"data {str(study.data)!r} does not exist")
    asked = _request(study)
    folder = Path(out) if out is not None else Path("studies", f"{study.name}-{asked['hash'][:8]}")
    _begin(folder, asked)
    reused = (folder / NUMBERS).is_file()
    if not reused:
        study.run(folder, say)
    return StudyFolder(folder, study, read_numbers(folder), reused)


def tested_cases(trained: Path, cases: Sequence[Case]) -> list[Case]:
    """The cases of a training's test part, in the order of its table of predictions."""
    known = {case.identifier: case for case in cases}
    with (trained / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        return [known[row["id"]] for row in csv.DictReader(stream) if row["part"] == "test"]


def write_numbers(folder: Path, numbers: Mapping[str, Any]) -> None:
    """The numbers of a study: its last file, which makes it finished."""
    with written_beside(folder / NUMBERS) as beside:
        beside.write_text(json_text(dict(numbers), indent=1) + "\n", "utf-8")


def read_numbers(folder: Path) -> dict[str, Any]:
    """What `write_numbers` wrote; raises `FileError` where there is nothing readable."""
    try:
        found: dict[str, Any] = json.loads((folder / NUMBERS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{NUMBERS!r} in {folder.name!r} must be readable JSON; remove it to run again") from error
    return found


def name_in(folder: Path) -> str:
    """The name of the study that a folder holds; raises `FileError` where it holds none."""
    name = str(_request_in(folder).get("study", {}).get("name"))
    if name not in STUDIES:
        raise FileError(f"folder {folder.name!r} must be one of voxplain study, got something else")
    return name


def _request(study: Study) -> dict[str, Any]:
    """All that decides the numbers but the device, as plain values, with its hash; data by the hash of their place."""
    told = {key: value for key, value in table_of(study).items() if key not in ("data", "device")}
    if study.data is not None:
        told["data_place"] = hashlib.sha256(str(Path(study.data).resolve()).encode()).hexdigest()[:16]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return {"hash": digest[:16], "study": told}


def _begin(folder: Path, asked: Mapping[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise FileError(f"output folder {folder.name!r} must be a folder, got a file")
    if (folder / REQUEST).exists():
        if _request_in(folder).get("hash") != asked["hash"]:
            raise InputError(f"output folder {folder.name!r} holds another study; choose another --out")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"output folder {folder.name!r} must be empty or of the same study; choose another --out")
    RunFolder(folder).probe()
    with written_beside(folder / REQUEST) as beside:
        beside.write_text(toml(asked), "utf-8")


def _request_in(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / REQUEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{REQUEST!r} in {folder.name!r} must be readable TOML; choose another --out") from error


SIZES: tuple[str, ...] = get_args(Size)
"""The sizes by name."""
