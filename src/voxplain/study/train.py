"""A training from start to end: data, leakage check, fit, one test, and a folder that `voxplain explain` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxplain.errors import OptionError
from voxplain.phantoms import phantom
from voxplain.score.released import SHUFFLED
from voxplain.study.simulate import default_folder, simulate
from voxplain.study.training_cases import training_cases
from voxplain.study.training_folder import TrainingFolder, request
from voxplain.study.training_folds import fold_parts, tested_by_folds
from voxplain.study.training_job import Job, Say, Tick, TrainedFolder, finished, tested
from voxplain.study.training_parts import parts_of
from voxplain.study.training_samples import Material, material
from voxplain.study.training_shuffled import check_shuffled, memorising, shuffled
from voxplain.training.devices import leads
from voxplain.training.fitting import Work
from voxplain.training.leakage import check_leakage
from voxplain.training.recipe import Recipe
from voxplain.training.recipe_files import merged, read_recipe

FITTING, INPUTS = "fit", "inputs"
"""Folders in that of the training: checkpoints and logs; inputs too large for memory."""


def train(
    recipe: str | Recipe,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    size: str = "small",
    device: str = "auto",
    devices: str = "auto",
    mlflow: bool = False,
    shuffle_labels: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
    **settings: Any,
) -> TrainedFolder:
    """Train as a recipe (a shipped name, a TOML file or a `Recipe`) with `settings` on top says, into the folder `out`.

    Without `data` (a folder or table) the recipe's phantom is simulated. Weights, preparation, history, scores with
    intervals and predictions are written; a training that was cut short goes on from its last whole epoch, a finished
    one is reused. With `shuffle_labels` the labels of the training part are dealt out again, by the recipe's seed, and
    the last epoch is kept: a network for `label_randomisation`, which its folder says. Raises `InputError` for leaks
    between the parts and for losses that are no numbers.
    """
    say, tick = (say, tick) if leads() else (lambda line: None, lambda done, total: None)
    name = "recipe" if isinstance(recipe, Recipe) else Path(recipe).stem
    chosen = _chosen(recipe, size, settings, with_data=data is not None)
    if shuffle_labels:
        check_shuffled(chosen)
    source = Path(data) if data is not None else _simulated(chosen, say, tick)
    say(f"{name}: reading {source.name}")
    cases = training_cases(source, chosen)
    place = Path(out) if out is not None else None
    stuff = material(cases, chosen, (place or Path("trained")) / INPUTS, tick)
    parts = fold_parts(stuff, chosen) if chosen.outer_folds else parts_of(cases, stuff, chosen)
    if shuffle_labels:
        name, chosen, stuff = f"{name}-{SHUFFLED}", memorising(chosen), shuffled(stuff, parts, chosen.seed)
    asked = request(name, chosen, stuff, parts, labels=SHUFFLED if shuffle_labels else "")
    folder = TrainingFolder.at(place or Path("trained", f"{name}-{asked['hash'][:8]}"), asked)
    if folder.finished:
        return TrainedFolder(folder.path, folder.scores(), (), reused=True)
    doubts = _doubts(name, stuff, parts, say)
    where = folder.path / FITTING
    work = Work(folder=where, device=device, devices=devices, mlflow=mlflow, title=name, say=say, tick=tick)
    job = Job(name, chosen, stuff, tuple(parts), folder, work, shuffle_labels)
    scores = tested_by_folds(job) if chosen.outer_folds else tested(job)
    return finished(job, scores, doubts)


def _chosen(recipe: str | Recipe, size: str, settings: dict[str, Any], *, with_data: bool) -> Recipe:
    """The recipe with the settings on top."""
    if isinstance(recipe, Recipe):
        return Recipe.of(merged(recipe.table(), settings))
    return read_recipe(recipe, size, settings, with_data=with_data)


def _doubts(name: str, stuff: Material, parts: Sequence[str], say: Say) -> list[str]:
    """What may have leaked between the parts; raises `InputError` for what has."""
    say(f"{name}: looking for patients and pictures on both sides of the split")
    doubts = check_leakage(lambda number: stuff.samples.inputs[number], stuff.groups, parts, stuff.names)
    for doubt in doubts:
        say(f"warning: {doubt}")
    return doubts


def _simulated(recipe: Recipe, say: Say, tick: Tick) -> Path:
    """The folder of the recipe's phantom, made now or before."""
    if not recipe.phantom:
        raise OptionError("this recipe has no phantom to be trained on; pass --data")
    simulation = phantom(recipe.phantom)
    folder = default_folder(simulation, recipe.n, recipe.seed)
    say(f"simulating {recipe.n} {simulation.name} in {folder}")
    return simulate(simulation, recipe.n, seed=recipe.seed, out=folder, tick=tick).folder
