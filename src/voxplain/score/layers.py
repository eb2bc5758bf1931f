"""Which layer a class activation map is read from when nobody named one, and how its output is caught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.cells import Cells, CellTracker, even_cells
from voxplain.score.dry import LayerVisit, real_visits, visits
from voxplain.score.model import Model

SKIPPED = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Identity,
    nn.Flatten,
    nn.Softmax,
    nn.Sigmoid,
)
"""Layers that only summarise or pass on what another layer found."""


@dataclass(frozen=True)
class Tap:
    """What one layer said about a batch: its activations and the gradient of each sample's score by them."""

    layer: str
    activation: Tensor
    """(batch, channel, *space), at the layer's own resolution."""
    gradient: Tensor
    """d score / d activation, same shape."""
    cells: Cells


def automatic_layer(model: Model, x: Tensor, maps: bool) -> str:
    """The layer nearest the decision that still knows places.

    For one number a class: the last layer to finish whose output has a spatial extent, class maps, pooling and dropout
    apart. For a map of classes (`maps`): the last layer at the coarsest resolution, where the features are most global.
    Raises `InputError` where no layer has a spatial output.
    """
    seen = visits(model.module, x[:1], dict(model.layers)) or real_visits(model.run, x, dict(model.layers))
    once = {visit.name for visit in seen if sum(other.name == visit.name for other in seen) == 1}
    spatial = [
        visit for visit in seen if visit.name in once and _spatial(visit, x) and not isinstance(visit.module, SKIPPED)
    ]
    if not spatial:
        raise InputError(
            "grad_cam: no layer of this model has an output with a spatial extent; name one with layer=..."
        )
    if maps:
        coarsest = min(_extent(visit) for visit in spatial)
        return [visit.name for visit in spatial if _extent(visit) == coarsest][-1]
    outputs = seen[-1].shape[1] if len(seen[-1].shape) > 1 else 0
    features = [visit for visit in spatial if visit.shape[1] != outputs]
    return (features or spatial)[-1].name


def _spatial(visit: LayerVisit, x: Tensor) -> bool:
    return len(visit.shape) == x.ndim and _extent(visit) > 1


def _extent(visit: LayerVisit) -> int:
    size = 1
    for length in visit.shape[2:]:
        size *= length
    return size


@dataclass
class Catch:
    """What the hook on one layer kept during a forward."""

    calls: int = 0
    kept: list[Tensor] = field(default_factory=list)
    cells: Cells | None = None


@contextmanager
def caught(model: Model, names: Sequence[str], tracker: CellTracker) -> Iterator[dict[str, Catch]]:
    """Keep the outputs of the named layers while a forward runs; downstream sees a clone.

    The clone protects the kept tensor from in-place operations; the graph begins at the first kept layer.
    """
    catches = {name: Catch() for name in names}

    def hook_for(catch: Catch, name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> Tensor | tuple[object, ...]:
            catch.calls += 1
            first = output[0] if isinstance(output, tuple) and output else output
            if not isinstance(first, Tensor):
                raise InputError(f"layer {name!r} must give a tensor to be tapped, got {type(first).__name__}")
            kept = first if first.requires_grad else first.detach().requires_grad_()
            catch.cells = tracker.of(first)
            catch.kept.append(kept)
            passed = kept.clone()
            tracker.adopt(passed, catch.cells)
            return (passed, *output[1:]) if isinstance(output, tuple) else passed

        return hook

    handles = [model.layer(name).register_forward_hook(hook_for(catch, name)) for name, catch in catches.items()]  # type: ignore[arg-type]
    try:
        yield catches
    finally:
        for handle in handles:
            handle.remove()


def checked(name: str, catch: Catch, x: Tensor) -> tuple[Tensor, Cells]:
    """The one tensor a layer gave, and its cells; raises where the layer ran never or twice, or has no space."""
    if catch.calls != 1:
        times = "does not run" if catch.calls == 0 else f"runs {catch.calls} times"
        raise InputError(f"layer {name!r} {times} in a forward pass, so it has no single map; name another layer")
    kept = catch.kept[0]
    if kept.ndim != x.ndim:
        raise InputError(
            f"layer {name!r} gives {tuple(kept.shape)}, which is no map over the image; "
            f"name a layer that gives (batch, channel{', rows, columns' if x.ndim == 4 else ', i, j, k'})"
        )
    return kept, catch.cells or even_cells(tuple(x.shape[2:]), tuple(kept.shape[2:]))
