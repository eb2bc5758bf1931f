"""The study's cross-validation on a made-up training: who is where, how long, what is kept and what is written."""

import json

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from voxplain.errors import FileError, InputError
from voxplain.training.cross_validation import CrossValidation, FoldResult, cross_validate, divided
from voxplain.training.results import final_results, fold_results, write_results
from voxplain.training.scores import classification_scores
from voxplain.training.splits import oversampled

FOUR = ["accuracy", "precision", "recall", "f1"]
SETTINGS = {"learning rate": 0.001, "momentum": 0.9, "patience": 5, "delta": 0.006}


def cohort(patients: int = 60) -> tuple[list[int], list[str]]:
    """Two to six cases of each patient, those of different patients mixed; two thirds of the patients are affected."""
    rows = [(int(patient % 3 > 0), f"p{patient:02d}") for patient in range(patients) for _ in range(2 + patient % 5)]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[n][0] for n in order], [rows[n][1] for n in order]


class Trainings:
    """Stands for the networks: remembers every call, stops after 10 + fold epochs, errs on every seventh case."""

    def __init__(self, labels: list[int], killed_at: int | None = None) -> None:
        self.truth = np.array(labels)
        self.killed_at = killed_at
        self.folds: dict[int, tuple] = {}
        self.final: list[tuple] = []

    def answers(self, cases: np.ndarray) -> np.ndarray:
        guess = np.where(cases % 7 == 0, 1 - self.truth[cases], self.truth[cases])
        return 0.1 / 3 + 0.9 * np.eye(2)[guess]

    def fit(self, train, held, fold) -> FoldResult:
        if fold == self.killed_at:
            raise KeyboardInterrupt
        self.folds[fold] = (train, held)
        losses = [1 / (epoch + 3) for epoch in range(10 + fold)]
        return FoldResult(probabilities=self.answers(held), epochs=10 + fold, history={"train_loss": losses})

    def retrain(self, train, test, epochs) -> FoldResult:
        self.final.append((train, test, epochs))
        return FoldResult(probabilities=self.answers(test), epochs=epochs, history={"train_loss": [0.1] * epochs})


def run(folder, trainings: Trainings, labels=None, groups=None, **changed):
    own_labels, own_groups = cohort()
    rest = {
        "class_names": ["healthy", "affected"],
        "positive": "affected",
        "title": "resnet50v",
        "settings": SETTINGS,
    }
    return cross_validate(
        labels or own_labels,
        groups or own_groups,
        fit=trainings.fit,
        retrain=trainings.retrain,
        folder=folder,
        **(rest | changed),
    )


def replace_epochs(result: FoldResult, epochs: int) -> FoldResult:
    return FoldResult(probabilities=result.probabilities, epochs=epochs, history=result.history)


def read(folder, title: str) -> dict:
    return json.loads((folder / title / "results.json").read_text())


def test_the_first_of_five_outer_folds_of_seed_7_is_the_test_set():
    labels, groups = cohort()
    division = divided(labels, groups, CrossValidation())
    train, test = next(StratifiedGroupKFold(5, shuffle=True, random_state=7).split(labels, labels, groups))
    assert np.array_equal(division.train, train)
    assert np.array_equal(division.test, test)


def test_the_inner_folds_are_ten_of_seed_1_on_the_other_cases():
    labels, groups = cohort()
    division = divided(labels, groups, CrossValidation())
    train = division.train
    inner = StratifiedGroupKFold(10, shuffle=True, random_state=1).split(
        train, [labels[n] for n in train], [groups[n] for n in train]
    )
    assert len(division.folds) == 10
    for (fitted, held), (expected_fitted, expected_held) in zip(division.folds, inner, strict=True):
        assert np.array_equal(fitted, train[expected_fitted])
        assert np.array_equal(held, train[expected_held])


def test_no_patient_is_trained_on_and_tested():
    labels, groups = cohort()
    division = divided(labels, groups, CrossValidation())
    for train, held in [(division.train, division.test), *division.folds]:
        assert not {groups[n] for n in train} & {groups[n] for n in held}
    assert not {n for fitted, held in division.folds for n in (*fitted, *held)} & set(division.test)


def test_parts_say_where_each_case_is_held_out():
    labels, groups = cohort()
    division = divided(labels, groups, CrossValidation())
    assert set(division.parts) == {"test", *(f"fold {n}" for n in range(10))}
    assert {n for n, part in enumerate(division.parts) if part == "fold 3"} == set(division.folds[3][1])
    assert {n for n, part in enumerate(division.parts) if part == "test"} == set(division.test)


def test_training_cases_are_oversampled_by_the_folds_number_and_held_ones_never(tmp_path):
    labels, _ = cohort()
    trainings = Trainings(labels)
    division = run(tmp_path, trainings).division
    for number, (train, held) in enumerate(division.folds):
        assert np.array_equal(trainings.folds[number][0], oversampled(train, labels, number))
        assert np.array_equal(trainings.folds[number][1], held)
    assert np.array_equal(trainings.final[0][0], oversampled(division.train, labels, 0))
    assert np.array_equal(trainings.final[0][1], division.test)


def test_oversampling_can_be_left_out(tmp_path):
    trainings = Trainings(cohort()[0])
    division = run(tmp_path, trainings, options=CrossValidation(oversample=False)).division
    assert np.array_equal(trainings.folds[2][0], division.folds[2][0])


def test_the_final_run_trains_once_for_the_rounded_mean_of_the_stopping_epochs(tmp_path):
    trainings = Trainings(cohort()[0])
    found = run(tmp_path, trainings)
    assert [fold.epochs for fold in found.folds] == list(range(10, 20))
    assert [epochs for _, _, epochs in trainings.final] == [round(14.5)]
    assert found.final.epochs == 14


def test_the_folds_document_has_the_studys_keys_and_no_others(tmp_path):
    run(tmp_path, Trainings(cohort()[0]))
    document = read(tmp_path, "train-resnet50v")
    assert list(document) == [
        *("title", "learning rate", "momentum", "patience", "delta", "final", "variance"),
        *map(str, range(10)),
    ]
    assert list(document["final"]) == [*FOUR, "avg epochs"]
    assert list(document["variance"]) == FOUR
    assert all(list(document[str(fold)]) == FOUR for fold in range(10))
    assert {key: document[key] for key in SETTINGS} == SETTINGS
    assert document["title"] == "train-resnet50v"
    assert document["final"]["avg epochs"] == 14.5


def test_the_final_document_has_the_studys_keys_and_no_others(tmp_path):
    run(tmp_path, Trainings(cohort()[0]))
    document = read(tmp_path, "final-resnet50v")
    assert list(document) == ["title", "learning rate", "momentum", "epochs", "final"]
    assert list(document["final"]) == FOUR
    assert document["title"] == "final-resnet50v"
    assert document["epochs"] == 14


def test_results_are_the_scores_of_the_answers_on_held_cases(tmp_path):
    labels, _ = cohort()
    division = run(tmp_path, Trainings(labels)).division
    wrong = np.arange(len(labels)) % 7 == 0
    assert read(tmp_path, "final-resnet50v")["final"]["accuracy"] == pytest.approx(1 - wrong[division.test].mean())
    held = division.folds[4][1]
    affected = held[np.array(labels)[held] == 1]
    assert read(tmp_path, "train-resnet50v")["4"]["accuracy"] == pytest.approx(1 - wrong[held].mean())
    assert read(tmp_path, "train-resnet50v")["4"]["recall"] == pytest.approx(1 - wrong[affected].mean())


def test_scores_with_intervals_come_from_all_folds_and_from_the_test_set(tmp_path):
    labels, groups = cohort()
    trainings = Trainings(labels)
    found = run(tmp_path, trainings)
    for name, cases in (("folds", found.division.train), ("final", found.division.test)):
        own = [groups[n] for n in cases]
        expected = classification_scores(
            np.array(labels)[cases], trainings.answers(cases), ["healthy", "affected"], own, positive="affected"
        )
        assert found.scores[name] == expected


def test_a_killed_run_goes_on_where_it_was_with_the_same_result(tmp_path):
    labels, _ = cohort()
    whole = run(tmp_path / "whole", Trainings(labels))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", Trainings(labels, killed_at=6))
    later = Trainings(labels)
    found = run(tmp_path / "killed", later)
    assert sorted(later.folds) == [6, 7, 8, 9]
    assert found.scores == whole.scores
    for title in ("train-resnet50v", "final-resnet50v"):
        first, second = ((tmp_path / name / title / "results.json").read_bytes() for name in ("whole", "killed"))
        assert first == second
    assert found.folds[2].history == whole.folds[2].history
    assert np.array_equal(found.folds[2].probabilities, whole.folds[2].probabilities)


def test_a_finished_run_trains_nothing_again(tmp_path):
    labels, _ = cohort()
    run(tmp_path, Trainings(labels))
    again = Trainings(labels)
    run(tmp_path, again)
    assert (again.folds, again.final) == ({}, [])


def test_a_final_run_of_another_length_is_not_reused(tmp_path):
    labels, _ = cohort()
    run(tmp_path, Trainings(labels))
    for fold in range(3):
        (tmp_path / "folds" / f"fold-{fold}.json").unlink()
    later = Trainings(labels)
    fit = later.fit
    later.fit = lambda train, held, fold: replace_epochs(fit(train, held, fold), 40)
    assert run(tmp_path, later).final.epochs == 23
    assert len(later.final) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"request": "another recipe"},
        {"options": CrossValidation(seed=2)},
        {"groups": [f"{name}x" for name in cohort()[1]]},
        {"labels": [1 - label for label in cohort()[0]]},
        {"class_names": ["affected", "healthy"]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_folds_of_another_request_are_refused(tmp_path, changed):
    labels, _ = cohort()
    run(tmp_path, Trainings(labels))
    with pytest.raises(InputError, match="holds folds of other cases or another recipe; choose another folder"):
        run(tmp_path, Trainings(labels), **changed)


def test_no_patients_name_is_kept(tmp_path):
    run(tmp_path, Trainings(cohort()[0]))
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 13
    assert not any("p07" in text for text in written)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"request": 1}'])
def test_a_damaged_fold_is_an_error_that_names_it(tmp_path, text):
    labels, _ = cohort()
    run(tmp_path, Trainings(labels))
    (tmp_path / "folds" / "fold-3.json").write_text(text)
    with pytest.raises(FileError, match=r"fold-3\.json' must be a finished fold, got something else; delete it"):
        run(tmp_path, Trainings(labels))


def test_a_history_with_a_gap_comes_back_with_it(tmp_path):
    trainings = Trainings(cohort()[0])
    fit = trainings.fit
    trainings.fit = lambda train, held, fold: FoldResult(
        probabilities=fit(train, held, fold).probabilities, epochs=2, history={"val_loss": [float("nan"), 0.5]}
    )
    history = run(tmp_path, trainings).folds[0].history["val_loss"]
    assert np.isnan(history[0])
    assert history[1] == 0.5


@pytest.mark.parametrize(
    ("table", "epochs", "told"),
    [
        (lambda right: right[:-1], 3, r"fold-0: probabilities must be \(case, class\) = \(\d+, 2\), got \(\d+, 2\)"),
        (lambda right: right * np.nan, 3, "fold-0: probabilities must be finite"),
        (lambda right: right, 0, "fold-0: epochs must be at least 1"),
    ],
)
def test_a_training_that_gives_nonsense_is_refused_and_not_kept(tmp_path, table, epochs, told):
    trainings = Trainings(cohort()[0])
    answers = trainings.answers
    trainings.fit = lambda train, held, fold: FoldResult(probabilities=table(answers(held)), epochs=epochs, history={})
    with pytest.raises(InputError, match=told):
        run(tmp_path, trainings)
    assert not list(tmp_path.rglob("*.json"))


def test_too_few_patients_for_the_inner_folds_are_refused_before_any_training(tmp_path):
    labels, groups = cohort(patients=9)
    trainings = Trainings(labels)
    with pytest.raises(InputError, match="got 10 folds for 8 patients"):
        run(tmp_path, trainings, labels=labels, groups=groups)
    assert trainings.folds == {}


def test_variance_is_that_of_the_population():
    folds = [dict.fromkeys(FOUR, value) for value in (0.5, 1.0)]
    document = fold_results("t", SETTINGS, folds, [3, 4])
    assert document["variance"] == dict.fromkeys(FOUR, 0.0625)
    assert document["final"] == dict.fromkeys(FOUR, 0.75) | {"avg epochs": 3.5}


def test_a_fold_without_a_score_is_left_out_of_its_mean():
    folds = [dict.fromkeys(FOUR, 0.5), dict.fromkeys(FOUR, 0.5) | {"recall": None}]
    document = fold_results("t", SETTINGS, folds, [3, 3])
    assert document["final"]["recall"] == 0.5
    assert document["1"]["recall"] is None


def test_results_are_written_into_a_folder_of_their_title(tmp_path):
    path = write_results(tmp_path, final_results("final-x", SETTINGS, 7, dict.fromkeys(FOUR, 1.0)))
    assert path == tmp_path / "final-x" / "results.json"
    assert json.loads(path.read_text())["epochs"] == 7


def test_results_need_all_settings_of_the_study():
    with pytest.raises(InputError, match="got none for 'momentum'"):
        final_results("t", {"learning rate": 0.1}, 7, dict.fromkeys(FOUR, 1.0))


def test_results_need_as_many_epochs_as_folds():
    with pytest.raises(InputError, match="got 1 and 2"):
        fold_results("t", SETTINGS, [dict.fromkeys(FOUR, 1.0)], [3, 4])
