"""Who trains and who tests: splits that keep each patient on one side, folds, and repeats of rare classes."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError, OptionError, missing_extra

Indices = npt.NDArray[np.int64]
"""Places of cases in the list of all cases, from 0."""

BINS = 5
"""Labels that are numbers with fractions are balanced in so many groups of equal size."""

SUM_SLACK = 1e-6
"""Shares such as 0.7, 0.15 and 0.15 do not sum to exactly 1 in binary."""


def held_out(
    labels: Sequence[Any],
    groups: Sequence[str | None],
    shares: Mapping[str, float],
    seed: int,
    stratify: bool = True,
) -> list[str]:
    """The part of each case: parts have their `shares` of the cases, and all cases of a group are in one part.

    With `stratify`, each class has these shares too, as nearly as whole groups allow, and comes in every part; labels
    that are floats are balanced in fifths. A group of None means a patient of one's own. Raises `InputError` where a
    part stays empty or a class has fewer groups than there are parts, `OptionError` for shares that do not sum to 1.
    """
    _check_shares(shares)
    patients = patient_numbers(groups, len(labels))
    classes = _classes(labels) if stratify else np.zeros(len(labels), dtype=np.int64)
    names = _class_names(labels, classes) if stratify else [""]
    counts = np.zeros((int(patients.max()) + 1, len(names)))
    np.add.at(counts, (patients, classes), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    wanted = np.array(list(shares.values()))
    taken = _one_of_each(counts[order], wanted, names, list(shares))
    parts = np.empty(len(counts), dtype=np.int64)
    parts[order] = _filled(counts[order], wanted, taken)
    return [list(shares)[part] for part in parts[patients]]


def grouped_folds(
    labels: Sequence[Any], groups: Sequence[str | None], folds: int, seed: int
) -> list[tuple[Indices, Indices]]:
    """Training and validation cases of each fold; no group is on both sides and classes are balanced.

    scikit-learn's StratifiedGroupKFold, shuffled by `seed`; StratifiedKFold where every case is a group of its own.
    Raises `InputError` for more folds than groups, a class with one group, and folds that lack cases or a class.
    """
    patients = patient_numbers(groups, len(labels))
    classes = _classes(labels)
    _check_folds(classes, patients, folds, _class_names(labels, classes))
    kind = "StratifiedKFold" if len(np.unique(patients)) == len(patients) else "StratifiedGroupKFold"
    splitter = getattr(_model_selection(), kind)(n_splits=folds, shuffle=True, random_state=seed)
    found = list(_silently(splitter, classes, patients))
    for number, (train, validation) in enumerate(found):
        if len(validation) == 0:
            raise InputError(
                f"fold {number} of {folds} would have no validation cases; use fewer folds or another seed"
            )
        missing = np.setdiff1d(classes, classes[train])
        if len(missing):
            name = _class_names(labels, classes)[missing[0]]
            raise InputError(
                f"fold {number} of {folds} would train without class {name!r}; use fewer folds or another seed"
            )
    return found


def oversampled(indices: npt.ArrayLike, labels: Sequence[Any], seed: int) -> Indices:
    """`indices` followed by repeats of rarer classes, drawn with replacement until all classes are equally many.

    `labels` are those of all cases, not only of `indices`. The draws are those of imbalanced-learn's RandomOverSampler.
    """
    kept = np.asarray(indices, dtype=np.int64)
    classes = np.asarray(labels)[kept]
    # imbalanced-learn draws from NumPy's first generator, whose numbers are frozen for ever.
    generator = np.random.RandomState(seed)
    most = max(np.unique(classes, return_counts=True)[1], default=0)
    parts = [kept]
    for name in np.unique(classes):
        places = np.flatnonzero(classes == name)
        if len(places) < most:
            parts.append(kept[generator.choice(places, size=most - len(places), replace=True)])
    return np.concatenate(parts)


def first_share(labels: Sequence[Any], share: float) -> tuple[Indices, Indices]:
    """The first `share` of each class in the order given, rounded half up, and the rest; both in that order.

    Raises `InputError` where a class would be missing on one side.
    """
    if not 0 < share < 1:
        raise OptionError(f"share must be between 0 and 1, got {share:g}")
    first = np.zeros(len(labels), dtype=bool)
    for name in dict.fromkeys(labels):
        places = [place for place, label in enumerate(labels) if label == name]
        count = int(share * len(places) + 0.5)
        if not 0 < count < len(places):
            raise InputError(f"class {name!r} must have cases on both sides of {share:g}, got {len(places)} in all")
        first[places[:count]] = True
    return np.flatnonzero(first), np.flatnonzero(~first)


def patient_numbers(groups: Sequence[str | None], count: int) -> Indices:
    """A number from 0 for the group of each of `count` cases, in the order of their names; each None is one's own."""
    if len(groups) != count:
        raise InputError(f"groups must be as many as cases, got {len(groups)} and {count}")
    if count == 0:
        raise InputError("a split must have at least one case, got none")
    named = {group for group in groups if group is not None}
    # Names that are numbers are sorted as such, as a table reader would have given them to scikit-learn.
    ordered = sorted(named, key=int) if all(map(str.isdecimal, named)) else sorted(named)
    numbers = {group: number for number, group in enumerate(ordered)}
    alone = itertools.count(len(numbers))
    return np.array([next(alone) if group is None else numbers[group] for group in groups], dtype=np.int64)


def _classes(labels: Sequence[Any]) -> Indices:
    """A class number for each label: floats by the fifth of their rank, anything else by its value."""
    if len(labels) and all(isinstance(label, float | np.floating) for label in labels):
        values = np.asarray(labels, dtype=np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"labels must be finite, got {int((~np.isfinite(values)).sum())} that are not")
        edges = np.quantile(values, np.arange(1, BINS) / BINS)
        return np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1].astype(np.int64)
    kinds = {name: number for number, name in enumerate(sorted(set(labels)))}
    return np.array([kinds[label] for label in labels], dtype=np.int64)


def _class_names(labels: Sequence[Any], classes: Indices) -> list[str]:
    """What messages call each class: its label, or the range of its values."""
    members = [
        [labels[place] for place in np.flatnonzero(classes == number).tolist()] for number in range(classes.max() + 1)
    ]
    return [str(found[0]) if len(set(found)) == 1 else f"{min(found):g} to {max(found):g}" for found in members]


def _check_shares(shares: Mapping[str, float]) -> None:
    if not shares or min(shares.values()) <= 0 or not abs(sum(shares.values()) - 1) <= SUM_SLACK:
        told = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise OptionError(f"shares must be above 0 and sum to 1, got {told}")


def _check_folds(classes: Indices, patients: Indices, folds: int, names: Sequence[str]) -> None:
    if folds < 2:
        raise OptionError(f"folds must be at least 2, got {folds}")
    groups = len(np.unique(patients))
    if folds > groups:
        raise InputError(f"folds must be at most the number of patients, got {folds} folds for {groups} patients")
    for number, name in enumerate(names):
        if len(np.unique(patients[classes == number])) < 2:
            raise InputError(f"class {name!r} must have at least 2 patients for folds, got 1")


def _one_of_each(counts: npt.NDArray[Any], wanted: npt.NDArray[Any], names: Sequence[str], parts: list[str]) -> Indices:
    """The part (or -1) of each patient after every class has one patient in every part, the rarest class first.

    `counts` (patient, class) are its cases; patients come in random order.
    """
    taken = np.full(len(counts), -1)
    having = counts > 0
    for number in np.argsort(having.sum(axis=0), kind="stable"):
        for part in np.argsort(-wanted, kind="stable"):
            if having[taken == part, number].any():
                continue
            free = np.flatnonzero(having[:, number] & (taken < 0))
            if len(free) == 0:
                kind = f"class {names[number]!r}" if names[number] else "the cases"
                told = f"got {int(having[:, number].sum())}, which leaves {parts[part]!r} without"
                raise InputError(f"{kind} must come from at least one patient for each of {', '.join(parts)}; {told}")
            taken[free[0]] = part
    return taken


def _filled(counts: npt.NDArray[Any], wanted: npt.NDArray[Any], taken: Indices) -> Indices:
    """The part of each patient: those still free go, unevenest first, where the shares of all classes profit most."""
    shares = counts / counts.sum(axis=0)
    filled = np.stack([shares[taken == part].sum(axis=0) for part in range(len(wanted))])
    for patient in np.argsort(-counts.std(axis=1) - counts.sum(axis=1), kind="stable"):
        if taken[patient] < 0:
            # How much the squared misfit of a part, relative to its size, would grow.
            growth = (2 * filled * shares[patient] + shares[patient] ** 2).sum(axis=1) / wanted
            taken[patient] = int(growth.argmin())
            filled[taken[patient]] += shares[patient]
    return taken


def _silently(splitter: Any, classes: Indices, patients: Indices) -> Iterator[tuple[Indices, Indices]]:
    """The folds, without scikit-learn's warnings: small classes are checked in what came out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The (least populated class|groups parameter)", category=UserWarning)
        for train, validation in splitter.split(np.zeros(len(classes)), classes, patients):
            yield np.asarray(train, dtype=np.int64), np.asarray(validation, dtype=np.int64)


def _model_selection() -> Any:
    try:
        from sklearn import model_selection
    except ImportError as error:
        raise missing_extra("scikit-learn", "train", "a split into folds") from error
    return model_selection
