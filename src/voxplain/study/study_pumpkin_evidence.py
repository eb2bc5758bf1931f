"""The relevance of the pumpkins' test set: its archive, its sums, and how much of it lies at true marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter

from voxplain.data.writing import written_beside
from voxplain.errors import FileError

ARCHIVE = "relevance.npz"
"""Images and relevance of the whole test set."""

MARKS = ("atrophy_places", "lesion_places")
"""Columns of the phantoms' table with true marks, as 'column:row' pairs."""

RIM = 3
"""Pixels of the square around a mark: a removed pixel is 0 and gets no relevance itself, its neighbours may."""

Array = npt.NDArray[Any]


def write_archive(folder: Path, **arrays: npt.ArrayLike) -> None:
    """Keep arrays under their names, compressed; texts as fixed-width text, so that nothing is pickled."""
    with written_beside(folder / ARCHIVE) as beside, beside.open("wb") as stream:
        plain: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
        np.savez_compressed(stream, **plain)


def read_archive(folder: Path) -> dict[str, Array]:
    """What `write_archive` kept; raises `FileError` where it cannot be read."""
    try:
        with np.load(folder / ARCHIVE, allow_pickle=False) as found:
            return {key: found[key] for key in found.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise FileError(f"{ARCHIVE!r} in {folder.name!r} must be readable; remove it to make it again") from error


def numbers_of(archive: Mapping[str, Array]) -> dict[str, Any]:
    """Sums of relevance against predictions, and the share of relevance at true marks against chance."""
    relevance, images = archive["relevance"].astype(np.float64), archive["images"]
    sums = relevance.sum(axis=(1, 2))
    order = np.argsort(archive["ages"], kind="stable")
    bias = float(archive["output_bias"])
    found: dict[str, Any] = {"relevance_sums": sums_against(archive["predictions"], sums, bias)}
    flesh = images[order] > 0
    atrophies, lesions = ([parsed(str(archive[column][number])) for number in order] for column in MARKS)
    eaten = np.stack([rims(places, flesh.shape[1:]) for places in atrophies])
    found |= {
        "relevance_at_atrophies": shares_at_marks(relevance[order], flesh, atrophies),
        "relevance_at_lesions": shares_at_marks(relevance[order], flesh, lesions),
        "relevance_at_lesions_away_from_atrophies": shares_at_marks(relevance[order], flesh & ~eaten, lesions),
    }
    return {name: numbers for name, numbers in found.items() if numbers}


def sums_against(predictions: npt.ArrayLike, sums: npt.ArrayLike, bias: float) -> dict[str, float]:
    """The straight line through sums of relevance over predictions, and where it is 0."""
    x, y = np.asarray(predictions, dtype=np.float64), np.asarray(sums, dtype=np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # a network that has learnt nothing says the same of every image
        return {"output_bias": bias}
    slope, intercept = np.polyfit(x, y, 1)
    crossing = -intercept / slope
    return {
        "correlation": float(np.corrcoef(x, y)[0, 1]),
        "slope": float(slope),
        "zero_at": float(crossing),
        "output_bias": bias,
        "zero_less_bias": float(crossing - bias),
        "mean_prediction": float(x.mean()),
    }


def shares_at_marks(relevance: Array, flesh: Array, places: Sequence[Array]) -> dict[str, Any]:
    """Share of the relevance's magnitude within the rims of marks, means over the images (case, i, j) that have any.

    `chance` is the rims' share of the flesh, the only pixels that can have relevance. `other_marks` is the share within
    the rims of the next image's marks on the same flesh: what lies where marks usually are gets that much.
    """
    numbers = [number for number, own in enumerate(places) if len(own)]
    if len(numbers) < 2:
        return {}
    rows = []
    for number, neighbour in zip(numbers, [*numbers[1:], numbers[-2]], strict=True):
        mass, body = np.abs(relevance[number]), flesh[number]
        own, other = (rims(places[one], body.shape) & body for one in (number, neighbour))
        total = mass[body].sum()
        if total > 0:
            chances = own.sum() / body.sum(), other.sum() / body.sum()
            rows.append((mass[own].sum() / total, chances[0], mass[other].sum() / total, chances[1]))
    if not rows:
        return {}
    share, chance, elsewhere, chance_there = (float(one) for one in np.mean(rows, axis=0))
    return {
        "share": share,
        "chance": chance,
        "times_chance": share / chance,
        "other_marks_share": elsewhere,
        "other_marks_chance": chance_there,
        "other_marks_times_chance": elsewhere / chance_there if chance_there else None,
        "images": len(rows),
        "images_above_chance": int(sum(row[0] > row[1] for row in rows)),
    }


def rims(places: Array, shape: tuple[int, ...]) -> Array:
    """True in the square of `RIM` pixels around each mark (column, row), the mark with it."""
    marked = np.zeros(shape, dtype=bool)
    marked[tuple(places.T)] = True
    return np.asarray(maximum_filter(marked, RIM, mode="constant"))


def parsed(text: str) -> Array:
    """Marks (mark, 2) of a phantom's table: '45:74 48:29'."""
    return np.array([[int(number) for number in pair.split(":")] for pair in text.split()], dtype=int).reshape(-1, 2)
