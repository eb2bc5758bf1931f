"""The layers that a flow goes through: all convolutions of a network in the order they run, or those of a pattern."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import Tensor, nn

from voxplain.errors import InputError, shortened, unknown
from voxplain.score.dry import LayerVisit, real_visits, visits
from voxplain.score.layers import mapped
from voxplain.score.model import Model
from voxplain.score.output import pick
from voxplain.score.sliding import sliding

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Layers(NamedTuple):
    """What a flow goes through."""

    names: tuple[str, ...]
    """In the order in which the network runs them."""
    left_out: tuple[str, ...]
    """Why others that were meant too have no map, in sentences."""


def convolutions(model: Model, x: Tensor) -> tuple[str, ...]:
    """The names of all convolutions that the answer to `x` depends on, in the order in which they run."""
    return flow_layers(model, x).names


def flow_layers(model: Model, x: Tensor, patterns: Sequence[str] = ()) -> Layers:
    """The layers that `patterns` mean in a pass of `x` (batch, channel, *space); none: all convolutions.

    A pattern such as 'encoder*' means convolutions; the full name of any layer means that layer. A layer that runs
    several times has no single map and is left out. Raises `InputError` where nothing is meant or left.
    """
    wanted = _meant(model, patterns)
    seen = _visits(model, x, wanted)
    times = Counter(visit.name for visit in seen)
    reasons = {visit.name: reason for visit in seen if (reason := _no_map(visit, times[visit.name], x))}
    names = tuple(dict.fromkeys(visit.name for visit in seen if visit.name not in reasons))
    if not names:
        told = f": {shortened(reasons.values())}" if reasons else ""
        raise InputError(f"no layer on the way to the answer has a map{told}; name others with --layers (layers=...)")
    return Layers(names, tuple(reasons.values()))


def _meant(model: Model, patterns: Sequence[str]) -> dict[str, nn.Module]:
    known: dict[str, nn.Module] = {name: part for name, part in model.layers.items() if isinstance(part, CONVOLUTIONS)}
    if not patterns and not known:
        raise InputError("this model has no convolution that is known by name; name layers with --layers (layers=...)")
    found = {} if patterns else known
    for pattern in patterns:
        own = {name: part for name, part in known.items() if fnmatchcase(name, pattern)}
        if pattern in model.layers:
            own = {pattern: model.layers[pattern]}
        if not own:
            raise unknown("layer", pattern, known or model.layers)
        found = {**found, **own}
    return found


def _visits(model: Model, x: Tensor, layers: dict[str, nn.Module]) -> list[LayerVisit]:
    """Every call of these layers that the answer depends on; of a network of windows, those in one window."""
    windows = sliding(model.module)
    if windows is not None:
        model, x = model.with_module(windows.network, dict(model.layers)), windows.one_window(x[:1])
        inside = set(windows.network.modules())
        layers = {name: layer for name, layer in layers.items() if layer in inside}
    x = model.filled(x[:1])
    seen = visits(model.module, x, layers, lambda output: pick(output, model.output))
    return seen or real_visits(model.run, x, layers)


def _no_map(visit: LayerVisit, times: int, x: Tensor) -> str:
    """Why a layer has no single map; '' where it has one."""
    if times > 1:
        return f"layer {visit.name!r} runs {times} times in one pass"
    shape = mapped(visit)
    return "" if len(shape) == x.ndim else f"layer {visit.name!r} gives {shape}, which is no map over the image"
