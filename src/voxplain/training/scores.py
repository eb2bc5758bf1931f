"""How good a model is, in numbers with 95 % intervals over patients (percentile bootstrap)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError, missing_extra, unknown
from voxplain.training.intervals import Floats, intervals, ratio
from voxplain.training.splits import patient_numbers

Scores = dict[str, float | None]
"""Numbers under their names; None is what cannot be computed."""

FOUR = ("accuracy", "precision", "recall", "f1")
"""Scores of a classifier that results list."""

SPREAD = 1e-12
"""Below this share of the squared sum, a spread of truths is rounding in float64."""


def classification_scores(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    groups: Sequence[str | None],
    positive: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of `probabilities` (case, class) against the true class numbers `truth` (case,).

    Keys: cases, patients, accuracy, precision, recall, f1 (of the class named `positive`, else means over the classes
    that occur), positive, per_class {name: {cases, accuracy, precision, recall, f1}}, classes, confusion
    [truth][prediction], intervals {key: [low, high]} of the four and of each class's accuracy as "accuracy of <name>",
    and interval: what these are, or why there are none. What cannot be computed is None.
    """
    numbers, guesses, patients = _classified(truth, probabilities, class_names, groups)
    found = four_scores(numbers, guesses, class_names, positive)
    chosen = None if positive is None else list(class_names).index(positive)
    matrices = np.zeros((int(patients.max()) + 1, len(class_names), len(class_names)))
    np.add.at(matrices, (patients, numbers, guesses), 1)
    matrix = matrices.sum(axis=0)
    each = [{"cases": int(row.sum())} | _of_class(matrix, number) for number, row in enumerate(matrix)]

    def measures(confusion: Floats) -> dict[str, Floats]:
        whole = _of_matrices(confusion, chosen)
        right = np.diagonal(confusion, axis1=1, axis2=2)
        shares = ratio(right, confusion.sum(axis=2), np.nan)
        return whole | {f"accuracy of {name}": shares[:, number] for number, name in enumerate(class_names)}

    return {
        **_counts(patients),
        **found,
        "positive": positive,
        "per_class": dict(zip(class_names, each, strict=True)),
        "classes": list(class_names),
        "confusion": matrix.astype(int).tolist(),
        **intervals(matrices, measures, seed),
    }


def regression_scores(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, groups: Sequence[str | None], seed: int = 0
) -> dict[str, Any]:
    """Scores of `prediction` (case,) against `truth` (case,), in the labels' unit.

    Keys: cases, patients, mae, mse, r2 (None where all truths are the same), bias (mean of prediction - truth),
    intervals {key: [low, high]} of these four, and interval: what these are, or why there are none.
    """
    wanted, got = _finite("truth", truth, 1), _finite("prediction", prediction, 1)
    _equally_many("truth", wanted, "prediction", got)
    patients = patient_numbers(groups, len(wanted))
    metrics = _sklearn_metrics()
    error = got - wanted
    # Sums of squares around a number near the mean do not cancel.
    centred = wanted - wanted.mean()
    columns = np.stack([np.ones_like(error), np.abs(error), error**2, error, centred, centred**2], axis=1)
    sums = np.zeros((int(patients.max()) + 1, columns.shape[1]))
    np.add.at(sums, patients, columns)
    r2 = None if np.ptp(wanted) == 0 else float(metrics.r2_score(wanted, got))
    return {
        **_counts(patients),
        "mae": float(metrics.mean_absolute_error(wanted, got)),
        "mse": float(metrics.mean_squared_error(wanted, got)),
        "r2": r2,
        "bias": float(error.mean()),
        **intervals(sums, _of_sums, seed),
    }


def segmentation_scores(
    truth: Iterable[npt.NDArray[Any]],
    prediction: Iterable[npt.NDArray[Any]],
    class_names: Sequence[str],
    groups: Sequence[str | None],
    seed: int = 0,
) -> dict[str, Any]:
    """Dice of masks of labels, one of any shape a case; read one by one, so that they may come from a generator.

    `class_names` are those of labels 1, 2 ...; 0 is background and has no score. A case without a label in truth and
    prediction says nothing about it and does not count; one with it in either alone scores 0. Keys: cases, patients,
    dice (mean over the classes), whole (any label against background), per_class {name: {cases, dice}}, classes,
    intervals {key: [low, high]} of dice, whole and "dice of <name>", and interval.
    """
    rows = [_dice(*pair, len(class_names), case) for case, pair in enumerate(_pairs(truth, prediction))]
    dice = np.array(rows).reshape(len(rows), len(class_names) + 1)
    patients = patient_numbers(groups, len(dice))
    known = np.isfinite(dice)
    sums = np.zeros((int(patients.max()) + 1, 2, dice.shape[1]))
    np.add.at(sums, patients, np.stack([np.where(known, dice, 0), known], axis=1))

    def measures(replicates: Floats) -> dict[str, Floats]:
        means = ratio(replicates[:, 0], replicates[:, 1], np.nan)
        named = {f"dice of {name}": means[:, number + 1] for number, name in enumerate(class_names)}
        return {"dice": _mean(means[:, 1:]), "whole": means[:, 0]} | named

    found = {key: _plain(value[0]) for key, value in measures(sums.sum(axis=0)[None]).items()}
    each = {
        name: {"cases": int(known[:, number + 1].sum()), "dice": found[f"dice of {name}"]}
        for number, name in enumerate(class_names)
    }
    return {
        **_counts(patients),
        "dice": found["dice"],
        "whole": found["whole"],
        "per_class": each,
        "classes": list(class_names),
        **intervals(sums, measures, seed),
    }


def four_scores(
    truth: npt.NDArray[Any], guesses: npt.NDArray[Any], class_names: Sequence[str], positive: str | None = None
) -> Scores:
    """Accuracy, precision, recall and F1 (scikit-learn's) of guessed class numbers, without intervals.

    The last three are those of the class named `positive` (None where no case is of it), else means over the classes
    that occur in `truth`. A class that is never guessed has a precision of 0.
    """
    metrics = _sklearn_metrics()
    found: Scores = {"accuracy": float(metrics.accuracy_score(truth, guesses))}
    if positive is not None and positive not in class_names:
        raise unknown("class", positive, class_names)
    labels = np.unique(truth) if positive is None else [list(class_names).index(positive)]
    three = metrics.precision_recall_fscore_support(truth, guesses, labels=labels, average="macro", zero_division=0)
    present = bool(np.isin(truth, labels).any())
    return found | {key: float(value) if present else None for key, value in zip(FOUR[1:], three, strict=False)}


def _classified(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str], groups: Sequence[str | None]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """True class, guessed class and patient of each case, all checked."""
    numbers, table = _finite("truth", truth, 1), _finite("probabilities", probabilities, 2)
    _equally_many("truth", numbers, "probabilities", table)
    if table.shape[1] != len(class_names):
        raise InputError(f"probabilities must have a column a class, got {table.shape[1]} for {len(class_names)}")
    known = np.arange(len(class_names))
    if not np.isin(numbers, known).all():
        raise InputError(
            f"truth must be class numbers from 0 to {len(known) - 1}, got {numbers.min():g} to {numbers.max():g}"
        )
    return numbers.astype(np.int64), table.argmax(axis=1), patient_numbers(groups, len(numbers))


def _finite(what: str, values: npt.ArrayLike, axes: int) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != axes:
        wanted = "one number a case" if axes == 1 else "(case, class)"
        raise InputError(f"{what} must be {wanted}, got shape {array.shape}")
    wrong = ~np.isfinite(array).all(axis=tuple(range(1, axes)))
    if wrong.any():
        raise InputError(f"{what} must be finite, got NaN or infinity in {int(wrong.sum())} of {len(array)} cases")
    return array


def _equally_many(one: str, first: Sequence[Any] | Floats, other: str, second: Sequence[Any] | Floats) -> None:
    if len(first) != len(second) or len(first) == 0:
        told = f"got {len(first)} and {len(second)}"
        raise InputError(f"{one} and {other} must be equally many cases, at least 1, {told}")


def _counts(patients: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {"cases": len(patients), "patients": int(patients.max()) + 1}


def _of_class(matrix: Floats, number: int) -> Scores:
    """One class's share of cases found (accuracy, which is recall), precision and F1, None where no case is of it."""
    found = {key: _plain(value[0]) for key, value in _of_matrices(matrix[None], number).items()}
    return found | {"accuracy": found["recall"]}


def _of_matrices(confusion: Floats, chosen: int | None) -> dict[str, Floats]:
    """`four_scores` of many confusion matrices (replicate, truth, guess) at once."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true, guessed = confusion.sum(axis=2), confusion.sum(axis=1)
    three = {
        "precision": ratio(right, guessed, 0.0),
        "recall": ratio(right, true, np.nan),
        "f1": ratio(2 * right, true + guessed, np.nan),
    }
    kept = {key: np.where(true > 0, value, np.nan) for key, value in three.items()}
    whole = ratio(right.sum(axis=1), true.sum(axis=1), np.nan)
    return {"accuracy": whole} | {k: _mean(v) if chosen is None else v[:, chosen] for k, v in kept.items()}


def _mean(values: Floats) -> Floats:
    """Mean over the columns that are no NaN."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1), np.nan)


def _of_sums(sums: Floats) -> dict[str, Floats]:
    """The scores of a regression from sums of 1, |error|, error², error, truth and truth² (replicate, 6)."""
    count, absolute, squared, error, truth, truth_squared = sums.T
    spread = truth_squared - truth**2 / count
    # A replicate of one value has no spread but for rounding of the sums.
    spread = np.where(spread > SPREAD * truth_squared, spread, 0)
    r2 = np.where(spread > 0, 1 - ratio(squared, spread, np.nan), np.nan)
    return {"mae": absolute / count, "mse": squared / count, "r2": r2, "bias": error / count}


def _pairs(truth: Iterable[Any], prediction: Iterable[Any]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    for case, (wanted, got) in enumerate(zip_longest(truth, prediction)):
        if wanted is None or got is None:
            raise InputError(f"truth and prediction must be equally many masks, got another number after {case}")
        yield np.asarray(wanted), np.asarray(got)


def _dice(wanted: npt.NDArray[Any], got: npt.NDArray[Any], classes: int, case: int) -> list[float]:
    """Dice of any label together and of labels 1, 2 ... of one case; NaN where neither mask has the label."""
    if wanted.shape != got.shape:
        raise InputError(f"predicted mask {case} is {got.shape} but the true one is {wanted.shape}")
    for what, mask in (("true", wanted), ("predicted", got)):
        if not np.isin(mask, np.arange(classes + 1)).all():
            raise InputError(f"{what} mask {case} must have labels from 0 to {classes}, got others")
    place = wanted.astype(np.int64).ravel() * (classes + 1) + got.astype(np.int64).ravel()
    joint = np.bincount(place, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1).astype(np.float64)
    both, sizes = np.diagonal(joint), joint.sum(axis=0) + joint.sum(axis=1)
    inside = 2 * joint[1:, 1:].sum(), joint[1:].sum() + joint[:, 1:].sum()
    return [float(x) for x in ratio(np.r_[inside[0], 2 * both[1:]], np.r_[inside[1], sizes[1:]], np.nan)]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _sklearn_metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise missing_extra("scikit-learn", "train", "the scores of a model") from error
    return metrics
