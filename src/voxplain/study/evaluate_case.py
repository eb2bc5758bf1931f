"""One case and target measured: every metric that looks at finished maps, for all maps together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from voxplain.data.image import Image
from voxplain.errors import MemoryShort, VoxplainError
from voxplain.metrics.base import MapMetric, MaskMetric, Measured
from voxplain.metrics.base_model import ModelMetric, Probe
from voxplain.score.score import Score
from voxplain.spec import text
from voxplain.study.evaluate_asked import FACTS, Asked, Evidence
from voxplain.study.evaluate_maps import Laid
from voxplain.study.rows import Row

NO_MASK = "the case has no mask"


@dataclass(frozen=True, eq=False)
class Subject:
    """One case and target, with all that its maps are held against."""

    row: Row
    """What every row of it begins with: case, group, label, model, target."""
    mask: Image | None = None
    """On the image's own grid."""
    body: Image | None = None
    """Voxels that count, on the image's own grid; None for all."""
    score: Score | None = None
    """None where there is no model to ask."""
    x: Tensor | None = None
    """The network's input (1, channel, *space)."""
    inside: Tensor | None = None
    """The body on the network's grid (*space)."""


@dataclass(frozen=True)
class Spent:
    """What finding some numbers took."""

    seconds: float
    forwards: int
    shared_by: int
    """How many numbers were found together in these seconds and forwards."""


def map_rows(subject: Subject, maps: Sequence[Laid], asked: Sequence[Asked]) -> Iterator[Row]:
    """Rows of the metrics that look at a map alone, or hold it against the mask."""
    for one in asked:
        for laid in maps:
            started = time.perf_counter()
            metric = one.of_map(laid.attribution.evidence)
            try:
                found, broken = _looked_at(metric, subject, laid), ""
            except VoxplainError as error:
                found, broken = Measured.not_applicable(str(error)), str(error)
            spent = Spent(time.perf_counter() - started, 0, 1)
            yield row_of(subject, laid, one, found, spent, broken or laid.flaw)


def _looked_at(metric: Any, subject: Subject, laid: Laid) -> Measured:
    if isinstance(metric, MapMetric):
        return metric(laid.attribution, subject.body)
    if not isinstance(metric, MaskMetric):
        raise TypeError(f"{metric} does not look at maps alone")
    if subject.mask is None:
        return Measured.not_applicable(NO_MASK)
    return metric(laid.attribution, subject.mask, subject.body)


def model_rows(subject: Subject, maps: Sequence[Laid], asked: Sequence[Asked]) -> Iterator[Row]:
    """Rows of the metrics that hold maps against what the model does; maps of one kind share their passes."""
    if subject.score is None or subject.x is None or not asked or not maps:
        return
    ruled, plain = ([one for one in asked if one.by_evidence is by] for by in (True, False))
    portions: list[tuple[Sequence[Laid], Sequence[Asked], Evidence]] = [(maps, plain, "positive")]
    for evidence in dict.fromkeys(laid.attribution.evidence for laid in maps):
        own = [laid for laid in maps if laid.attribution.evidence == evidence]
        portions.append((own, ruled, evidence))
    for some, metrics, evidence in portions:
        if metrics:
            probe = Probe.of(subject.score, subject.x, [_values(laid) for laid in some], subject.inside)
            for one in metrics:
                yield from _model_rows(subject, some, one, probe, evidence)


def _model_rows(
    subject: Subject, maps: Sequence[Laid], asked: Asked, probe: Probe, evidence: Evidence
) -> Iterator[Row]:
    started, before = time.perf_counter(), probe.score.ledger.forwards
    metric = asked.of_map(evidence)
    if not isinstance(metric, ModelMetric):
        raise TypeError(f"{metric} does not ask the model")
    broken = ""
    try:
        found = metric.on(probe)
    except MemoryShort:
        raise
    except VoxplainError as error:
        found, broken = [Measured.not_applicable(str(error))] * len(maps), str(error)
    spent = Spent(time.perf_counter() - started, probe.score.ledger.forwards - before, len(maps))
    for laid, measured in zip(maps, found, strict=True):
        yield row_of(subject, laid, asked, measured, spent, broken or laid.flaw)


def _values(laid: Laid) -> Tensor:
    if laid.values is None:
        raise TypeError("a map read from a file has no values on the network's grid")
    return laid.values


def row_of(subject: Subject, laid: Laid, asked: Asked, found: Measured, spent: Spent, broken: str = "") -> Row:
    """The row of a number of a map."""
    one = laid.attribution
    begun = named(subject.row, one.method, one.layer, control=laid.control)
    return numbered(begun, asked, asked.sign(one.evidence), found, spent, broken)


def numbered(begun: Row, asked: Asked, sign: str | None, found: Measured, spent: Spent, broken: str = "") -> Row:
    """A row with its number; without one it failed where something is `broken`, else the metric does not apply."""
    finite = found.value is not None and math.isfinite(found.value)
    odd = "the number is not finite" if found.value is not None and not finite else ""
    return {
        **begun,
        "metric": asked.name,
        "sign": sign,
        "value": found.value if finite else None,
        "chance": found.chance,
        "status": "done" if finite else "failed" if broken or odd else "not applicable",
        "reason": "" if finite else found.reason or odd or broken,
        **asdict(spent),
        **({"numbers": dict(found.numbers)} if found.numbers else {}),
        **({"curves": {name: asdict(curve) for name, curve in found.curves.items()}} if found.curves else {}),
    }


def fact_rows(subject: Subject, maps: Sequence[Laid]) -> Iterator[Row]:
    """Rows of what making each map took; controls are no methods and have none."""
    for laid in maps:
        one = laid.attribution
        for name, value in laid.took.items():
            there = value is not None
            yield {
                **named(subject.row, one.method, one.layer, control=False),
                "metric": name,
                "sign": None,
                "value": value,
                "chance": None,
                "status": "done" if there else "not applicable",
                "reason": "" if there else "this system cannot tell the memory of a single map",
                **asdict(Spent(0.0, 0, 1)),
            }


def named(row: Row, method: str, layer: str, *, control: bool) -> Row:
    """The beginning of a row of one map of a case and target."""
    return {**row, "method": method, "layer": layer, "control": control}


def full_name(asked: Asked) -> str:
    """The metric's spec with every option spelled out."""
    return text(asked.metric, full=True) if asked.name not in FACTS else asked.name
