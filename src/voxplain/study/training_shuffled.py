"""A training on labels in random order, which leaves nothing to learn but the cases by heart. Adebayo et al. 2018."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from voxplain.errors import InputError, OptionError
from voxplain.study.training_parts import TRAIN
from voxplain.study.training_samples import Material
from voxplain.training.augmentation import stream
from voxplain.training.recipe import Recipe

LABELS = 3
"""Keeps the order of the labels apart from everything else that a recipe's seed decides."""


def check_shuffled(recipe: Recipe) -> None:
    """Raise `OptionError` where labels in random order have no sense: masks, and cross-validation."""
    if recipe.task == "segmentation":
        raise OptionError(
            "shuffled labels must be classes or numbers, got masks: one of another case says where nothing is"
        )
    if recipe.outer_folds:
        raise OptionError("shuffled labels need one training part, got a cross-validation; --set outer_folds=0")


def shuffled(stuff: Material, parts: Sequence[str], seed: int) -> Material:
    """The same cases with the labels of the training part dealt out again; other parts keep theirs.

    Raises `InputError` where no case got another label.
    """
    train = [number for number, part in enumerate(parts) if part == TRAIN]
    truth = stuff.samples.truth.copy()
    truth[train] = truth[np.random.default_rng(stream(seed, LABELS)).permutation(train)]
    if np.array_equal(truth, stuff.samples.truth):
        raise InputError(f"shuffled labels must differ from the true ones, got the same for all {len(train)} cases")
    return replace(stuff, samples=replace(stuff.samples, truth=truth))


def memorising(recipe: Recipe) -> Recipe:
    """The recipe trained to its last epoch: by true validation labels the best one is where nothing was learnt yet."""
    return replace(recipe, best="last", patience=None)
