"""Heads x methods x metrics of one network: a row each in metrics.jsonl, written head by head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import OptionError, VoxplainError
from voxplain.methods import Method
from voxplain.metrics.base import Measured
from voxplain.ops.controls import CONTROLS
from voxplain.phantoms.base import Sample
from voxplain.spec import text
from voxplain.study.benchmark_networks import UNSEEN, Trained
from voxplain.study.benchmark_swap import TARGET
from voxplain.study.evaluate_asked import Asked, asked_metrics
from voxplain.study.evaluate_case import Spent, Subject, map_rows, named, numbered
from voxplain.study.evaluate_maps import Laid, controls
from voxplain.study.evaluate_rows import MetricRows, key_of
from voxplain.study.explain import Explainer
from voxplain.study.ready import Ready
from voxplain.study.rows import Row
from voxplain.types import Quantity

METRICS = ("relevance_mass", "relevance_rank", "auprc", "auroc", "pointing_game")
"""What a map is held against the ground truth by; all are 1 for the ground truth itself."""

IN_FEATURE, BESIDE_FEATURE = "share_in_feature", "share_beside"
"""Shares of a map's size, whatever its sign, that lie in the feature and in what else an image holds; no part of the
skill."""

SHARES = (IN_FEATURE, BESIDE_FEATURE)

MEASURED = (*METRICS, *SHARES)

SIZE = "relevance_mass(sign='absolute')"
"""What both shares are measured by."""

ORACLE = "oracle"
"""The ground truth as a map: no method can be better."""

BESIDE = (ORACLE, *CONTROLS)
"""Maps that are no method's, always measured beside."""

REFUSED = "refused"
"""True in the rows of a method that cannot explain such a network or image; the reason stands beside."""


@dataclass(frozen=True, eq=False)
class Measuring:
    """One network, the methods that explain it, and where their numbers go."""

    network: Trained
    methods: tuple[Method, ...]
    store: MetricRows
    references: tuple[Image, ...]

    @property
    def explainer(self) -> Explainer:
        """Who makes the maps; methods draw by the benchmark's own seed."""
        return Explainer(self.network.model, self.network.prepare, seed=self.network.seed, references=self.references)


class Held(NamedTuple):
    """One number that maps get."""

    name: str
    asked: Asked
    mask: Image
    """What maps are held against."""


def head_numbers(heads: int) -> range:
    """The numbers of the heads that are explained: behind those that networks learn from."""
    return range(UNSEEN, UNSEEN + heads)


def measure_head(job: Measuring, number: int) -> None:
    """Find what is missing of the numbers of one head that has the feature, and of the maps beside."""
    network = job.network
    sample = network.task.simulation.drawn(number, network.seed, feature=True, other=True)
    row, shown, held = head_row(network, number), _shown(job, sample), _held(network, number, sample)
    missing = [one for one in job.methods if _lacks(job, row, text(one), held, shown)]
    beside = [name for name in BESIDE if _lacks(job, row, name, held, shown)]
    if not missing and not beside:
        return
    ready = job.explainer.ready(sample.image, sample.mask)
    found = [one for one in maps_beside(sample, ready) if one.attribution.method in beside]
    rows = [*_held_against(row, found, held)]
    for method in missing:
        rows += _method_rows(job, ready, row, method, held)
    job.store.add([{**one, "key": _key(shown, str(one["method"]), str(one["metric"]))} for one in rows])


def _held(network: Trained, number: int, sample: Sample) -> list[Held]:
    """What the maps of a head are held against: the feature, and for the shares what else there is."""
    held = [Held(one.name, one, sample.mask) for one in asked_metrics(METRICS)]
    if network.task.other:
        (size,) = asked_metrics([SIZE])
        without = network.task.simulation.drawn(number, network.seed, feature=True, other=False).image
        beside = (sample.image.values != without.values).any(axis=0)
        held += [Held(IN_FEATURE, size, sample.mask), Held(BESIDE_FEATURE, size, sample.mask.with_values(beside[None]))]
    return held


def _held_against(row: Row, maps: Sequence[Laid], held: Sequence[Held]) -> Iterator[Row]:
    for one in held:
        for found in map_rows(Subject(row, one.mask), maps, [one.asked]):
            yield {**found, "metric": one.name}


def head_row(network: Trained, number: int) -> Row:
    """What every row of a head begins with."""
    name, seed = network.task.name, network.seed
    case = f"{name}-seed{seed}-{number:05d}"
    about = {"case": case, "group": case, "label": network.task.simulation.labels[1], "model": f"{name}-seed{seed}"}
    return {"phantom": name, "seed": seed, **about, "target": text(TARGET)}


def _shown(job: Measuring, sample: Sample) -> list[str]:
    """What decides a number besides its names: network, head and references."""
    return [job.network.model.weights_hash, *(one.content_hash for one in (sample.image, *job.references))]


def _lacks(job: Measuring, row: Row, method: str, held: Sequence[Held], shown: list[str]) -> bool:
    beginning = {**row, "method": method, "layer": ""}
    return any(job.store.lacks({**beginning, "metric": one.name, "key": _key(shown, method, one.name)}) for one in held)


def _key(shown: list[str], method: str, metric: str) -> str:
    return key_of(shown=shown, method=method, metric=metric)


def _method_rows(job: Measuring, ready: Ready, row: Row, method: Method, held: Sequence[Held]) -> Iterator[Row]:
    try:
        found = job.explainer.maps(ready, [(TARGET, method)])
    except VoxplainError as error:
        begun = named(row, text(method), "", control=False)
        reason = Measured.not_applicable(str(error))
        for one in held:
            refused = numbered(begun, one.asked, None, reason, Spent(0.0, 0, 1))
            yield {**refused, "metric": one.name, "status": "not applicable", REFUSED: True}
        return
    if len(found) > 1:
        raise OptionError(f"benchmark: {text(method)} must give one map, got {len(found)}; name one layer")
    seconds = found[0].provenance.record.get("seconds")
    for line in _held_against(row, [Laid(found[0])], held):
        yield {**line, "layer": "", "map_seconds": seconds}


def maps_beside(sample: Sample, ready: Ready | None) -> list[Laid]:
    """The oracle and the controls for a head."""
    mask = (sample.mask.values != 0).astype(np.float32)
    oracle = Attribution(
        values=mask,
        grid=sample.image.grid,
        quantity=Quantity.SALIENCY,
        method=ORACLE,
        target=text(TARGET),
        image=sample.image,
    )
    return [Laid(oracle, control=True), *controls(sample.image, ready, text(TARGET))]
