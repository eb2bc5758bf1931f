"""Metrics that have methods explain again, over portions of cases: networks are changed once for all of a portion."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from voxplain.errors import VoxplainError
from voxplain.metrics.base import Explain, Measured, Need
from voxplain.metrics.base_method import MethodMetric, measure_methods
from voxplain.ops.controls import CONTROLS
from voxplain.score.memory import SHARE_OF_AVAILABLE, available_bytes
from voxplain.score.score import Score
from voxplain.score.target import target as as_target
from voxplain.study.evaluate_asked import Asked
from voxplain.study.evaluate_case import Spent, named, numbered
from voxplain.study.evaluate_cases import method_of
from voxplain.study.evaluate_folder import Place
from voxplain.study.evaluate_job import Entry, Job, Wanted
from voxplain.study.evaluate_maps import again, explain_with
from voxplain.study.rows import Row
from voxplain.study.run import Say, Tick

MOST_CASES = 16
"""Cases of a portion at most: a kill loses the numbers of one portion."""

SHARE = 0.25
"""Of the memory budget for the clean maps of a portion."""

Key = tuple[str, str]
"""A method and the layer that is meant."""


@dataclass(frozen=True, eq=False)
class Asking:
    """A case and target about which methods are asked again."""

    row: Row
    """What its rows begin with."""
    score: Score
    """Class and region are fixed by the clean input."""
    x: Tensor
    """(1, channel, *space)."""
    wanted: Sequence[Wanted]


def measure_again(job: Job, maps: Mapping[str, Sequence[Place]], say: Say, tick: Tick) -> None:
    """Find what is missing of the numbers of metrics that explain again, portion by portion."""
    portion: list[Asking] = []
    for number, (name, places) in enumerate(maps.items(), 1):
        portion += _askings(job, name, places)
        if portion and (len(portion) >= most_cases(job, portion[0].x) or number == len(maps)):
            say(f"explaining again, up to case {number} of {len(maps)}: {name}")
            _measure(job, portion)
            portion = []
        tick(number, len(maps))


def most_cases(job: Job, x: Tensor) -> int:
    """How many cases of this size make a portion: their clean maps are held while networks change."""
    budget = None if job.plan is None else job.plan.budget
    budget = budget or int(SHARE_OF_AVAILABLE * available_bytes(x.device))
    methods = len(CONTROLS) + (0 if job.plan is None else len(job.plan.methods))
    return min(MOST_CASES, max(1, int(SHARE * budget / (2 * methods * x.nbytes))))


def _askings(job: Job, name: str, places: Sequence[Place]) -> list[Asking]:
    """A case prepared for each of its targets that has numbers missing, none where nothing is."""
    maps = [Entry(one.target, one.method, one.layer, one.key) for one in places]
    wanted = job.wanted(name, maps, job.of(Need.METHOD))
    if not wanted or job.explainer is None:
        return []
    row = job.begun(name, job.folder.facts_of(name))
    try:
        case = job.case(name)
        ready = job.explainer.ready(case.image, case.mask, case.slice, case.segments)
        scores = {one.target: job.explainer.score(ready, as_target(one.target)) for one in wanted}
        frozen = {target: score.freeze(ready.x)[1] for target, score in scores.items()}
    except VoxplainError as error:
        job.fail(row, wanted, str(error))
        return []
    return [
        Asking({**row, "target": target}, score, ready.x, [one for one in wanted if one.target == target])
        for target, score in frozen.items()
    ]


def _measure(job: Job, portion: Sequence[Asking]) -> None:
    """Rows of all metrics that any case of the portion lacks, of all methods and controls together."""
    missing = {one.metric for asking in portion for one in asking.wanted}
    asked = [one for one in job.of(Need.METHOD) if one.name in missing]
    keys = list(dict.fromkeys((one.method, one.layer) for asking in portion for one in asking.wanted))
    metrics = [_checked(one) for one in asked]
    started, before = time.perf_counter(), _forwards(portion)
    found = measure_methods(
        metrics, [(one.score, one.x) for one in portion], [_explain(job, key) for key in keys], job.second
    )
    count = len(asked) * len(portion) * len(keys)
    spent = Spent(time.perf_counter() - started, _forwards(portion) - before, count)
    for case, asking in enumerate(portion):
        rows = [
            _row(asking, key, one, found[place][case][column], spent)
            for place, one in enumerate(asked)
            for column, key in enumerate(keys)
        ]
        job.keep(rows, asking.wanted)


def _checked(asked: Asked) -> MethodMetric:
    if not isinstance(asked.metric, MethodMetric):
        raise TypeError(f"{asked.metric} does not explain again")
    return asked.metric


def _explain(job: Job, key: Key) -> Explain:
    """A method or a control as metrics call it."""
    name, layer = key
    if name in CONTROLS:
        return lambda score, x: CONTROLS[name](x)
    if job.plan is None:
        raise TypeError("only a plan has methods")
    return explain_with(again(method_of(job.plan, name), layer))


def _row(asking: Asking, key: Key, asked: Asked, found: Measured, spent: Spent) -> Row:
    method, layer = key
    begun = named(asking.row, method, layer, control=method in CONTROLS)
    return numbered(begun, asked, asked.sign("positive"), found, spent)


def _forwards(portion: Sequence[Asking]) -> int:
    return sum(ledger.forwards for ledger in {id(one.score.ledger): one.score.ledger for one in portion}.values())
