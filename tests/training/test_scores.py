"""Scores: scikit-learn's numbers, intervals over patients, and what has no number."""

import json

import numpy as np
import pytest
from sklearn import metrics

from voxplain.errors import InputError, OptionError
from voxplain.training.intervals import intervals
from voxplain.training.scores import classification_scores, four_scores, regression_scores, segmentation_scores

ROUNDING = 1e-12
"""Float64 sums of some hundred numbers of order one."""

NAMES = ["glioma", "meningioma", "pituitary"]


def guesses(cases: int = 120, classes: int = 3, seed: int = 0):
    """True classes and probabilities that are right more often than not."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, cases)
    table = random.random((cases, classes)) + 0.6 * np.eye(classes)[truth]
    return truth, table / table.sum(axis=1, keepdims=True)


def patients(cases: int, each: int) -> list[str]:
    return [f"p{case // each}" for case in range(cases)]


def test_the_means_over_classes_are_scikit_learns():
    truth, table = guesses()
    found = classification_scores(truth, table, NAMES, patients(120, 4))
    got = table.argmax(axis=1)
    expected = metrics.precision_recall_fscore_support(truth, got, average="macro")[:3]
    assert [found[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=ROUNDING)
    assert found["accuracy"] == pytest.approx((truth == got).mean(), abs=ROUNDING)
    assert found["confusion"] == metrics.confusion_matrix(truth, got).tolist()
    assert (found["cases"], found["patients"]) == (120, 30)


def test_with_a_positive_class_the_scores_are_its_own():
    truth, table = guesses(classes=2)
    found = classification_scores(truth, table, ["healthy", "affected"], [None] * 120, positive="affected")
    expected = metrics.precision_recall_fscore_support(truth, table.argmax(axis=1), average="binary", pos_label=1)[:3]
    assert [found[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=ROUNDING)


def test_the_positive_class_may_be_the_first():
    truth, table = guesses(classes=2)
    found = classification_scores(truth, table, ["affected", "healthy"], [None] * 120, positive="affected")
    assert found["recall"] == pytest.approx(metrics.recall_score(truth, table.argmax(axis=1), pos_label=0))


def test_each_class_has_scores_of_its_own():
    truth, table = guesses()
    found = classification_scores(truth, table, NAMES, [None] * 120)["per_class"]
    each = metrics.precision_recall_fscore_support(truth, table.argmax(axis=1))
    for number, name in enumerate(NAMES):
        row = found[name]
        assert [row[key] for key in ("precision", "recall", "f1", "cases")] == pytest.approx([e[number] for e in each])
        assert row["accuracy"] == row["recall"]


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    truth, table = guesses(classes=2)
    wide = np.c_[table, np.zeros(120)]
    three = classification_scores(truth, wide, NAMES, [None] * 120)
    two = classification_scores(truth, table, NAMES[:2], [None] * 120)
    assert [three[key] for key in ("precision", "recall", "f1")] == [two[key] for key in ("precision", "recall", "f1")]
    assert three["per_class"]["pituitary"] == {
        "cases": 0,
        "accuracy": None,
        "precision": None,
        "recall": None,
        "f1": None,
    }


def test_a_class_that_is_never_guessed_has_precision_zero():
    found = classification_scores([0, 0, 1], [[0.9, 0.1]] * 3, ["a", "b"], ["p", "q", "r"], positive="b")
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)


def test_a_positive_class_without_cases_has_no_scores():
    found = classification_scores([0, 0], [[0.9, 0.1], [0.2, 0.8]], ["a", "b"], ["p", "q"], positive="b")
    assert found["accuracy"] == 0.5
    assert [found[key] for key in ("precision", "recall", "f1")] == [None, None, None]
    assert found["intervals"]["recall"] is None


FEWER = 300
"""Replicates where a loop over them checks each."""


@pytest.fixture
def fewer(monkeypatch):
    monkeypatch.setattr("voxplain.training.intervals.REPLICATES", FEWER)


def test_intervals_hold_what_a_loop_over_patients_gives(fewer):
    truth, table = guesses(cases=40)
    groups = patients(40, 5)
    found = classification_scores(truth, table, NAMES, groups, seed=3)["intervals"]
    random = np.random.default_rng(3)
    rows = []
    for _ in range(FEWER):
        times = random.multinomial(8, np.full(8, 1 / 8))
        cases = np.concatenate([np.tile(np.arange(5 * p, 5 * p + 5), n) for p, n in enumerate(times)]).astype(int)
        rows.append(list(four_scores(truth[cases], table[cases].argmax(axis=1), NAMES).values()))
    low, high = np.percentile(rows, (2.5, 97.5), axis=0)
    for number, key in enumerate(("accuracy", "precision", "recall", "f1")):
        assert found[key] == pytest.approx([low[number], high[number]], abs=ROUNDING)


def test_cases_of_a_patient_are_drawn_together():
    # Ten patients of 20 equal cases each say as much as ten cases, not as 200.
    truth = np.zeros(200, dtype=int)
    table = np.eye(2)[np.repeat([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], 20)]
    together = classification_scores(truth, table, ["a", "b"], patients(200, 20))["intervals"]["accuracy"]
    apart = classification_scores(truth, table, ["a", "b"], [None] * 200)["intervals"]["accuracy"]
    assert together == pytest.approx([0.4, 1.0])
    assert apart[1] - apart[0] < 0.15


def test_the_interval_says_over_how_many_patients():
    truth, table = guesses()
    assert "over 30 patients" in classification_scores(truth, table, NAMES, patients(120, 4))["interval"]


def test_one_patient_has_no_interval():
    truth, table = guesses()
    found = classification_scores(truth, table, NAMES, ["p"] * 120)
    assert found["intervals"] == {}
    assert found["interval"] == "no interval: all cases come from one patient"


def test_intervals_follow_their_seed():
    truth, table = guesses()
    found = [classification_scores(truth, table, NAMES, [None] * 120, seed=seed)["intervals"] for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_intervals_do_not_depend_on_the_size_of_blocks(monkeypatch):
    sums = np.random.default_rng(0).random((7, 1))
    take = lambda replicates: {"mean": replicates[:, 0]}  # noqa: E731
    whole = intervals(sums, take, seed=0)
    monkeypatch.setattr("voxplain.training.intervals.BLOCK", 7 * 37)
    assert intervals(sums, take, seed=0) == whole


@pytest.mark.parametrize("kind", ["classification", "regression", "segmentation"])
def test_scores_are_plain_json(kind):
    truth, table = guesses()
    masks = [np.zeros((4, 4), int), np.eye(4, dtype=int)]
    found = {
        "classification": lambda: classification_scores(truth, table, NAMES, [None] * 120),
        "regression": lambda: regression_scores(table[:, 0], table[:, 1], [None] * 120),
        "segmentation": lambda: segmentation_scores(masks, masks, ["lesion"], [None, None]),
    }[kind]()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("truth", "table", "groups", "told"),
    [
        ([0, 1], [[0.5, 0.5]], [None, None], "equally many cases, at least 1, got 2 and 1"),
        ([], np.zeros((0, 2)), [], "at least 1, got 0 and 0"),
        (
            [0, 1],
            [[0.5, np.nan], [0.5, 0.5]],
            [None, None],
            "probabilities must be finite, got NaN or infinity in 1 of 2",
        ),
        ([0, np.nan], [[0.5, 0.5]] * 2, [None, None], "truth must be finite"),
        ([0, 1], [[0.2, 0.3, 0.5]] * 2, [None, None], "a column a class, got 3 for 2"),
        ([0, 2], [[0.5, 0.5]] * 2, [None, None], "class numbers from 0 to 1, got 0 to 2"),
        ([0, 0.5], [[0.5, 0.5]] * 2, [None, None], "class numbers"),
        ([0, 1], [0.5, 0.5], [None, None], r"probabilities must be \(case, class\), got shape \(2,\)"),
        ([0, 1], [[0.5, 0.5]] * 2, [None], "groups must be as many as cases, got 1 and 2"),
    ],
)
def test_wrong_classes_and_probabilities_are_refused(truth, table, groups, told):
    with pytest.raises(InputError, match=told):
        classification_scores(truth, table, ["a", "b"], groups)


def test_a_positive_class_must_be_a_class():
    with pytest.raises(OptionError, match="unknown class 'affectd'; did you mean 'affected'"):
        classification_scores([0], [[1, 0]], ["healthy", "affected"], ["p"], positive="affectd")


def ages(cases: int = 60):
    random = np.random.default_rng(0)
    truth = random.uniform(20, 80, cases)
    return truth, truth + random.normal(1, 3, cases)


def test_errors_of_a_regression_are_scikit_learns():
    truth, got = ages()
    found = regression_scores(truth, got, [None] * 60)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, got))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(truth, got))
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, got))
    assert found["bias"] == pytest.approx((got - truth).mean())


def test_intervals_of_a_regression_hold_what_a_loop_over_patients_gives(fewer):
    truth, got = ages()
    found = regression_scores(truth, got, patients(60, 6), seed=5)["intervals"]
    random = np.random.default_rng(5)
    rows = []
    for _ in range(FEWER):
        times = random.multinomial(10, np.full(10, 1 / 10))
        cases = np.concatenate([np.tile(np.arange(6 * p, 6 * p + 6), n) for p, n in enumerate(times)]).astype(int)
        both = truth[cases], got[cases]
        rows.append([metrics.mean_absolute_error(*both), metrics.r2_score(*both), np.diff(both, axis=0).mean()])
    low, high = np.percentile(rows, (2.5, 97.5), axis=0)
    assert found["mae"] == pytest.approx([low[0], high[0]], rel=1e-9)
    assert found["r2"] == pytest.approx([low[1], high[1]], rel=1e-9)
    assert found["bias"] == pytest.approx([low[2], high[2]], rel=1e-9)


def test_equal_truths_leave_nothing_to_explain():
    found = regression_scores([50.0, 50.0], [49.0, 52.0], ["p", "q"])
    assert found["r2"] is None
    assert found["intervals"]["r2"] is None
    assert found["mae"] == 1.5


def test_a_bootstrap_of_one_repeated_truth_has_no_r2():
    # One in nine draws repeats a patient three times: rounding must not make a spread of its truths, and so a huge R2.
    truth = np.repeat([0.1, 0.7, 0.4], 7)
    found = regression_scores(truth, truth + 0.1, patients(21, 7))
    assert found["intervals"]["r2"][0] > -10


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(InputError, match="prediction must be finite, got NaN or infinity in 1 of 2"):
        regression_scores([1.0, 2.0], [1.0, wrong], [None, None])


def test_truths_and_predictions_must_be_equally_many():
    with pytest.raises(InputError, match="got 2 and 3"):
        regression_scores([1.0, 2.0], [1.0, 2.0, 3.0], [None, None])


def masks(cases: int = 6, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, (cases, 7, 8, 9))
    changed = random.random(truth.shape) < 0.3
    return truth, np.where(changed, random.integers(0, 3, truth.shape), truth)


def test_dice_is_the_f1_score_of_each_label():
    truth, got = masks()
    found = segmentation_scores(truth, got, ["core", "oedema"], [None] * 6)
    pairs = [(one.ravel(), other.ravel()) for one, other in zip(truth, got, strict=True)]
    expected = np.mean([metrics.f1_score(*pair, labels=[1, 2], average=None) for pair in pairs], axis=0)
    each = [found["per_class"][name]["dice"] for name in ("core", "oedema")]
    assert each == pytest.approx(expected, abs=ROUNDING)
    assert found["dice"] == pytest.approx(expected.mean(), abs=ROUNDING)
    whole = np.mean([metrics.f1_score(one > 0, other > 0) for one, other in pairs])
    assert found["whole"] == pytest.approx(whole, abs=ROUNDING)


def test_a_label_in_neither_mask_says_nothing_and_in_one_is_a_miss():
    empty, small = np.zeros((4, 4), int), np.eye(4, dtype=int)
    found = segmentation_scores([empty, small, empty], [empty, small, small], ["lesion"], ["p", "q", "r"])
    assert found["per_class"]["lesion"] == {"cases": 2, "dice": 0.5}


def test_a_label_that_never_occurs_has_no_dice():
    empty = np.zeros((4, 4), int)
    found = segmentation_scores([empty], [empty], ["lesion"], ["p"])
    assert (found["dice"], found["whole"], found["per_class"]["lesion"]["dice"]) == (None, None, None)


def test_masks_may_come_one_by_one_and_of_different_sizes():
    made = ([np.full((n, n), 1) for n in (3, 5)], [np.tri(n, dtype=int) for n in (3, 5)])
    found = segmentation_scores(iter(made[0]), iter(made[1]), ["lesion"], ["p", "q"])
    # Dice of a triangle of n (n + 1) / 2 in a square of n²: (n² + n) / (n² + (n² + n) / 2).
    assert found["dice"] == pytest.approx((12 / 15 + 30 / 40) / 2)


def test_dice_intervals_draw_patients():
    truth, got = masks(12)
    found = segmentation_scores(truth, got, ["core", "oedema"], patients(12, 3))
    assert "over 4 patients" in found["interval"]
    low, high = found["intervals"]["dice of core"]
    assert low < found["per_class"]["core"]["dice"] < high


@pytest.mark.parametrize(
    ("truth", "got", "groups", "told"),
    [
        ([np.zeros((2, 2))], [np.zeros((2, 3))], ["p"], r"predicted mask 0 is \(2, 3\) but the true one is \(2, 2\)"),
        ([np.zeros((2, 2))], [], ["p"], "equally many masks"),
        ([np.full((2, 2), 3)], [np.zeros((2, 2))], ["p"], "true mask 0 must have labels from 0 to 1"),
        ([np.zeros((2, 2))], [np.full((2, 2), np.nan)], ["p"], "predicted mask 0 must have labels"),
        ([np.zeros((2, 2))], [np.zeros((2, 2))], ["p", "q"], "groups must be as many as cases"),
    ],
)
def test_masks_that_do_not_match_are_refused(truth, got, groups, told):
    with pytest.raises(InputError, match=told):
        segmentation_scores(truth, got, ["lesion"], groups)
