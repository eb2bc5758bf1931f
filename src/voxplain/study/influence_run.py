"""Influence over many cases: one row for each region and output, and the mean matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.errors import VoxplainError
from voxplain.score.memory import parse_bytes
from voxplain.score.model import Model
from voxplain.spec import table_of
from voxplain.study import rows as told
from voxplain.study.explain import Explainer, labels_of, loaded
from voxplain.study.influence import Influence, Influencing, influence_of
from voxplain.study.plan import Plan
from voxplain.study.rows import Row
from voxplain.study.run import HOPELESS
from voxplain.study.run_folder import RunFolder

Array = npt.NDArray[np.float64]
Say = Callable[[str], None]

COLUMNS = ("case", "status", "error", "region", "region_name", "output", "output_name", "fall", "share", "size",
           "score", "unit")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Matrix:
    """Influence by name, the mean over all cases in which a region and an output occur together."""

    regions: tuple[str, ...]
    outputs: tuple[str, ...]
    falls: Array
    """(region, output); NaN for pairs that no case has, as in `shares`."""
    shares: Array
    sizes: Array
    """(region,): mean part of all voxels."""
    cases: npt.NDArray[np.int64]
    """(region, output): cases that have both."""
    unit: str


def run_influence(
    plan: Plan,
    cases: Sequence[Case],
    out: Path,
    how: Influencing,
    *,
    region_names: Sequence[str] = (),
    single: bool = False,
    say: Say = lambda line: None,
) -> list[Row]:
    """Measure every case and write plan, rows and table to `out`; finished cases of the same plan are kept.

    A case that cannot be measured is a failed row, or with `single` an error.
    """
    table = {**plan.to_table([case.identifier for case in cases]), "influence": table_of(how)}
    folder = RunFolder.at(out, table)
    folder.begin(table)
    explainer = Explainer(plan.model, plan.prepare, plan.budget, plan.seed)
    rows = [row for row in folder.rows() if row["status"] == "done"]
    for number, case in enumerate(cases, 1):
        there = any(row["case"] == case.identifier for row in rows)
        say(f"case {number} of {len(cases)}: {case.identifier}{' is already there' if there else ''}")
        if not there:
            rows += _tried(explainer, case, plan, how, region_names, single, say)
            folder.write_rows(rows, COLUMNS)
    return rows


def _tried(
    explainer: Explainer,
    case: Case,
    plan: Plan,
    how: Influencing,
    region_names: Sequence[str],
    single: bool,
    say: Say,
) -> list[Row]:
    try:
        ready = explainer.ready(case.image, case.mask, case.slice, case.segments)
        found = influence_of(explainer, ready, how)
    except VoxplainError as error:
        if single or isinstance(error, HOPELESS):
            raise
        say(f"  failed: {error}")
        failed = told.failed(case, plan, error)
        return [{key: failed.get(key) for key in ("case", "status", "error")}]
    for sentence in found.left_out:
        say(f"  left out: {sentence}")
    names = plan.model.class_names
    own = names if ready.prediction.kind == "segmentation" and max(found.regions) < len(names) else ()
    return influence_rows(case.identifier, found, region_names or own, names)


def influence_rows(case: str, found: Influence, region_names: Sequence[str], names: Sequence[str]) -> list[Row]:
    """One row for each region and output of a case; names are by label and by output."""
    return [
        {
            "case": case,
            "status": "done",
            "error": None,
            "region": region,
            "region_name": _name(region, region_names) if region else "no label",
            "output": output,
            "output_name": _name(output, names),
            "fall": float(found.falls[i, j]),
            "share": None if np.isnan(found.shares[i, j]) else float(found.shares[i, j]),
            "size": float(found.sizes[i]),
            "score": float(found.scores[j]),
            "unit": found.unit,
        }
        for i, region in enumerate(found.regions)
        for j, output in enumerate(found.outputs)
    ]


def _name(number: int, names: Sequence[str]) -> str:
    return names[number] if number < len(names) else f"label {number}"


def influence_matrix(rows: Sequence[Row]) -> Matrix:
    """The mean of the rows of all cases; regions and outputs in the order of their numbers."""
    done = [row for row in rows if row["status"] == "done"]
    regions = {row["region"]: row["region_name"] for row in sorted(done, key=lambda row: int(row["region"]))}
    outputs = {row["output"]: row["output_name"] for row in sorted(done, key=lambda row: int(row["output"]))}

    def mean(entry: str, region: int, output: int | None) -> float:
        own = [row for row in done if row["region"] == region and output in (None, row["output"])]
        values = [row[entry] for row in own if row[entry] is not None]
        return float(np.mean(values)) if values else float("nan")

    pairs = [[(region, output) for output in outputs] for region in regions]
    counts = [[sum((row["region"], row["output"]) == pair for row in done) for pair in line] for line in pairs]
    return Matrix(
        tuple(regions.values()),
        tuple(outputs.values()),
        np.array([[mean("fall", *pair) for pair in line] for line in pairs]),
        np.array([[mean("share", *pair) for pair in line] for line in pairs]),
        np.array([mean("size", region, None) for region in regions]),
        np.array(counts),
        done[0]["unit"] if done else "",
    )


def matrix_lines(matrix: Matrix) -> list[str]:
    """The matrix as lines of a table: fall, and the share of the gradient with the region's size."""
    head = ("region", "of all voxels", *(f"{name}: fall, share" for name in matrix.outputs))
    lines = [head]
    for i, region in enumerate(matrix.regions):
        pairs = zip(matrix.falls[i], matrix.shares[i], strict=True)
        lines.append((region, f"{matrix.sizes[i]:.1%}", *(f"{fall:.3g}, {share:.1%}" for fall, share in pairs)))
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def influence(
    model: Model | nn.Module,
    image: Image | str | Any,
    *,
    regions: str = "auto",
    fill: float | str = "tissue",
    mask: Image | str | Any = None,
    segments: Image | str | Any = None,
    prepare: Prepare | None = None,
    slice: int | None = None,
    device: str = "cpu",
    memory: str | int | None = None,
) -> Influence:
    """How much each labelled region of one image has to say in each output of a model.

    Regions are the labels of `segments`, of the `mask`, or what the model predicts; `fill` is what covers them. The
    other options are those of `voxplain.explain`. Raises `InputError` where there are no regions.
    """
    made = model if isinstance(model, Model) else Model.of(model)
    budget = parse_bytes(memory) if isinstance(memory, str) else memory
    explainer = Explainer(made.on(device), prepare or Prepare(), budget)
    picture = loaded(image)
    parts = labels_of(segments, picture, "segments")
    ready = explainer.ready(picture, labels_of(mask, picture, "mask"), slice, parts)
    return influence_of(explainer, ready, Influencing(regions=regions, fill=fill))  # type: ignore[arg-type]
