"""What can be said in numbers of the maps of one method at many layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from voxplain.data.attribution import Attribution
from voxplain.methods.cam import BLANK
from voxplain.ops.fusion import rank_correlations
from voxplain.ops.gini import gini

Array = npt.NDArray[Any]

FLOW_COLUMNS = (
    "number", "cells", "low", "high", "energy", "energy_share", "sparseness", "agreement", "constant", "why",
)  # fmt: skip
"""What a flow adds to the rows of a run, see `layer_numbers` and `with_comparisons`."""

COMMON_VOXELS = 2**18
"""Maps are compared at up to so many voxels of the image, evenly spaced along each axis."""


def layer_numbers(number: int, single: Attribution) -> dict[str, Any]:
    """Numbers of the map of layer `number` (from 1), from its own cells, before anything was interpolated.

    `low` and `high` are the raw range in the map's unit, `energy` the mean of its squared values, `sparseness` Gini's
    index of its magnitudes (0: the same everywhere; 1: all in one cell; None for a map of zeros), and `why` says of a
    `constant` map why it is so.
    """
    values = single.values if single.coarse is None else single.coarse.values
    low, high = float(values.min()), float(values.max())
    return {
        "number": number,
        "cells": " x ".join(map(str, values.shape[1:])),
        "low": low,
        "high": high,
        "energy": float(np.square(values, dtype=np.float64).mean()),
        "sparseness": gini(values),
        "constant": low == high,
        "why": "" if low < high else _why(single, values),
    }


def _why(single: Attribution, values: Array) -> str:
    """Why a map is the same everywhere."""
    if values[0].size == 1:
        return "the layer has a single cell"
    reasons = [note.removeprefix(BLANK) for note in single.notes if note.startswith(BLANK)]
    return reasons[0] if reasons else f"every value is {float(values.flat[0]):g}"


def with_comparisons(numbers: Sequence[dict[str, Any]], sampled: Sequence[Array]) -> list[dict[str, Any]]:
    """The numbers of all layers of one method with what only all of them together tell.

    `energy_share` is a layer's part of the energy of all layers (None where all maps are zero), `agreement` Spearman's
    rank correlation of its map with the last layer's over `sampled` voxels (None where one of the two is constant).
    """
    total = sum(one["energy"] for one in numbers)
    maps = torch.from_numpy(np.stack(sampled).astype(np.float64))[:, None, None]
    last = rank_correlations(torch.stack([maps[-1], maps[-1]]))  # 0 with itself: constant
    found = []
    for one, own in zip(numbers, maps, strict=True):
        agreement = float(rank_correlations(torch.stack([own, maps[-1]]))[0, 0, 1])
        flat = bool((own == own.flatten()[0]).all()) or not bool(last[0, 0, 1])
        share = one["energy"] / total if total else None
        found.append({**one, "energy_share": share, "agreement": None if flat else agreement})
    return found


def sampled(single: Attribution) -> Array:
    """A map at evenly spaced voxels of the image's grid (voxel,); several channels are joined by their magnitudes."""
    axes = 2 if single.grid.is_2d else 3
    step = max(1, int(np.ceil((prod(single.grid.shape) / COMMON_VOXELS) ** (1 / axes))))
    some = single.values[:, ::step, ::step, ::step]
    return np.asarray(some[0] if len(some) == 1 else np.abs(some).sum(axis=0)).ravel()
