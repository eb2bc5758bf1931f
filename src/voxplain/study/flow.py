"""The information flow: what a method says at every convolution of a network, first to last, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from voxplain.data.attribution import Attribution
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.methods import Method, method
from voxplain.score.memory import parse_bytes
from voxplain.score.model import Model
from voxplain.score.target import Target, target
from voxplain.study.certify import unchanged
from voxplain.study.explain import Explainer, labels_of, loaded
from voxplain.study.flow_layers import Layers, flow_layers
from voxplain.study.flow_maps import LayerMap, flowing, layer_maps
from voxplain.study.flow_numbers import layer_numbers, sampled, with_comparisons
from voxplain.study.plan import Plan
from voxplain.study.rows import Row
from voxplain.study.run import Made, Outcome, Say, Tick, check_plan, questions, run, with_check

SHOWN = ("number", "layer", "cells", "low", "high", "energy_share", "sparseness", "agreement", "why")
"""What tables on a terminal and in a notebook show of a row."""


@dataclass(frozen=True, eq=False)
class FlowPlan(Plan):
    """A plan whose methods are asked at many layers."""

    layers: tuple[str, ...] = ()
    """Patterns and names of layers; none: all convolutions."""

    @classmethod
    def of(cls, plan: Plan, layers: Sequence[str] = ()) -> FlowPlan:
        """The flow of a plan's methods; raises `InputError` for methods that cannot flow."""
        found = cls(**{one.name: getattr(plan, one.name) for one in fields(plan)}, layers=tuple(layers))
        return replace(found, methods=tuple(flowing(one) for one in plan.methods))

    def to_table(self, cases: Sequence[str]) -> dict[str, Any]:
        return {**super().to_table(cases), "flow": {"layers": list(self.layers)}}


def run_flow(
    plan: FlowPlan,
    cases: Sequence[Case],
    out: Path,
    *,
    single: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
) -> Outcome:
    """As `voxplain.study.run.run`, with a map at every layer of the flow and its numbers in every row."""
    check_plan(plan)
    return run(plan, cases, out, single=single, say=say, tick=tick, make=_made)


def _made(explainer: Explainer, case: Case, plan: Plan, say: Say, tick: Tick) -> Made:
    """The maps of one case at all layers."""
    ready = explainer.ready(case.image, case.mask, case.slice, case.segments)
    layers = flow_layers(explainer.model, ready.x, plan.layers if isinstance(plan, FlowPlan) else ())
    _tell(layers, say)
    asked = [(one or ready.prediction.default_target, how) for one, how in questions(plan, case)]
    tick(0, len(asked))
    found = list(layer_maps(explainer, ready, asked, layers.names, partial(_tick, tick, len(asked))))
    check = unchanged(plan.model)
    return Made(ready, [with_check(one.attribution, check) for one in found], [], flow_numbers(found))


def _tell(layers: Layers, say: Say) -> None:
    say(f"  {len(layers.names)} layers: {layers.names[0]} to {layers.names[-1]}")
    for sentence in layers.left_out:
        say(f"  left out: {sentence}")


def _tick(tick: Tick, total: int, done: int) -> None:
    tick(done, total)


def flow_numbers(found: Sequence[LayerMap]) -> list[Row]:
    """The numbers of every map, compared among the maps of its own question."""
    rows: list[Row] = []
    for question in dict.fromkeys(one.question for one in found):
        own = [one for one in found if one.question == question]
        plain = [layer_numbers(one.layer + 1, one.attribution) for one in own]
        rows += with_comparisons(plain, [sampled(one.attribution) for one in own])
    return rows


@dataclass(frozen=True, eq=False)
class Flow:
    """The maps of one method at all layers, in the order in which the network runs them."""

    maps: tuple[Attribution, ...]
    rows: tuple[Row, ...]
    """Numbers of each map: `voxplain.study.flow_numbers` says what they are."""
    left_out: tuple[str, ...] = ()
    """Why layers that were meant have no map."""

    COLUMNS: ClassVar[tuple[str, ...]] = SHOWN

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names."""
        return tuple(one.layer for one in self.maps)

    @property
    def constant(self) -> tuple[str, ...]:
        """The layers whose map is the same everywhere."""
        return tuple(row["layer"] for row in self.rows if row["constant"])

    def __str__(self) -> str:
        return "\n".join(flow_table(self.rows))


def flow(
    model: Model | nn.Module,
    image: Image | str | Any,
    method: str | Method = "grad_cam",
    *,
    layers: str | Sequence[str] = (),
    target: str | Target | None = None,
    prepare: Prepare | None = None,
    mask: Image | str | Any = None,
    slice: int | None = None,
    device: str = "cpu",
    memory: str | int | None = None,
) -> Flow:
    """What a method says about one image at every convolution of a network, from one pass.

    `method` is a relative of class activation maps that needs no pass a channel, `guided_grad_cam`, `gradient` or
    `input_x_gradient`; `layers` are patterns such as 'encoder*' among the convolutions, or full names of any layers.
    The other options are those of `voxplain.explain`. Raises `InputError` for other methods and unknown layers.
    """
    asked = flowing(as_method(method))
    made = model if isinstance(model, Model) else Model.of(model)
    budget = parse_bytes(memory) if isinstance(memory, str) else memory
    explainer = Explainer(made.on(device), prepare or Prepare(), budget)
    made.require(asked.needed_access, asked.name)
    picture = loaded(image)
    ready = explainer.ready(picture, labels_of(mask, picture, "mask"), slice)
    found = flow_layers(explainer.model, ready.x, [layers] if isinstance(layers, str) else layers)
    goal = ready.prediction.default_target if target is None else as_target(target)
    maps = list(layer_maps(explainer, ready, [(goal, asked)], found.names))
    rows = [{"layer": name, **row} for name, row in zip(found.names, flow_numbers(maps), strict=True)]
    return Flow(tuple(one.attribution for one in maps), tuple(rows), found.left_out)


as_method = method
as_target = target


def flow_table(rows: Sequence[Row]) -> list[str]:
    """Rows of one flow as the lines of a table; of several cases the medians, and in how many a layer is constant."""
    layers = dict.fromkeys(row["layer"] for row in rows)
    grouped = [[row for row in rows if row["layer"] == layer] for layer in layers]
    lines = [SHOWN, *(tuple(_cell(name, own) for name in SHOWN) for own in grouped)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(SHOWN))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cell(name: str, rows: Sequence[Row]) -> str:
    """One layer's entry of the table."""
    values = [row[name] for row in rows if row[name] is not None]
    if name == "why":
        flat = [row for row in rows if row["constant"]]
        where = f" in {len(flat)} of {len(rows)} cases" if len(rows) > 1 else ""
        return f"constant{where}: {flat[0]['why']}" if flat else ""
    if not values:
        return "-"
    if isinstance(values[0], str) or name == "number":
        return str(values[0])
    return f"{float(np.median(values)):.3g}"
