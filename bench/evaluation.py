"""Measures what it takes to ask all metrics that need no second model about one case: `python -m bench.evaluation`.

ResNet-18 at 224 pixels, the methods `gradient` and `grad_cam`, a mask, and every default step count. Metrics are asked
one after the other, as an evaluation does, and share what they have in common: what several need is told with the first
of them. Random weights serve here, since time does not depend on them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import voxplain as vx
from bench.machine import load
from bench.networks import resnet18
from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.metrics.base import Explain, MapMetric, MaskMetric, Measured
from voxplain.metrics.base_inputs import INTENSITIES
from voxplain.metrics.base_method import MethodMetric, measure_methods
from voxplain.metrics.base_model import ModelMetric, Probe
from voxplain.ops.controls import CONTROLS
from voxplain.phantoms import phantom
from voxplain.study.evaluate_asked import asked_metrics
from voxplain.study.evaluate_maps import explain_with
from voxplain.types import Quantity

SIDE, CLASS = 224, 7
METHODS = ("gradient", "grad_cam")
NUISANCES = (*(name for name in INTENSITIES if name != "uniform"), "rotation", "spacing")


@dataclass(frozen=True)
class Spent:
    """What one metric, or several that share all their maps, took."""

    name: str
    processor: float
    """Seconds of all threads together."""
    wall: float
    forwards: int
    backwards: int


@dataclass(frozen=True, eq=False)
class Subject:
    """One case, its score, and the maps of all methods, and of controls where they are measured beside."""

    score: vx.Score
    x: Tensor
    mask: Image
    names: tuple[str, ...]

    def laid(self, values: Tensor) -> Attribution:
        """A map (channel or 1, *space) on the image's own grid, whose first axis runs along columns."""
        grid, count = self.mask.grid, len(values)
        return Attribution(
            values=values.detach().transpose(1, 2)[..., None].float().numpy(),
            grid=grid,
            quantity=Quantity.SALIENCY,
            method="",
            target="",
            image=Image.of(np.zeros((count, *grid.shape)), grid),
            channels=tuple(f"channel{number}" for number in range(count)) if count > 1 else ("all",),
        )

    def explain(self, name: str) -> Explain:
        """A method or control as metrics call it."""
        return (lambda score, x: CONTROLS[name](x)) if name in CONTROLS else explain_with(vx.method(name))


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.evaluation", description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--controls", action="store_true", help="with the controls that an evaluation measures beside")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    before = load()
    found = list(spent(subject(controls=chosen.controls)))
    print(table(found))
    print(f"\n{chosen.threads} threads, {before:.1f} jobs of the machine in the minute before")
    return 0


def subject(*, controls: bool = False, network: nn.Module | None = None, channels: int = 3) -> Subject:
    """The case, and all made that a model needs only once; torchvision's ResNet-18 where no network is given."""
    sample = phantom(f"tumours(side={SIDE})").sample(0, 0)
    if sample.mask is None:
        raise RuntimeError("the phantom has no mask")
    grey = torch.from_numpy(sample.image.values[..., 0]).transpose(1, 2)[None] / 255
    x, model = grey.expand(1, channels, SIDE, SIDE).contiguous(), vx.Model.of(network or resnet18())
    score = vx.Score(model, f"class_score({CLASS})")
    made = Subject(score.freeze(x)[1], x, sample.mask, (*METHODS, *(CONTROLS if controls else ())))
    for name in METHODS:
        made.explain(name)(made.score, x)
    return made


def spent(case: Subject) -> Iterator[Spent]:
    """What every metric takes, in the order of the table."""
    metrics = [one.metric for one in asked_metrics(["all", *(f"nuisance(of={name!r})" for name in NUISANCES)])]
    maps = [case.explain(name)(case.score, case.x)[0] for name in case.names]
    probe = Probe.of(case.score, case.x, maps)
    attributions = [case.laid(one) for one in maps]
    for metric in metrics:
        if isinstance(metric, MapMetric):
            yield _timed(metric.name, case, partial(looked_at, metric, attributions))
        elif isinstance(metric, MaskMetric):
            yield _timed(metric.name, case, partial(held_against, metric, attributions, case.mask))
        elif isinstance(metric, ModelMetric):
            yield _timed(metric.name, case, partial(metric.on, probe))
    methods = [case.explain(name) for name in case.names]
    again: dict[object, list[MethodMetric]] = {}
    for metric in metrics:
        if isinstance(metric, MethodMetric):
            again.setdefault((metric.networks, metric.inputs), []).append(metric)
    for group in again.values():
        told = group[0].name if len(group) == 1 else f"{group[0].name} and {len(group) - 1} more"
        told = f"nuisance, {group[0].of}" if group[0].name == "nuisance" else told  # type: ignore[attr-defined]
        yield _timed(told, case, partial(_of_methods, group, case, methods))


def looked_at(metric: MapMetric, maps: Sequence[Attribution]) -> list[Measured]:
    """The numbers of maps alone."""
    return [metric(one) for one in maps]


def held_against(metric: MaskMetric, maps: Sequence[Attribution], mask: Image) -> list[Measured]:
    """The numbers of maps against a mask."""
    return [metric(one, mask) for one in maps]


def _of_methods(group: list[MethodMetric], case: Subject, methods: list[Explain]) -> list[Measured]:
    return [one for found in measure_methods(group, [(case.score, case.x)], methods) for one in found[0]]


def _timed(name: str, case: Subject, work: Callable[[], list[Measured]]) -> Spent:
    ledger = case.score.ledger
    counts, begin = (ledger.forwards, ledger.backwards), (time.process_time(), time.perf_counter())
    found = work()
    taken = time.process_time() - begin[0], time.perf_counter() - begin[1]
    told = name if any(one.value is not None for one in found) else f"{name} (no number)"
    return Spent(told, *taken, ledger.forwards - counts[0], ledger.backwards - counts[1])


def table(found: Sequence[Spent]) -> str:
    """All of it as Markdown, the longest first, and the sum."""
    total = Spent(
        "all", *(sum(getattr(one, name) for one in found) for name in Spent.__annotations__ if name != "name")
    )
    rows = [*sorted(found, key=lambda one: -one.processor), total]
    head = "| metric | processor, s | wall, s | forwards | backwards |\n|---|---|---|---|---|"
    lines = [
        f"| `{one.name}` | {one.processor:.2f} | {one.wall:.2f} | {one.forwards} | {one.backwards} |" for one in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
