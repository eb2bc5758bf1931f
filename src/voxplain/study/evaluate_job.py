"""An evaluation at work: what was asked, which numbers are still to be found, and where they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.metrics.base import Need
from voxplain.metrics.base_method import Second
from voxplain.ops.controls import CONTROLS
from voxplain.study.evaluate_asked import FACTS, Asked
from voxplain.study.evaluate_case import full_name, named
from voxplain.study.evaluate_folder import stored_case
from voxplain.study.evaluate_rows import MetricRows, key_of
from voxplain.study.explain import Explainer
from voxplain.study.overlap import unread
from voxplain.study.plan import Plan
from voxplain.study.rows import Row
from voxplain.study.run_folder import RunFolder

Body = Literal["all", "segments", "nonzero"]
"""Which voxels count: all, those of the case's segments, or those that are not 0 in every channel."""


@dataclass(frozen=True)
class Entry:
    """A map of a case, as far as rows name it."""

    target: str
    method: str
    layer: str
    key: str
    """What decided the map."""


@dataclass(frozen=True)
class Wanted:
    """A number that is still to be found."""

    target: str
    method: str
    layer: str
    metric: str
    key: str
    """What decides the number."""

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What it is the number of."""
        return self.target, self.method, self.layer, self.metric


@dataclass(frozen=True, eq=False)
class Job:
    """A run folder, the model where there is one, and what was asked of both."""

    folder: RunFolder
    store: MetricRows
    asked: tuple[Asked, ...]
    model_name: str
    plan: Plan | None = None
    """None where there is no model: maps are only looked at."""
    second: tuple[Second, ...] = ()
    body: Body = "all"
    given: Mapping[str, Case] | None = None
    """Cases by id where the user gave them; None: as the run folder keeps them."""

    @cached_property
    def explainer(self) -> Explainer | None:
        """Who makes maps, None without a model."""
        plan = self.plan
        if plan is None:
            return None
        return Explainer(plan.model, plan.prepare, plan.budget, plan.seed, plan.verify, plan.references)

    def of(self, *needs: Need) -> list[Asked]:
        """The metrics that need one of these."""
        return [one for one in self.asked if one.metric.need in needs]

    def case(self, name: str) -> Case:
        """A case of the run; its voxels are read when used, and let go with it."""
        return stored_case(self.folder, name) if self.given is None else unread(self.given[name])

    def begun(self, case: str, facts: Mapping[str, Any]) -> Row:
        """What every row of a case begins with."""
        return {"case": case, "group": facts.get("group"), "label": facts.get("label"), "model": self.model_name}

    def wanted(self, case: str, maps: Sequence[Entry], asked: Sequence[Asked]) -> list[Wanted]:
        """The numbers of a case's maps and of the controls beside them that are still to be found."""
        first = {one.target: one.key for one in reversed(maps)}
        beside = [Entry(target, name, "", f"{name} {key}") for target, key in first.items() for name in CONTROLS]
        found = [
            Wanted(one.target, one.method, one.layer, metric.name, self._key(one, metric))
            for one in (*maps, *beside)
            for metric in asked
        ]
        return self.lacking(case, found)

    def wanted_facts(self, case: str, maps: Sequence[Entry]) -> list[Wanted]:
        """What making the maps took, where that is still to be measured."""
        found = [
            Wanted(one.target, one.method, one.layer, name, key_of(map=one.key, metric=name))
            for one in maps
            for name in FACTS
        ]
        return self.lacking(case, found)

    def _key(self, entry: Entry, asked: Asked) -> str:
        """The map's own key, the metric with all its options, and what it was held against."""
        models = [[one.model.weights_hash, one.shuffled] for one in self.second] if asked.needs_second else []
        signs = asked.by_evidence
        return key_of(map=entry.key, metric=full_name(asked), signs=signs, second=models, body=self.body)

    def lacking(self, case: str, found: Iterable[Wanted]) -> list[Wanted]:
        """Those of a case's numbers that are not written yet."""
        return [one for one in found if self.store.lacks({"case": case, **vars(one)})]

    def keep(self, rows: Iterable[Row], wanted: Sequence[Wanted]) -> None:
        """Write those of the rows that are wanted."""
        keys = {one.name: one.key for one in wanted}
        found = [{**row, "key": keys.get((row["target"], row["method"], row["layer"], row["metric"]))} for row in rows]
        self.store.add([row for row in found if row["key"] is not None])

    def fail(self, row: Row, wanted: Iterable[Wanted], reason: str) -> None:
        """Write rows of numbers that something kept from being found."""
        self.store.add([*_failed(row, wanted, reason)])


def _failed(row: Row, wanted: Iterable[Wanted], reason: str) -> Iterator[Row]:
    for one in wanted:
        beginning = {**row, "target": one.target}
        yield {
            **named(beginning, one.method, one.layer, control=one.method in CONTROLS),
            "metric": one.metric,
            "sign": None,
            "value": None,
            "chance": None,
            "status": "failed",
            "reason": reason,
            "seconds": 0.0,
            "forwards": 0,
            "shared_by": 1,
            "key": one.key,
        }


def body_of(rule: Body, image: Image, segments: Image | None) -> Image | None:
    """The voxels of an image that count, None for all."""
    if rule == "segments":
        return segments
    if rule == "nonzero":
        return Image.of((image.values != 0).any(axis=0, keepdims=True), image.grid, identifier=image.identifier)
    return None
