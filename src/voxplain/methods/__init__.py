"""Attribution methods: one file each, and the table that names them."""

from importlib.metadata import entry_points

from voxplain.face import answer_calls
from voxplain.methods.base import Map, Method
from voxplain.methods.grad_cam import GradCam
from voxplain.methods.gradient import Gradient
from voxplain.methods.integrated_gradients import IntegratedGradients
from voxplain.methods.occlusion import Occlusion
from voxplain.spec import build

METHODS: dict[str, type[Method]] = {
    "occlusion": Occlusion,
    "gradient": Gradient,
    "integrated_gradients": IntegratedGradients,
    "grad_cam": GradCam,
}
"""Every method of the package by name."""

GROUP = "voxplain.methods"
"""Entry-point group under which other packages join the table."""


def table() -> dict[str, type[Method]]:
    """The package's methods and those that installed packages add; a name already taken stays ours."""
    joined = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return {**joined, **METHODS}


def method(source: str | Method) -> Method:
    """The method a spec such as 'occlusion(window=16)' stands for."""
    built: Method = build(source, table(), "method")
    return built


__all__ = ["METHODS", "Map", "Method", "method", "table"]

answer_calls(__name__, "table")
