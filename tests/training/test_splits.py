"""Splits: whole patients, balanced classes, the study's folds, and what cannot be split."""

import numpy as np
import pytest

from voxplain.errors import InputError, OptionError
from voxplain.training.splits import first_share, grouped_folds, held_out, oversampled

THREE = {"train": 0.7, "val": 0.15, "test": 0.15}

NEAR = 0.05
"""Whole patients cannot be cut: with 60 of them a class's share is met to within about one patient in 20."""


def cohort(patients: int = 60, slices: int = 6, seed: int = 0) -> tuple[list[str], list[str]]:
    """Labels and patients of 1 to `slices` cases each; a third of the patients is of class 'rare'."""
    random = np.random.default_rng(seed)
    labels, groups = [], []
    for patient in range(patients):
        count = int(random.integers(1, slices + 1))
        labels += ["rare" if patient % 3 == 0 else "common"] * count
        groups += [f"p{patient}"] * count
    return labels, groups


def sides(groups: list, parts: list) -> list[set]:
    return [{part for own, part in zip(groups, parts, strict=True) if own == group} for group in set(groups)]


def test_a_patient_is_in_one_part_only():
    labels, groups = cohort()
    assert all(len(found) == 1 for found in sides(groups, held_out(labels, groups, THREE, seed=1)))


@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_the_asked_shares(seed):
    labels, groups = cohort(seed=seed)
    parts = np.array(held_out(labels, groups, THREE, seed=seed))
    for name in ("rare", "common"):
        own = parts[np.array(labels) == name]
        assert all(abs(np.mean(own == part) - share) < NEAR for part, share in THREE.items())


def test_without_stratification_the_parts_still_have_their_shares():
    labels, groups = cohort()
    parts = np.array(held_out(labels, groups, THREE, seed=1, stratify=False))
    assert all(abs(np.mean(parts == part) - share) < NEAR for part, share in THREE.items())


def test_unequal_shares_fall_to_the_parts_they_are_meant_for():
    parts = held_out(["a"] * 10, [None] * 10, {"test": 0.1, "train": 0.9}, seed=0)
    assert parts.count("test") == 1
    assert parts.count("train") == 9


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_balanced_by_their_size(seed):
    ages = np.random.default_rng(seed).uniform(20, 80, 200)
    parts = np.array(held_out([float(age) for age in ages], [None] * 200, THREE, seed=seed))
    for fifth in np.array_split(np.argsort(ages), 5):
        counts = [int((parts[fifth] == part).sum()) for part in THREE]
        assert np.abs(np.subtract(counts, [28, 6, 6])).max() <= 1


def test_equal_numbers_are_one_class():
    assert set(held_out([1.0] * 20, [None] * 20, THREE, seed=0)) == set(THREE)


def test_the_split_follows_its_seed():
    labels, groups = cohort()
    assert held_out(labels, groups, THREE, seed=1) == held_out(labels, groups, THREE, seed=1)
    assert held_out(labels, groups, THREE, seed=1) != held_out(labels, groups, THREE, seed=2)


def test_a_class_of_as_many_patients_as_parts_is_in_every_part():
    labels = ["common"] * 60 + ["rare"] * 3
    parts = held_out(labels, [None] * 63, THREE, seed=0)
    assert set(parts[60:]) == set(THREE)


def test_a_class_with_one_patient_is_refused():
    labels, groups = ["a"] * 10 + ["b"] * 4, [f"p{n}" for n in range(10)] + ["lonely"] * 4
    with pytest.raises(InputError, match=r"class 'b' must come from at least one patient for each of .*got 1, which"):
        held_out(labels, groups, THREE, seed=0)


def test_a_part_without_patients_is_refused():
    with pytest.raises(InputError, match=r"the cases must come from at least one patient for each.*got 2.*'test'"):
        held_out(["a", "b"], ["p0", "p1"], THREE, seed=0, stratify=False)


@pytest.mark.parametrize("shares", [{}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "test": 0.4}, {"train": np.nan}])
def test_shares_that_make_no_whole_are_refused(shares):
    with pytest.raises(OptionError, match="sum to 1"):
        held_out(["a"] * 4, [None] * 4, shares, seed=0)


def test_labels_and_groups_must_be_equally_many():
    with pytest.raises(InputError, match="got 3 and 4"):
        held_out(["a"] * 4, ["p"] * 3, THREE, seed=0)


def test_no_cases_cannot_be_split():
    with pytest.raises(InputError, match="at least one case"):
        grouped_folds([], [], 2, seed=0)


def test_ages_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="finite, got 1"):
        held_out([20.0, float("nan"), 30.0], [None] * 3, THREE, seed=0)


@pytest.mark.parametrize("kind", [str, int], ids=["names", "numbers"])
def test_folds_are_those_of_scikit_learn_given_the_same_table(kind):
    from sklearn.model_selection import StratifiedGroupKFold

    labels, names = cohort()
    groups = [name if kind is str else name[1:] for name in names]
    table = [kind(name) for name in groups]
    expected = StratifiedGroupKFold(5, shuffle=True, random_state=7).split(labels, labels, table)
    for found, wanted in zip(grouped_folds(labels, groups, 5, 7), expected, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(found, wanted, strict=True))


def test_each_case_is_held_once_and_never_with_its_patient_in_training():
    labels, groups = cohort()
    folds = grouped_folds(labels, groups, 5, seed=7)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(len(labels)))
    for train, held in folds:
        assert not {groups[n] for n in train} & {groups[n] for n in held}
        assert sorted([*train, *held]) == list(range(len(labels)))


def test_without_groups_folds_are_plainly_stratified():
    labels = ["a"] * 30 + ["b"] * 20
    for _, held in grouped_folds(labels, [None] * 50, 10, seed=1):
        assert [labels[n] for n in held].count("a") == 3
        assert [labels[n] for n in held].count("b") == 2


def test_more_folds_than_patients_are_refused():
    labels, groups = ["a", "b"] * 6, [f"p{n // 2}" for n in range(12)]
    with pytest.raises(InputError, match="got 10 folds for 6 patients"):
        grouped_folds(labels, groups, 10, seed=0)


def test_folds_refuse_a_class_with_one_patient():
    labels, groups = ["a"] * 10 + ["b"] * 4, [f"p{n}" for n in range(10)] + ["lonely"] * 4
    with pytest.raises(InputError, match="class 'b' must have at least 2 patients for folds, got 1"):
        grouped_folds(labels, groups, 5, seed=0)


def test_a_class_rarer_than_folds_is_in_every_training():
    labels = ["a"] * 40 + ["b"] * 3
    folds = grouped_folds(labels, [None] * 43, 10, seed=0)
    assert all("b" in {labels[n] for n in train} for train, _ in folds)


def test_a_fold_that_would_train_without_a_class_is_refused():
    # Both patients of class b fall into one fold, as each brings the other cases that balance it.
    labels = ["a"] * 3 + ["b"] * 3 + ["a"] * 4
    groups = ["p0"] * 5 + ["p1"] + ["p2"] * 4
    with pytest.raises(InputError, match="fold 1 of 2 would train without class 'b'; use fewer folds or another seed"):
        grouped_folds(labels, groups, 2, seed=0)


def test_a_fold_that_would_hold_nobody_is_refused():
    labels = ["a"] * 11 + ["b"] * 13
    groups = ["p0"] * 4 + ["p1"] * 14 + ["p2"] * 6
    with pytest.raises(InputError, match="fold 1 of 3 would have no validation cases; use fewer folds"):
        grouped_folds(labels, groups, 3, seed=0)


def test_one_fold_is_refused():
    with pytest.raises(OptionError, match="at least 2, got 1"):
        grouped_folds(["a", "b"], [None, None], 1, seed=0)


def test_rare_cases_are_repeated_until_classes_are_equal():
    labels = ["a"] * 6 + ["b"] * 2 + ["c"] * 3
    cases = [0, 1, 2, 3, 6, 7, 8]
    found = oversampled(cases, labels, seed=3)
    assert found[: len(cases)].tolist() == cases
    assert set(found) == set(cases)
    assert [sum(labels[n] == name for n in found) for name in "abc"] == [4, 4, 4]


def test_repeats_are_those_of_imbalanced_learn():
    # RandomOverSampler(random_state=3).fit_resample on these labels, imbalanced-learn 0.14.
    found = oversampled(np.arange(14), ["a"] * 8 + ["b"] * 4 + ["c"] * 2, seed=3)
    assert found[14:].tolist() == [10, 8, 9, 11, 12, 12, 12, 13, 13, 13]


def test_repeats_follow_their_seed():
    labels = ["a"] * 40 + ["b"] * 10
    draws = [oversampled(np.arange(50), labels, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_balanced_classes_are_left_alone():
    assert oversampled([3, 1, 0], ["a", "b", "c", "c"], seed=0).tolist() == [3, 1, 0]


def test_the_first_share_of_each_class_keeps_the_order():
    labels = ["pa", "lateral", "pa", "pa", "lateral", "pa", "lateral"]
    first, rest = first_share(labels, 0.7)
    assert first.tolist() == [0, 1, 2, 3, 4]
    assert rest.tolist() == [5, 6]


def test_the_first_share_rounds_half_up():
    first, _ = first_share(["pa"] * 13 + ["lateral"] * 5, 0.7)
    assert len(first) == 9 + 4


def test_a_first_share_without_rest_is_refused():
    with pytest.raises(InputError, match=r"class 'lateral' must have cases on both sides of 0\.7, got 1"):
        first_share(["pa"] * 5 + ["lateral"], 0.7)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_first_share_is_a_share(share):
    with pytest.raises(OptionError, match="between 0 and 1"):
        first_share(["pa"] * 5, share)
