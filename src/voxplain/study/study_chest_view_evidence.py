"""Where the evidence for a film's view lies: in the marker, at the border, and in the film samples that are shown."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.case import Case
from voxplain.data.writing import written_beside
from voxplain.methods import method
from voxplain.phantoms.chest import MARKER
from voxplain.score.target import Target
from voxplain.study.explain import Explainer
from voxplain.study.training_folder import PREDICTIONS
from voxplain.study.training_parts import TEST

SAMPLES = "samples.npz"
"""Films that were learnt from, for the first figure."""

EXPLAINED = "explained"
"""The run folder with the maps of the test films shown; other parts have their name behind it."""

BORDER = 8
"""The border is what is nearer to the film's edge than its side divided by this."""

REACH = 16
"""A marker's box is widened by the film's side divided by this, as the cells of CAMs are coarse."""

Array = npt.NDArray[Any]


def explained(part: str) -> str:
    """The run folder of a part's films, such as 'explained-external'."""
    word = "".join(letter if letter.isalnum() else "-" for letter in part)
    return EXPLAINED if part == TEST else f"{EXPLAINED}-{word}"


def parts_in(trained: Path) -> dict[str, str]:
    """The part of every case that a training was not trained on, by id, in the order of its table of predictions."""
    with (trained / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
        return {row["id"]: row["part"] for row in csv.DictReader(stream)}


def write_samples(folder: Path, cases: Sequence[Case]) -> None:
    """Keep the films of some cases with their labels; films may differ in size, so each is an array of its own."""
    films: dict[str, Any] = {f"film_{number}": case.image.values for number, case in enumerate(cases)}
    told: dict[str, Any] = {"identifiers": np.array([case.identifier for case in cases])}
    told["labels"] = np.array([case.label for case in cases])
    with written_beside(folder / SAMPLES) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, **films, **told)


def evidence(explainer: Explainer, cases: Sequence[Case], asked: Target) -> dict[str, Any]:
    """Mean shares of Grad-CAM's positive mass around markers and at the border, each beside its share of the film.

    A film without positive evidence has no share and is counted apart; markers are those of the cases' masks.
    """
    how = method("grad_cam")
    places: dict[str, list[tuple[float, float]]] = {"marker": [], "border": []}
    empty = 0
    for case in cases:
        found = explainer.maps(explainer.ready(case.image), [(asked, how)])[0]
        mass = np.maximum(found.values.sum(axis=0)[..., 0].astype(np.float64), 0)
        if not mass.any():
            empty += 1
            continue
        regions = {"border": border(mass.shape)}
        if case.mask is not None and (case.mask.values == MARKER).any():
            regions["marker"] = around(case.mask.values[0, ..., 0] == MARKER)
        for name, region in regions.items():
            places[name].append((float(mass[region].sum() / mass.sum()), float(region.mean())))
    told: dict[str, Any] = {name: _against_chance(pairs) for name, pairs in places.items() if pairs}
    return {**told, "films": len(cases), "films_without_positive_evidence": empty}


def border(shape: tuple[int, ...]) -> Array:
    """True near the edges of a film (columns, rows)."""
    inside = np.zeros(shape, dtype=bool)
    inside[tuple(slice(side // BORDER, side - side // BORDER) for side in shape)] = True
    return ~inside


def around(marker: Array) -> Array:
    """True in the box of the marker, widened by `REACH` on all sides."""
    box = np.zeros(marker.shape, dtype=bool)
    found = np.argwhere(marker)
    reach = [side // REACH for side in marker.shape]
    ends = zip(found.min(axis=0), found.max(axis=0), reach, strict=True)
    box[tuple(slice(max(int(low) - wide, 0), int(high) + wide + 1) for low, high, wide in ends)] = True
    return box


def _against_chance(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    share, chance = (float(one) for one in np.mean(pairs, axis=0))
    return {"share": share, "chance": chance, "times_chance": share / chance, "films": len(pairs)}
