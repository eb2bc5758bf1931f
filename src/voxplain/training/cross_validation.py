"""The myopathy study's evaluation: an outer fold held out, inner folds that say how long to train, one final test."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.training.intervals import Floats
from voxplain.training.results import final_results, fold_results, write_results
from voxplain.training.scores import Scores, classification_scores, four_scores
from voxplain.training.splits import Indices, grouped_folds, oversampled

KEPT = "folds"
"""Folder of what finished trainings gave."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldResult:
    """What one training gave on cases it had not seen."""

    probabilities: Floats
    """(case, class): of the epoch with the highest validation accuracy; of the last one in the final run."""
    epochs: int
    """Epochs trained: where early stopping ended the training, or as many as were asked for."""
    history: Mapping[str, Sequence[float]]
    """One number an epoch under names such as train_loss, val_loss, train_accuracy, val_accuracy."""


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """How the study splits its cases; the defaults are the study's own."""

    outer_folds: int = 5
    """The first of so many folds is the test set."""
    outer_seed: int = 7
    """Seed of the outer folds' shuffling."""
    folds: int = 10
    """Inner folds of the other cases."""
    seed: int = 1
    """Seed of the inner folds' shuffling."""
    oversample: bool = True
    """Whether rare classes are repeated in training: seeded by the fold's number, by 0 in the final run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Division:
    """Who is where; numbers of cases among all, without repeats."""

    train: Indices
    """All cases of the inner folds."""
    test: Indices
    """The outer fold held out."""
    folds: tuple[tuple[Indices, Indices], ...]
    """Training and validation cases of each inner fold."""

    @property
    def parts(self) -> list[str]:
        """Where each case is seen without having been trained on: 'test', or the inner fold that validates on it."""
        names = np.full(len(self.train) + len(self.test), "test", dtype=object)
        for number, (_, validation) in enumerate(self.folds):
            names[validation] = f"fold {number}"
        return [str(name) for name in names]


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidated:
    """Everything that came out."""

    division: Division
    """Who was where."""
    folds: tuple[FoldResult, ...]
    """The inner folds."""
    final: FoldResult
    """The final run on the test set; its `epochs` are the rounded mean of the folds' epochs."""
    scores: dict[str, Any]
    """"folds" (the validation cases of all folds together) and "final", each as `classification_scores` returns it."""


def divided(labels: Sequence[int], groups: Sequence[str | None], options: CrossValidation) -> Division:
    """Outer and inner folds by patient; raises `InputError` as `grouped_folds` does."""
    train, test = grouped_folds(labels, groups, options.outer_folds, options.outer_seed)[0]
    inner = grouped_folds([labels[n] for n in train], [groups[n] for n in train], options.folds, options.seed)
    return Division(train=train, test=test, folds=tuple((train[fitted], train[held]) for fitted, held in inner))


def cross_validate(
    labels: Sequence[int],
    groups: Sequence[str | None],
    *,
    fit: Callable[[Indices, Indices, int], FoldResult],
    retrain: Callable[[Indices, Indices, int], FoldResult],
    class_names: Sequence[str],
    folder: Path,
    title: str,
    settings: Mapping[str, float],
    positive: str | None = None,
    options: CrossValidation | None = None,
    request: str = "",
) -> CrossValidated:
    """Cross-validate, retrain for the mean number of epochs, test once, and write both `results.json`.

    `labels` are class numbers. `fit(train, validation, fold)` trains one inner fold with early stopping;
    `retrain(train, test, epochs)` the final network, without validation. Training cases are already oversampled
    (repeats included). `settings` are the numbers that the results repeat: "learning rate", "momentum", "patience" and
    "delta". Finished trainings are kept in `folder/folds` and not repeated; `request` is what else decides their
    numbers, such as the recipe's text: what another request left there is refused with an `InputError`. Writes
    `folder/train-<title>/results.json` and `folder/final-<title>/results.json`.
    """
    chosen = options or CrossValidation()
    division = divided(labels, groups, chosen)
    kept = _Kept(folder / KEPT, _mark(labels, groups, class_names, chosen, request))
    repeat = oversampled if chosen.oversample else _unchanged
    folds = []
    for number, (train, held) in enumerate(division.folds):
        run = lambda train=train, held=held, n=number: fit(repeat(train, labels, n), held, n)  # noqa: E731
        folds.append(kept.result(f"fold-{number}", run, (len(held), len(class_names))))
    epochs = round(float(np.mean([fold.epochs for fold in folds])))
    last = lambda: retrain(repeat(division.train, labels, 0), division.test, epochs)  # noqa: E731
    # Folds that were lost and trained again may have stopped elsewhere: then the final run is another one.
    final = kept.result(f"final-{epochs}", last, (len(division.test), len(class_names)))
    truth = np.asarray(labels)

    def four(cases: Indices, result: FoldResult) -> Scores:
        return four_scores(truth[cases], result.probabilities.argmax(axis=1), class_names, positive)

    each = [four(held, fold) for (_, held), fold in zip(division.folds, folds, strict=True)]
    write_results(folder, fold_results(f"train-{title}", settings, each, [fold.epochs for fold in folds]))
    write_results(folder, final_results(f"final-{title}", settings, epochs, four(division.test, final)))
    everyone = np.concatenate([held for _, held in division.folds])
    together = np.concatenate([fold.probabilities for fold in folds])
    scores = {
        name: classification_scores(truth[cases], found, class_names, [groups[n] for n in cases], positive)
        for name, cases, found in (("folds", everyone, together), ("final", division.test, final.probabilities))
    }
    return CrossValidated(division=division, folds=tuple(folds), final=final, scores=scores)


def _unchanged(indices: Indices, labels: Sequence[Any], seed: int) -> Indices:
    return indices


def _mark(
    labels: Sequence[int],
    groups: Sequence[str | None],
    class_names: Sequence[str],
    options: CrossValidation,
    request: str,
) -> str:
    """A hash of everything that decides a fold's numbers; it keeps no name of a patient."""
    told = [[int(label) for label in labels], list(groups), list(class_names), asdict(options), request]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True)
class _Kept:
    """Finished trainings as JSON files: numbers come back exactly as they were."""

    folder: Path
    mark: str
    """The request that all files of the folder must be of."""

    def result(self, name: str, run: Callable[[], FoldResult], shape: tuple[int, int]) -> FoldResult:
        """The kept result of this name, else that of `run`, which is then kept."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            found = run()
            _check(name, found, shape)
            document = {
                "request": self.mark,
                "epochs": found.epochs,
                "probabilities": np.asarray(found.probabilities, dtype=np.float64).tolist(),
                "history": {key: [float(value) for value in values] for key, values in found.history.items()},
            }
            with written_beside(path) as beside:
                beside.write_text(json_text(document), encoding="utf-8")
        return self._read(path, shape)

    def _read(self, path: Path, shape: tuple[int, int]) -> FoldResult:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            mark, epochs = document["request"], int(document["epochs"])
            table = np.array(document["probabilities"], dtype=np.float64)
            history = {key: _numbers(values) for key, values in document["history"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{str(path)!r} must be a finished fold, got something else; delete it") from error
        if mark != self.mark:
            told = f"{str(self.folder)!r} holds folds of other cases or another recipe"
            raise InputError(f"{told}; choose another folder or delete it")
        found = FoldResult(probabilities=table, epochs=epochs, history=history)
        _check(path.stem, found, shape)
        return found


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _check(name: str, found: FoldResult, shape: tuple[int, int]) -> None:
    table = np.asarray(found.probabilities)
    if table.shape != shape:
        raise InputError(f"{name}: probabilities must be (case, class) = {shape}, got {table.shape}")
    if not np.isfinite(table).all():
        raise InputError(f"{name}: probabilities must be finite, got NaN or infinity")
    if found.epochs < 1:
        raise InputError(f"{name}: epochs must be at least 1, got {found.epochs}")
