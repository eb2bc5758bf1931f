"""Maps of one image held against each other: how alike they are, voxel by voxel, and where they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from voxplain.data.attribution import Attribution
from voxplain.errors import InputError
from voxplain.ops.similarity import similarity
from voxplain.ops.top_share import among_top, top_overlap
from voxplain.study.rows import Row

TOP = 0.05
"""Share of an image's voxels that count as what a map points at."""

MEASURES = {
    "spearman": "rank correlation over voxels",
    "ssim": "structural similarity of maps divided by their largest size",
    "top_overlap": "overlap of the strongest twentieth of the voxels",
}
"""How alike two maps are, in words: 1 for equal maps; two that have nothing to do with each other get about 0, and the
overlap about 0.05."""


@dataclass(frozen=True, eq=False)
class Named:
    """A map and what it is called in a comparison."""

    name: str
    attribution: Attribution


def strength(attribution: Attribution, *, by_size: bool) -> Tensor:
    """The net evidence of each voxel (*space), float64, with its sign or by its size.

    Raises `InputError` for a map that is not finite or the same everywhere: it orders nothing.
    """
    net = attribution.values.sum(axis=0, dtype=np.float64)
    if not np.isfinite(net).all():
        raise InputError("a map holds values that are NaN or infinite")
    if net.min() == net.max():
        raise InputError("a map is the same everywhere")
    found = torch.from_numpy(np.abs(net) if by_size else net)
    return found[..., 0] if found.shape[-1] == 1 else found


def alike(first: Attribution, second: Attribution) -> dict[str, Any]:
    """The measures of two maps on one grid, or the reason why there are none.

    Signs count unless those of one map are directions, as of a derivative: then both are compared by size.
    """
    try:
        if not first.grid.same_as(second.grid):
            raise InputError("the maps lie on different grids")
        by_size = "absolute" in (first.evidence, second.evidence)
        one, other = (strength(single, by_size=by_size) for single in (first, second))
    except InputError as error:
        return {**dict.fromkeys(MEASURES), "reason": str(error)}
    return {
        "spearman": similarity("spearman", one, other),
        "ssim": similarity("ssim", one, other),
        "top_overlap": top_overlap(one, other, TOP),
        "reason": "",
    }


def pair_rows(row: Row, kind: str, maps: Sequence[Named]) -> Iterator[Row]:
    """A row for each pair of maps of one case and target, with what `row` says of these."""
    for first, second in combinations(maps, 2):
        measures = alike(first.attribution, second.attribution)
        yield {**row, "kind": kind, "first": first.name, "second": second.name, **measures}


def agreement(maps: Sequence[Attribution]) -> tuple[npt.NDArray[np.float32], int]:
    """The share of maps that have a voxel among their strongest twentieth (1, i, j, k), and how many maps took part."""
    found = []
    for one in maps:
        try:
            values = strength(one, by_size=one.evidence == "absolute")
            found.append(among_top(values, TOP).reshape(one.grid.shape))
        except InputError:
            continue
    if not found:
        raise InputError("no map of the case orders its voxels")
    return torch.stack(found).mean(dim=0)[None].float().numpy(), len(found)
