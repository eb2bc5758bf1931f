"""The grouped cross-validation of the myopathy study, run on a recipe's network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from voxplain.study.training_folder import prediction_rows
from voxplain.study.training_job import Job, keep
from voxplain.study.training_samples import Material
from voxplain.training.augmentation import stream
from voxplain.training.cross_validation import CrossValidation, FoldResult, cross_validate, divided
from voxplain.training.fitting import Fitted, fit_network
from voxplain.training.predicting import predicted
from voxplain.training.recipe import Recipe
from voxplain.training.splits import Indices

FINAL = "final"
"""Folder of the last training's checkpoints, beside those of the folds."""


def options_of(recipe: Recipe) -> CrossValidation:
    """How the recipe splits."""
    return CrossValidation(
        outer_folds=recipe.outer_folds,
        outer_seed=recipe.outer_seed,
        folds=recipe.inner_folds,
        seed=recipe.inner_seed,
        oversample=recipe.oversample,
    )


def fold_parts(stuff: Material, recipe: Recipe) -> list[str]:
    """Where each case is seen without having been trained on: 'test', or the fold that validates on it."""
    return divided(stuff.labels, stuff.groups, options_of(recipe)).parts


def tested_by_folds(job: Job) -> dict[str, Any]:
    """Cross-validate, train once more for the mean number of epochs, test once; scores of the folds and of the test."""
    recipe = job.recipe
    found = cross_validate(
        job.stuff.labels,
        job.stuff.groups,
        fit=lambda train, val, fold: _fold(job, train, val, fold),
        retrain=lambda train, test, epochs: _final(job, train, test, epochs),
        class_names=job.stuff.classes,
        folder=job.folder.path,
        title=job.name,
        settings=_settings(recipe),
        positive=recipe.positive or None,
        options=options_of(recipe),
        request=str(recipe.table()),
    )
    runs = [*enumerate(found.folds), (len(found.folds), found.final)]
    job.folder.write_history([{"fold": float(fold), **row} for fold, run in runs for row in _rows(run.history)])
    rows = prediction_rows(job.stuff, found.division.test.tolist(), "test", found.final.probabilities)
    for fold, (_, held) in enumerate(found.division.folds):
        name = f"fold {fold}"
        rows += prediction_rows(job.stuff, held.tolist(), name, found.folds[fold].probabilities)
    job.folder.write_predictions(rows)
    return {"folds": found.scores["folds"], "test": found.scores["final"]}


def _settings(recipe: Recipe) -> dict[str, float]:
    """The numbers that the study's results repeat."""
    rate = recipe.phases()[-1].rate
    patience = float(recipe.patience or 0)
    return {"learning rate": rate, "momentum": recipe.momentum, "patience": patience, "delta": recipe.delta}


def _fold(job: Job, train: Indices, val: Indices, fold: int) -> FoldResult:
    """One inner fold: what the epoch that the recipe calls best says about the validation cases."""
    return _fitted(
        job, job.recipe, train.tolist(), val.tolist(), val.tolist(), f"fold-{fold}", stream(job.recipe.seed, fold)
    )[0]


def _final(job: Job, train: Indices, test: Indices, epochs: int) -> FoldResult:
    """All cases of the folds for a fixed number of epochs, without validation; its weights are those that are kept."""
    recipe = replace(job.recipe, best="last", patience=None, **_lasting(job.recipe, epochs))
    result, module = _fitted(job, recipe, train.tolist(), (), test.tolist(), FINAL, job.recipe.seed)
    keep(job, module, {}, epochs)
    return result


def _lasting(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """The option that sets the last phase's length."""
    return {"epochs": epochs} if recipe.epochs else {"frozen_epochs": epochs}


def _fitted(
    job: Job, recipe: Recipe, train: Sequence[int], val: Sequence[int], shown: Sequence[int], name: str, seed: int
) -> tuple[FoldResult, Any]:
    module = job.born(train, seed)
    work = replace(job.work, folder=job.work.folder / name, title=f"{job.name} {name}")
    own = replace(recipe, seed=seed)
    fitted = fit_network(module, job.stuff.samples, train, val, own, work)
    found = predicted(module, job.stuff.samples, shown, recipe.task, recipe.batch)
    return FoldResult(probabilities=found, epochs=fitted.epochs, history=_columns(fitted)), module


def _columns(fitted: Fitted) -> dict[str, list[float]]:
    names = dict.fromkeys(name for row in fitted.history for name in row)
    return {name: [row.get(name, float("nan")) for row in fitted.history] for name in names}


def _rows(history: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """Columns as rows; a history without epochs has none."""
    length = len(next(iter(history.values()), ()))
    return [{name: values[n] for name, values in history.items()} for n in range(length)]
