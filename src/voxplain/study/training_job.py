"""Fit, choose by validation data, open the test set once, and leave a folder that speaks for itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from voxplain.score.released import SHUFFLED
from voxplain.study.training_folder import TrainingFolder, prediction_rows
from voxplain.study.training_parts import TRAIN, VAL
from voxplain.study.training_samples import Material
from voxplain.training.devices import leads
from voxplain.training.fitting import Work, fast_in_bfloat16, fit_network
from voxplain.training.network import network_spec, new_network
from voxplain.training.predicting import predicted
from voxplain.training.recipe import Recipe
from voxplain.training.released import release
from voxplain.training.scores import classification_scores, regression_scores, segmentation_scores
from voxplain.training.splits import oversampled

MEMORISED = "train, shuffled labels"
"""Beside the parts' scores: how well labels in random order were learnt by heart."""

Say = Callable[[str], None]
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainedFolder:
    """A finished training."""

    folder: Path
    scores: dict[str, Any]
    """Part of the study -> scores with intervals."""
    warnings: tuple[str, ...]
    """What the leakage check found likely but not certain."""
    reused: bool = False
    """True where the same training lay there finished."""


@dataclass(frozen=True, eq=False)
class Job:
    """One training: what, on what, where."""

    name: str
    recipe: Recipe
    stuff: Material
    parts: tuple[str, ...]
    folder: TrainingFolder
    work: Work
    shuffled: bool = False
    """True where the training part's labels are in random order."""

    def say(self, line: str) -> None:
        """One line on the screen and in the log."""
        self.work.say(line)
        self.folder.log(line)

    def cases_of(self, part: str) -> list[int]:
        """The numbers of a part's cases."""
        return [number for number, one in enumerate(self.parts) if one == part]

    @property
    def spec(self) -> str:
        """The network with its number of outputs."""
        return network_spec(self.recipe, len(self.stuff.classes) or 1)

    def born(self, train: Sequence[int], seed: int) -> nn.Module:
        """A network that has learnt nothing from the cases `train` but, with a target bias, their mean."""
        mean = float(np.mean(self.stuff.samples.truth[list(train)])) if self.recipe.target_bias else None
        module = new_network(self.recipe, self.spec, mean, seed)
        if isinstance(getattr(module, "origin", None), str):
            self.say(str(module.origin))
        return module


def tested(job: Job) -> dict[str, Any]:
    """Train on one part, choose by another, and say how good the result is on every part it was not trained on."""
    recipe, samples = job.recipe, job.stuff.samples
    train, val = job.cases_of(TRAIN), job.cases_of(VAL)
    module = job.born(train, recipe.seed)
    shown = [int(n) for n in oversampled(train, job.stuff.labels, recipe.seed)] if recipe.oversample else train
    fitted = fit_network(module, samples, shown, val, recipe, job.work)
    job.folder.write_history(fitted.history)
    scores: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for part in sorted({*job.parts} - {TRAIN}, key=lambda part: (part != VAL, part)):
        numbers = job.cases_of(part)
        found = predicted(module, samples, numbers, recipe.task, recipe.batch)
        scores[part] = scored(job, numbers, found)
        rows += [] if recipe.task == "segmentation" else prediction_rows(job.stuff, numbers, part, found)
    if rows:
        job.folder.write_predictions(rows)
    if job.shuffled:
        scores[MEMORISED] = scored(job, train, predicted(module, samples, train, recipe.task, recipe.batch))
    keep(job, module, scores.get("test", {}), fitted.best_epoch)
    return scores


def scored(job: Job, numbers: Sequence[int], found: npt.NDArray[Any]) -> dict[str, Any]:
    """Scores of predictions for the cases `numbers`, with intervals over patients."""
    truth, groups = job.stuff.samples.truth, [job.stuff.groups[number] for number in numbers]
    if job.recipe.task == "segmentation":
        masks = (truth[number] for number in numbers)
        return segmentation_scores(masks, found, job.stuff.classes[1:], groups, seed=job.recipe.seed)
    if job.recipe.task == "regression":
        return regression_scores(truth[list(numbers)], found, groups, seed=job.recipe.seed)
    positive = job.recipe.positive or None
    return classification_scores(truth[list(numbers)], found, job.stuff.classes, groups, positive, job.recipe.seed)


def keep(job: Job, module: nn.Module, scores: dict[str, Any], best_epoch: int) -> None:
    """Write weights, preparation and model.toml."""
    numbers = {key: value for key, value in scores.items() if isinstance(value, int | float)}
    mixed = job.recipe.mixed and fast_in_bfloat16(job.work.device)
    facts = {
        "name": job.name,
        "data": job.stuff.digest,
        "best_epoch": best_epoch,
        "precision": "bfloat16, mixed" if mixed else "float32",
        **({"labels": SHUFFLED} if job.shuffled else {}),
        "scores": numbers,
    }
    release(job.folder.path, module, job.recipe, network=job.spec, classes=job.stuff.classes, facts=facts)


def finished(job: Job, scores: dict[str, Any], warnings: Sequence[str]) -> TrainedFolder:
    """Write the scores, which is what makes a training finished, and remove what only an unfinished one needs."""
    if leads():
        job.folder.write_scores(scores)
        for folder in sorted(job.work.folder.glob("**/phase-*")):
            if folder.is_dir() and "logs" not in folder.parts:
                shutil.rmtree(folder)
    return TrainedFolder(job.folder.path, scores, tuple(warnings))
