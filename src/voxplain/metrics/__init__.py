"""Metrics of maps: one file each, and the table that names them."""

from importlib.metadata import entry_points

from voxplain.face import answer_calls
from voxplain.metrics.base import MaskMetric, Measured, Metric
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.spec import build

METRICS: dict[str, type[Metric]] = {
    "relevance_mass": RelevanceMass,
}
"""Every metric of the package by name."""

GROUP = "voxplain.metrics"
"""Entry-point group under which other packages join the table."""


def table() -> dict[str, type[Metric]]:
    """The package's metrics and those that installed packages add; a name already taken stays ours."""
    joined = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {**joined, **METRICS}


def metric(source: str | Metric) -> Metric:
    """The metric a spec such as 'relevance_mass(sign='absolute')' stands for."""
    built: Metric = build(source, table(), "metric")
    return built


__all__ = ["METRICS", "MaskMetric", "Measured", "Metric", "metric", "table"]

answer_calls(__name__, "table")
