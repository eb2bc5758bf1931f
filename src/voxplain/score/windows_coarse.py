"""Coarse to fine: large windows first, single ones only where a large one matters, and the error measured by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxplain.score.score import Score
from voxplain.score.windows import Scores, covered_scores
from voxplain.score.windows_covered import Covered

SIDE = 4
"""Windows a side of a coarse one."""

LOOKED_AT = 32
"""Skipped windows of each sample that are computed all the same, to measure the error."""


@dataclass(frozen=True, eq=False)
class Refined(Scores):
    """Scores, those of skipped windows estimated."""

    skipped: Tensor | None = None
    """Estimated windows of each sample (batch,)."""
    largest_error: Tensor | None = None
    """Largest distance of an estimate from the truth among those looked at, of each sample (batch,); 0 without any."""


def coarse_to_fine(score: Score, covered: Covered, clean: Tensor, *, threshold: float, seed: int) -> Refined:
    """Scores of covered images: single windows only inside coarse ones that change the score enough.

    Enough is `threshold` of the largest change by a coarse window of the same sample and channels. A skipped window is
    estimated as its share, by voxels, of the change by its coarse window, which keeps sums on linear scores.
    """
    block, coarse = _coarse(covered)
    rough = covered_scores(score, coarse, clean)
    falls = clean.double()[coarse.rows.to(clean.device)].cpu() - rough.values.cpu()
    share = torch.from_numpy(_cells(covered) / _cells(coarse)[block])
    values = clean.double().cpu()[covered.rows] - falls[block] * share
    fine = _large(falls, coarse, threshold)[block]
    looked = _drawn(~fine, covered.rows, seed)
    asked = (fine | looked).nonzero()[:, 0]
    found = covered_scores(score, _some(covered, asked), clean) if len(asked) else Scores(values[asked])
    off = torch.zeros_like(values)
    off[asked] = (found.values.cpu() - values[asked]).abs()
    values[asked] = found.values.cpu()
    rows = range(len(covered.x))
    skipped = torch.stack([((covered.rows == row) & ~fine & ~looked).sum() for row in rows])
    error = torch.stack([(off * (looked & (covered.rows == row))).max() for row in rows])
    note = (
        f"coarse to fine: {len(coarse.rows)} coarse windows, then {len(asked)} of {len(covered.rows)} windows; the "
        f"other {int(skipped.sum())} are estimated; {int(looked.sum())} of the skipped ones were looked at, where "
        f"estimates were off by {float(error.max()):.2g} at most"
    )
    notes = (note, *dict.fromkeys((*rough.notes, *found.notes)))
    return Refined(values.to(clean.device), notes, found.share, skipped, error)


def _coarse(covered: Covered) -> tuple[Tensor, Covered]:
    """The number of the coarse window around each window (n,), and the coarse windows."""
    ranks = [
        np.unique(covered.first[:, axis], return_inverse=True)[1].reshape(-1) for axis in range(covered.x.ndim - 2)
    ]
    groups = [0] * len(covered.rows) if covered.channels is None else [part.start for part in covered.channels]
    keys = np.stack([covered.rows.numpy(), np.asarray(groups), *(rank // SIDE for rank in ranks)], axis=1)
    _, members, block = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    block = block.reshape(-1)
    first = np.full((len(members), len(ranks)), np.iinfo(np.int64).max)
    past = np.zeros_like(first)
    np.minimum.at(first, block, covered.first)
    np.maximum.at(past, block, covered.past)
    windows = [tuple(map(slice, low, high)) for low, high in zip(first.tolist(), past.tolist(), strict=True)]
    channels = None if covered.channels is None else [covered.channels[member] for member in members]
    rows = covered.rows[torch.from_numpy(members)]
    return torch.from_numpy(block), Covered(covered.x, covered.cover, rows, windows, channels)


def _cells(covered: Covered) -> NDArray[np.float64]:
    """Voxels of each window (n,)."""
    cells: NDArray[np.float64] = np.prod(covered.past - covered.first, axis=1, dtype=np.float64)
    return cells


def _large(falls: Tensor, coarse: Covered, threshold: float) -> Tensor:
    """Which coarse windows change the score by enough (n,); all of them where none changes it at all."""
    channels = [0] * len(falls) if coarse.channels is None else [part.start for part in coarse.channels]
    _, which = torch.stack([coarse.rows, torch.tensor(channels)]).unique(dim=1, return_inverse=True)
    largest = torch.zeros(int(which.max()) + 1, dtype=falls.dtype).scatter_reduce(0, which, falls.abs(), "amax")
    return falls.abs() >= threshold * largest[which]


def _drawn(skipped: Tensor, rows: Tensor, seed: int) -> Tensor:
    """Some of the skipped windows of each sample, at random by seed (n,)."""
    generator, drawn = torch.Generator().manual_seed(seed), torch.zeros_like(skipped)
    for row in rows.unique().tolist():
        numbers = (skipped & (rows == row)).nonzero()[:, 0]
        drawn[numbers[torch.randperm(len(numbers), generator=generator)[:LOOKED_AT]]] = True
    return drawn


def _some(covered: Covered, numbers: Tensor) -> Covered:
    """The windows of the given numbers."""
    listed = numbers.tolist()
    channels = None if covered.channels is None else [covered.channels[number] for number in listed]
    windows = [covered.windows[number] for number in listed]
    return replace(covered, rows=covered.rows[numbers], windows=windows, channels=channels)
