"""Which layer a class activation map is read from when nobody named one, and how its output is caught."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.score.cells import Cells, CellTracker, even_cells
from voxplain.score.dry import LayerVisit, real_visits, remembered, visits
from voxplain.score.model import Model
from voxplain.score.output import pick

POOLING = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)

SKIPPED = (
    *POOLING,
    nn.modules.dropout._DropoutNd,
    *(nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.ConstantPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d),
    nn.Identity,
    nn.Flatten,
    nn.Softmax,
    nn.Sigmoid,
)
"""Layers that only summarise or pass on what another layer found."""

EVEN = 1.5
"""Axes whose voxels a cell spans differ by less than this where the last dimensions are the spatial ones."""


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

    For one number a class: the last layer to finish whose output has a spatial extent; for a map of classes (`maps`):
    the last one at the coarsest resolution, where the features are most global. Class maps, pooling, dropout and the
    patch embedding of a transformer are left out. Raises `InputError` where nothing remains.
    """
    key = (x.shape[1:], model.output, maps)
    return remembered(model.module, key, lambda: _nearest_decision(model, x, maps))


def _nearest_decision(model: Model, x: Tensor, maps: bool) -> str:
    layers, sample = dict(model.layers), model.filled(x[:1])
    seen = visits(model.module, sample, layers, lambda output: pick(output, model.output))
    seen = seen or real_visits(model.run, sample, layers)
    times = Counter(visit.name for visit in seen)
    mixing = [_mixes(visit.module) for visit in seen]
    spatial = [visit for n, visit in enumerate(seen) if times[visit.name] == 1 and _tells_places(seen, mixing, n, x)]
    if not spatial:
        raise InputError(
            "grad_cam: this model has no layer that gives a map over the image on the way to its answer (transformers "
            "work on tokens); use gradient, integrated_gradients or occlusion, or name a layer with layer=..."
        )
    coarsest = min(_extent(visit) for visit in spatial)
    return [visit.name for visit in spatial if not maps or _extent(visit) == coarsest][-1]


def _tells_places(seen: Sequence[LayerVisit], mixing: Sequence[bool], n: int, x: Tensor) -> bool:
    """True where the n-th visit gives features over places, and nothing that only repeats or sums up others."""
    visit, later = seen[n], [after for after, mixes in zip(seen[n + 1 :], mixing[n + 1 :], strict=True) if mixes]
    if len(visit.shape) != x.ndim or visit.shape[0] != seen[-1].shape[0]:
        return False
    if _extent(visit) < 2 or _channels_last(visit.shape, x):
        return False
    wraps = n > 0 and isinstance(seen[n - 1].module, POOLING) and seen[n - 1].shape == visit.shape
    if isinstance(visit.module, SKIPPED) or (wraps and any(visit.module.children())):
        return False
    if not later and visit.shape[1] == seen[-1].shape[1]:  # a class map: nothing after it mixes channels
        return False
    if any(mixing[:n]):
        return True
    # The first layer of all, a patch embedding where tokens (or channels last) follow.
    return not any(2 < len(after.shape) < x.ndim or _channels_last(after.shape, x) for after in later)


def _mixes(layer: nn.Module) -> bool:
    """True for a layer with a matrix or kernel of its own."""
    return any(weight.ndim > 1 for weight in layer.parameters(recurse=False))


def _channels_last(shape: Sequence[int], x: Tensor) -> bool:
    """True where (batch, *space, channel) fits the input's sides but (batch, channel, *space) does not."""
    if len(shape) != x.ndim:
        return False
    longer = shape[-1] > x.shape[-1] and all(
        side <= whole for side, whole in zip(shape[1:-1], x.shape[2:], strict=True)
    )
    return longer or (_even(shape[1:-1], x) and not _even(shape[2:], x))


def _even(sides: Sequence[int], x: Tensor) -> bool:
    spans = [whole / max(side, 1) for whole, side in zip(x.shape[2:], sides, strict=True)]
    return max(spans) < EVEN * min(spans)


def _extent(visit: LayerVisit) -> int:
    return prod(visit.shape[2:])


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
            if not isinstance(output, tuple):
                return passed
            rest = (passed, *output[1:])
            return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names

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
    if kept.ndim != x.ndim or kept.shape[0] < len(x):
        raise InputError(
            f"layer {name!r} gives {tuple(kept.shape)}, which is no map over the image; "
            f"name a layer that gives (batch, channel{', rows, columns' if x.ndim == 4 else ', i, j, k'})"
        )
    if catch.cells is None and _channels_last(kept.shape, x):
        raise InputError(
            f"layer {name!r} gives {tuple(kept.shape)} with its channels last, which cannot be read as a map; "
            "name a layer that gives (batch, channel, *space)"
        )
    return kept, catch.cells or even_cells(tuple(x.shape[2:]), tuple(kept.shape[2:]))
