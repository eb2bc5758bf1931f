"""Many metrics of one case at once: curves, random sets and end points that several of them need are scored once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from voxplain.errors import MemoryShort, VoxplainError
from voxplain.metrics.base import Measured
from voxplain.metrics.base_model import ModelMetric, Probe
from voxplain.score.score import Score


def measure_all(
    metrics: Sequence[ModelMetric], score: Score, x: Tensor, maps: Sequence[Tensor], body: Tensor | None = None
) -> dict[ModelMetric, list[Measured]]:
    """Every metric's numbers, one a map, of one case (1, channel, *space) and its maps (channel or 1, *space).

    `body` as in a single metric. A metric that cannot be computed, such as one that wants a reference image where there
    is none, gives its reason for every map. Raises `InputError` where the shapes do not fit.
    """
    probe = Probe.of(score, x, maps, body)
    return {metric: _measured(metric, probe) for metric in metrics}


def _measured(metric: ModelMetric, probe: Probe) -> list[Measured]:
    try:
        return metric.on(probe)
    except MemoryShort:
        raise
    except VoxplainError as error:
        return [Measured.not_applicable(str(error))] * len(probe.maps)
