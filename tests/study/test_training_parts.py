"""Which case is in which part: as the table says, by the order of files, or by patient."""

from dataclasses import replace

import numpy as np
import pytest

from voxplain.data.case import Case
from voxplain.errors import InputError, OptionError
from voxplain.phantoms.base import picture
from voxplain.study.training_parts import parts_of
from voxplain.study.training_samples import material
from voxplain.training.recipe import Recipe

RECIPE = Recipe(task="classification", network="small_cnn_2d")


def cases(splits, patients=None):
    made = []
    for number, split in enumerate(splits):
        image = picture(np.full((2, 2), number / 40), f"c{number:02d}")
        group = f"p{(patients or range(len(splits)))[number]}"
        made.append(Case(image.identifier, image, label="ab"[number % 2], group=group, split=split))
    return made


def parts(splits, recipe=RECIPE, patients=None, tmp="."):
    made = cases(splits, patients)
    return parts_of(made, material(made, recipe, tmp), recipe)


def test_the_table_s_parts_hold_and_other_ones_are_kept():
    told = ["train"] * 4 + ["Validation", "val", "test", "external"]
    assert parts(told) == ["train"] * 4 + ["val", "val", "test", "external"]


def test_without_validation_cases_whole_patients_of_the_training_become_that_part():
    patients = [number // 4 for number in range(40)]
    found = parts(["train"] * 32 + ["test"] * 8, patients=patients)
    assert found[32:] == ["test"] * 8
    assert set(found[:32]) == {"train", "val"}
    assert all(len(set(found[start : start + 4])) == 1 for start in range(0, 40, 4))


def test_a_recipe_that_chooses_nothing_needs_no_validation():
    found = parts(["train"] * 6 + ["test"] * 2, replace(RECIPE, best="last"))
    assert found == ["train"] * 6 + ["test"] * 2


def test_without_parts_in_the_table_patients_are_split_by_shares():
    found = parts([None] * 40, replace(RECIPE, shares=(0.5, 0.25, 0.25)))
    assert [found.count(part) for part in ("train", "val", "test")] == [20, 10, 10]


def test_by_the_order_of_files_each_class_begins_with_training():
    recipe = replace(RECIPE, file_order=True, best="last", shares=(0.7, 0.0, 0.3))
    found = parts([None] * 20, recipe)
    assert found == ["train"] * 14 + ["test"] * 6


def test_half_filled_columns_and_missing_parts_are_told():
    with pytest.raises(InputError, match="column split must have a value in every row or in none, got none for c01"):
        parts(["train", None])
    with pytest.raises(InputError, match="there must be cases to be trained on"):
        parts(["test", "val"])
    with pytest.raises(InputError, match="there must be cases to be tested on, got only parts train"):
        parts(["train", "train"], replace(RECIPE, best="last"))
    with pytest.raises(OptionError, match="shares must leave something for validation"):
        parts(["train"] * 4 + ["test"] * 2, replace(RECIPE, shares=(0.7, 0.0, 0.3)))


def test_classes_are_called_by_their_names():
    with pytest.raises(InputError, match="class 'b' must come from at least one patient for each of train, val, test"):
        parts([None] * 20, patients=[1 if number % 2 else number + 2 for number in range(20)])
    with pytest.raises(InputError, match="every class must have cases to be trained on, got none for b"):
        parts(["train", "val", "train", "test"] * 4, patients=[number + 1 for number in range(16)])
