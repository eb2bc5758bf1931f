"""Which part of the study each case is in: as the table says, by the order of files, or by patient at random."""

from __future__ import annotations

from collections.abc import Sequence

from voxplain.data.case import Case
from voxplain.errors import InputError, OptionError, shortened
from voxplain.study.training_cases import part_of
from voxplain.study.training_samples import Material
from voxplain.training.recipe import Recipe
from voxplain.training.splits import first_share, held_out

TRAIN, VAL, TEST = "train", "val", "test"
"""The usual parts; a table may have more, such as 'external', which are tested on their own."""


def parts_of(cases: Sequence[Case], stuff: Material, recipe: Recipe) -> list[str]:
    """The part of every case.

    Where the table has no validation cases and the recipe makes choices by them, the recipe's share of the training
    patients becomes that part. Raises `InputError` where a part that is needed is empty or cannot be made.
    """
    told = [part_of(case) for case in cases]
    without = [case.identifier for case, part in zip(cases, told, strict=True) if part is None]
    if without and len(without) < len(cases):
        raise InputError(
            f"the column split must have a value in every row or in none, got none for {shortened(without)}"
        )
    parts = _made(stuff, recipe) if without else [str(part) for part in told]
    if VAL not in parts and watches(recipe):
        parts = _with_validation(parts, stuff, recipe)
    for part, purpose in ((TRAIN, "be trained on"), (TEST, "be tested on")):
        if part not in parts and not (part == TEST and len(set(parts)) > 1):
            raise InputError(f"there must be cases to {purpose}, got only parts {shortened(sorted(set(parts)))}")
    if stuff.classes and _balanced(stuff):
        learnt = {int(label) for label, part in zip(stuff.labels, parts, strict=True) if part == TRAIN}
        missing = [name for number, name in enumerate(stuff.classes) if number not in learnt]
        if missing:
            raise InputError(f"every class must have cases to be trained on, got none for {shortened(missing)}")
    return parts


def watches(recipe: Recipe) -> bool:
    """True where the recipe chooses by validation data: the best epoch, or when to stop."""
    return recipe.best != "last" or recipe.patience is not None


def _made(stuff: Material, recipe: Recipe) -> list[str]:
    train, _, test = recipe.shares
    if recipe.file_order:
        first, _ = first_share(stuff.labels, train / (train + test))
        chosen = set(first.tolist())
        return [TRAIN if number in chosen else TEST for number in range(len(stuff.names))]
    shares = {part: share for part, share in zip((TRAIN, VAL, TEST), recipe.shares, strict=True) if share}
    return held_out(stuff.labels, stuff.groups, shares, recipe.seed, stratify=_balanced(stuff))


def _with_validation(parts: list[str], stuff: Material, recipe: Recipe) -> list[str]:
    train, val, _ = recipe.shares
    if not val:
        raise OptionError("recipe: shares must leave something for validation with best or patience, got 0")
    places = [number for number, part in enumerate(parts) if part == TRAIN]
    shares = {TRAIN: train / (train + val), VAL: val / (train + val)}
    labels, groups = [stuff.labels[n] for n in places], [stuff.groups[n] for n in places]
    fresh = held_out(labels, groups, shares, recipe.seed, stratify=_balanced(stuff))
    made = dict(zip(places, fresh, strict=True))
    return [made.get(number, part) for number, part in enumerate(parts)]


def _balanced(stuff: Material) -> bool:
    """Masks have no classes to balance parts by."""
    return stuff.samples.truth.ndim == 1
