"""The source's information flow: two methods at every convolution, one slice of each map and numbers of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from voxplain.data.attribution import Attribution
from voxplain.data.writing import json_text, written_beside
from voxplain.methods import method
from voxplain.score.target import Target
from voxplain.space.grid import Grid
from voxplain.space.planes import plane, take
from voxplain.study.explain import Explainer
from voxplain.study.flow_maps import layer_maps
from voxplain.study.ready import Ready
from voxplain.types import Quantity

Array = npt.NDArray[Any]

FLOWS = ("gcam", "ggcam")
"""What flows are made of: Grad-CAM and guided Grad-CAM, under the source's short names."""

METHODS = {"gcam": "grad_cam", "ggcam": "guided_grad_cam"}

FULL_COLOUR = 99.9
"""Percentile of a whole map's magnitudes at which figures reach full colour; kept, since only a slice of it is."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One method at one layer: the shown slice, and numbers of the whole map."""

    number: int
    """From 1, in the order in which the network runs its convolutions."""
    name: str
    quantity: Quantity
    unit: str
    values: Array
    """(channel, columns, rows, 1) on the axial slice."""
    low: float
    high: float
    """Smallest and largest value of the whole map, its channels joined as `joined` does."""
    limit: float
    """Where full colour is reached, from the whole map."""
    inside: float | None
    """Share of the whole map's magnitude inside the true region; None for a map of zeros or without a region."""


def flow(
    explainer: Explainer, ready: Ready, target: Target, layers: Sequence[str], index: int, region: Array | None
) -> dict[str, list[Layer]]:
    """Grad-CAM and guided Grad-CAM of a target at all `layers`, on axial slice `index`; both share one pass.

    `region` (i, j, k) is where evidence should lie.
    """
    found: dict[str, list[Layer]] = {name: [] for name in FLOWS}
    asked = [(target, method(METHODS[name])) for name in FLOWS]
    for one in layer_maps(explainer, ready, asked, layers):
        found[FLOWS[one.question]].append(_layer(one.attribution, one.layer + 1, index, region))
    return found


def joined(values: Array) -> Array:
    """A map (channel, ...) as one picture: the sum of magnitudes over channels, as the source shows its maps."""
    return np.asarray(np.abs(values).sum(axis=0, dtype=np.float64), dtype=np.float32)


def save_flow(found: dict[str, list[Layer]], file: Path) -> None:
    """Slices as safetensors, and what is known of each layer as JSON beside them."""
    told = ("number", "name", "unit", "low", "high", "limit", "inside")
    with written_beside(file) as beside:
        named = {f"{name}.{one.number}": one.values for name, ones in found.items() for one in ones}
        save_file({key: np.ascontiguousarray(values, dtype=np.float32) for key, values in named.items()}, beside)
    rows = {
        name: [{**{key: getattr(one, key) for key in told}, "quantity": one.quantity.name} for one in ones]
        for name, ones in found.items()
    }
    with written_beside(file.with_suffix(".json")) as beside:
        beside.write_text(json_text(rows, indent=1) + "\n", "utf-8")


def load_flow(file: Path, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[Layer]]:
    """What `save_flow` wrote, from the slices' file and the rows of its JSON."""
    slices = load_file(file)
    return {
        name: [
            Layer(**{**row, "quantity": Quantity[row["quantity"]]}, values=slices[f"{name}.{row['number']}"])
            for row in ones
        ]
        for name, ones in rows.items()
    }


def _layer(one: Attribution, number: int, index: int, region: Array | None) -> Layer:
    picture = joined(one.values)
    present = picture[picture > 0]
    total = float(picture.sum(dtype=np.float64))
    measured = region is not None and total > 0
    return Layer(
        number=number,
        name=one.layer,
        quantity=one.quantity,
        unit=one.unit,
        values=on_slice(one.values, one.grid, index),
        low=float(picture.min()),
        high=float(picture.max()),
        limit=float(np.percentile(present, FULL_COLOUR)) if present.size else 0.0,
        inside=float(picture[region].sum(dtype=np.float64)) / total if measured else None,
    )


def on_slice(values: Array, grid: Grid, index: int) -> Array:
    """Values (channel, i, j, k) on the axial slice `index` of a grid: (channel, columns, rows, 1)."""
    return values if grid.is_2d else take(values, plane(grid, "axial"), index)[..., None]
