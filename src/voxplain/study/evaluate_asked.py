"""Which metrics an evaluation was asked for, and how each treats the signs of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from voxplain.errors import OptionError, unknown
from voxplain.metrics import metric, table
from voxplain.metrics.base import Metric, Need
from voxplain.metrics.base_method import MethodMetric
from voxplain.metrics.base_networks import Others
from voxplain.spec import Spec, parse, schema, text
from voxplain.study.default_metrics import DEFAULT

Evidence = Literal["positive", "absolute"]


@dataclass(frozen=True)
class Asked:
    """A metric, and whether a map's own kind of evidence decides which signs count."""

    metric: Metric
    by_evidence: bool = False
    """True where the metric has a sign rule that was not named: derivatives then count by their size."""

    @classmethod
    def of(cls, source: str | Metric) -> Asked:
        """The metric that a spec stands for; a sign rule that stands in the spec holds for every map."""
        made = metric(source)
        if isinstance(source, Metric):
            return cls(made)
        ruled = made.need is not Need.METHOD and "sign" in {one.name for one in fields(made)}
        return cls(made, ruled and "sign" not in parse(source, "metric").options)

    @property
    def name(self) -> str:
        """The spec under which its rows stand."""
        return text(self.metric)

    @property
    def needs_second(self) -> bool:
        """True where it compares with a further model."""
        return isinstance(self.metric, MethodMetric) and isinstance(self.metric.networks, Others)

    def of_map(self, evidence: Evidence) -> Metric:
        """The metric as it treats a map of that kind of evidence."""
        if not self.by_evidence or evidence == "positive":
            return self.metric
        options: dict[str, Any] = {"sign": "absolute"}
        return replace(self.metric, **options)

    def sign(self, evidence: Evidence) -> str | None:
        """The rule for signs that a row states; None for a metric that has none."""
        rule = getattr(self.of_map(evidence), "sign", None)
        return None if rule is None else str(rule)


def asked_metrics(sources: Sequence[str | Metric] | None, *, second: bool = False) -> tuple[Asked, ...]:
    """The metrics of some specs, each once; None for the default set, 'all' for all of the table.

    With 'all', metrics that want a second model take part where there is one, and those with options that have no
    default only where they are named besides. Raises `OptionError` for unknown names and options.
    """
    named = [Asked.of(one) for one in sources or () if one != "all"]
    if sources is None:
        named = [Asked.of(name) for name in DEFAULT]
    elif not sources:
        raise OptionError("at least one metric must be asked for, got none; see voxplain metrics")
    if sources is not None and "all" in sources:
        others = [name for name in _without_options() if name not in {one.metric.name for one in named}]
        named += [one for one in map(Asked.of, others) if second or not one.needs_second]
    return tuple(dict.fromkeys(named))


def _without_options() -> list[str]:
    return [name for name, cls in table().items() if not any(option["required"] for option in schema(cls))]


@dataclass(frozen=True)
class Fact:
    """A number that every map brings along."""

    title: str
    unit: str


FACTS = {
    "seconds": Fact("Time of a map", "s"),
    "forwards": Fact("Forward passes of a map", ""),
    "backwards": Fact("Backward passes of a map", ""),
    "peak_memory": Fact("Memory that a map takes at most", "MB"),
}
"""What making a map takes, measured with each method asked alone; less is better."""


@dataclass(frozen=True)
class Told:
    """What a summary says of a metric besides its numbers."""

    title: str
    better: Literal["higher", "lower"]
    bounds: tuple[float | None, float | None]
    need: str
    citation: str = ""


def told(name: str) -> Told:
    """What is known of the metric of a row, by its spec; raises `OptionError` for one that is not known."""
    spec: Spec = parse(name, "metric")
    if spec.name in FACTS:
        return Told(FACTS[spec.name].title, "lower", (0.0, None), "the map's own record")
    if spec.name not in table():
        raise unknown("metric", spec.name, [*table(), *FACTS])
    made = metric(name)
    return Told(made.title, made.better, made.bounds, str(made.need), made.citation)
