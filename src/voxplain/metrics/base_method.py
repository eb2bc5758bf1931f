"""Metrics that have a method explain again, other networks or other inputs; what several of them ask is asked once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, TypeVar, final

import torch
from torch import Tensor

from voxplain.errors import VoxplainError
from voxplain.metrics.base import Explain, Measured, Metric, Need
from voxplain.score.meeting import together
from voxplain.score.memory import SHARE_OF_AVAILABLE, available_bytes
from voxplain.score.model import Model
from voxplain.score.score import Score

Key = TypeVar("Key")
Item = TypeVar("Item")

HELD, SHARE = 40, 0.25
"""While a method explains again it holds up to so many times its input (maps of all neighbours), and so much of the
memory budget is for all that are asked side by side."""

NOT_FINITE = "the map holds values that are NaN or infinite"


@dataclass(frozen=True, eq=False)
class Second:
    """A further model to hold the explained one against; it reads the same prepared input."""

    model: Model
    shuffled: bool = False
    """True where it learnt from labels in random order."""


@dataclass(frozen=True, eq=False)
class Change:
    """Another network to explain in place of a case's own, or another question put to it."""

    name: str
    """What was changed, in a few words."""
    apply: Callable[[Score, Tensor], tuple[Score, Tensor]]
    """A case's frozen score and its input (1, channel, *space) -> the score and the input to explain."""
    at: float = 0.0
    """Where it lies on the curve of its kind, such as the share of layers that were randomised."""


@dataclass(frozen=True, eq=False)
class Input:
    """An input to explain, and the way back of its map."""

    x: Tensor
    """(1, channel, *space)."""
    back: Callable[[Tensor], Tensor] = lambda values: values
    """Lays a map of `x` on the voxels of the clean input."""
    ask: Callable[[Score], Score] = lambda score: score
    """The score to explain it by: a region moves with the image."""
    valid: Tensor | None = None
    """Voxels (*space) of the clean input that the way there and back has not cut off; None for all."""


@dataclass(frozen=True, eq=False)
class Explained:
    """A map that was asked for, and of what."""

    score: Score
    x: Tensor
    """(1, channel, *space)."""
    values: Tensor
    """(1, channel or 1, *space), on the voxels of the clean input."""
    valid: Tensor | None = None
    """Voxels (*space) that count; None for all."""
    _activations: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def output(self) -> Tensor:
        """What the model says about the input; asked once, whoever wants to know."""
        return self.score.output(self.x)

    def activation(self, layer: str) -> Tensor:
        """What a layer makes of the input (1, channel, *space); asked once, whoever wants to know."""
        if layer not in self._activations:
            self._activations[layer] = self.score.tap(self.x, [layer], back=False).taps[0].activation
        return self._activations[layer]


class Networks(ABC):
    """Which networks are explained. Equal ones (frozen records) are made once for all metrics, cases and methods."""

    @abstractmethod
    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        """One after another; what a change holds may be gone when the next is asked for."""


class Inputs(ABC):
    """Which inputs are explained under each network. Equal ones (frozen records) are explained once."""

    @abstractmethod
    def inputs(self, score: Score, x: Tensor) -> Iterator[Input]:
        """Versions of one case (1, channel, *space), the same for every method."""


@dataclass(frozen=True)
class Own(Networks):
    """The case's own score."""

    def changes(self, score: Score, x: Tensor, second: Sequence[Second]) -> Iterator[Change]:
        yield Change("", lambda own, case: (own, case))


@dataclass(frozen=True)
class AsItIs(Inputs):
    """The input as it is."""

    def inputs(self, score: Score, x: Tensor) -> Iterator[Input]:
        yield Input(x)


@dataclass(frozen=True, kw_only=True)
class MethodMetric(Metric):
    """A metric that has a method explain again. All methods and cases share its networks; its maps are never kept."""

    need: ClassVar[Need] = Need.METHOD

    @property
    def networks(self) -> Networks:
        """Which networks it needs explained."""
        return Own()

    @property
    def inputs(self) -> Inputs:
        """Which inputs it needs explained under each of them."""
        return AsItIs()

    @abstractmethod
    def compare(self, clean: Explained, others: Iterator[Explained], before: Sequence[Any]) -> Any:
        """What is kept of the maps of one change, one for each input; `before` is what was kept of earlier changes."""

    @abstractmethod
    def judge(self, clean: Explained, kept: Sequence[tuple[Change, Any]]) -> Measured:
        """The number, from what was kept of every change."""

    @final
    def __call__(self, score: Score, x: Tensor, explain: Explain, second: Sequence[Second] = ()) -> Measured:
        """The number of one method on one case (1, channel, *space); `explain` gives maps at its resolution."""
        return measure_methods([self], [(score, x)], [explain], second)[0][0][0]


@dataclass(eq=False)
class Record:
    """What is known of one case and method."""

    clean: Explained
    explain: Explain
    reason: str = ""
    """Why the clean map is of no use."""
    kept: dict[MethodMetric, list[tuple[Change, Any]]] = field(default_factory=dict)
    failed: dict[MethodMetric, str] = field(default_factory=dict)

    def take(self, metrics: Sequence[MethodMetric], change: Change, found: Iterator[Explained]) -> None:
        """Show the maps of one change to all metrics that asked for them; one metric sees each as it is made."""
        waiting = [metric for metric in metrics if metric not in self.failed]
        if self.reason or not waiting:
            return
        try:
            shared = list(found) if len(waiting) > 1 else None
        except VoxplainError as error:
            self.failed |= dict.fromkeys(waiting, str(error))
            return
        for metric in waiting:
            self._show(metric, change, found if shared is None else iter(shared))

    def _show(self, metric: MethodMetric, change: Change, found: Iterator[Explained]) -> None:
        before = self.kept.setdefault(metric, [])
        try:
            seen = metric.compare(self.clean, found, [one for _, one in before])
        except VoxplainError as error:
            self.failed[metric] = str(error)
        else:
            before.append((change, seen))

    def judged(self, metric: MethodMetric) -> Measured:
        """The number of a metric, or why there is none."""
        reason = self.reason or self.failed.get(metric, "")
        return Measured.not_applicable(reason) if reason else metric.judge(self.clean, self.kept.get(metric, []))


def measure_methods(
    metrics: Sequence[MethodMetric],
    cases: Sequence[tuple[Score, Tensor]],
    methods: Sequence[Explain],
    second: Sequence[Second] = (),
) -> list[list[list[Measured]]]:
    """The numbers [metric][case][method] of cases (1, channel, *space) that one model was asked about.

    Networks are the outermost loop, so that each is made once and lives alone; a clean map of each case and method is
    held meanwhile: give many cases in portions. Methods are asked side by side, and share their passes.
    """
    records = [_records(score, x, methods) for score, x in cases]
    everything = [one for row in records for one in row]
    for networks, group in _grouped([*dict.fromkeys(metrics)] if everything else [], lambda metric: metric.networks):
        try:
            score, x = everything[0].clean.score, everything[0].clean.x
            for change in networks.changes(score, x, second):
                for row in records:
                    _explain_again(row, change, group)
        except VoxplainError as error:
            for record in everything:
                record.failed |= dict.fromkeys(group, str(error))
    return [[[record.judged(metric) for record in row] for row in records] for metric in metrics]


def _explain_again(row: Sequence[Record], change: Change, metrics: Sequence[MethodMetric]) -> None:
    """Have all methods explain one case under one change."""
    try:
        score, x = change.apply(row[0].clean.score, row[0].clean.x)
    except VoxplainError as error:
        for record in row:
            record.failed |= dict.fromkeys(metrics, str(error))
        return
    for inputs, group in _grouped(metrics, lambda metric: metric.inputs):
        jobs = [partial(_take, record, group, change, inputs, x) for record in row]
        _side_by_side(score, x, jobs)


def _take(
    record: Record, metrics: Sequence[MethodMetric], change: Change, inputs: Inputs, x: Tensor, score: Score
) -> None:
    record.take(metrics, change, _maps(inputs, score, x, record.explain))


def _side_by_side(score: Score, x: Tensor, jobs: Sequence[Callable[[Score], Item]]) -> list[Item | VoxplainError]:
    """The results of jobs of one score, as many at once as memory holds; what several ask together is answered once."""
    budget = SHARE_OF_AVAILABLE * available_bytes(x.device) if score.budget is None else score.budget
    size = max(1, int(SHARE * budget / (HELD * x.nbytes)))
    portions = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    return [found for some in portions for found in together([(score, job) for job in some])]


def _maps(inputs: Inputs, score: Score, x: Tensor, explain: Explain) -> Iterator[Explained]:
    for one in inputs.inputs(score, x):
        asked = one.ask(score)
        yield Explained(asked, one.x, one.back(_finite(explain(asked, one.x))), one.valid)


def _records(score: Score, x: Tensor, methods: Sequence[Explain]) -> list[Record]:
    """Every method's clean map of one case."""
    x = x.detach().to(score.model.device)
    try:
        score = score.freeze(x)[1]
    except VoxplainError as error:
        return [_record(score, x, explain, error) for explain in methods]
    found = _side_by_side(score, x, [partial(_asked, explain, x) for explain in methods])
    return [_record(score, x, *one) for one in zip(methods, found, strict=True)]


def _asked(explain: Explain, x: Tensor, score: Score) -> Tensor:
    return explain(score, x)


def _record(score: Score, x: Tensor, explain: Explain, found: Tensor | VoxplainError) -> Record:
    """One method's clean map of one case, or what prevented it."""
    values, reason = (torch.zeros_like(x[:, :1]), str(found)) if isinstance(found, VoxplainError) else (found, "")
    if not torch.isfinite(values).all():
        reason = NOT_FINITE
    elif not values.any() and not reason:
        reason = "the map has no values but 0"
    return Record(Explained(score, x, values), explain, reason)


def _finite(values: Tensor) -> Tensor:
    """A map of a changed network; where that exploded, voxels without a number count as 0."""
    return torch.nan_to_num(values, 0.0, 0.0, 0.0)


def _grouped(items: Sequence[Item], key: Callable[[Item], Key]) -> list[tuple[Key, list[Item]]]:
    """Items with equal keys together, in the order in which the keys first come."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())
