"""Which layer a class activation map is read from when nobody named one, and how its output is caught."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from voxplain.errors import InputError
from voxplain.score.blending import Caught, blended
from voxplain.score.cells import Cells, CellTracker, Place, even_cells
from voxplain.score.dry import LayerVisit, real_visits, remembered, visits
from voxplain.score.model import Model
from voxplain.score.output import pick
from voxplain.score.sliding import SlidingWindows, sliding
from voxplain.score.tokens import channels_last, folded, folded_shape, refilled

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


@dataclass(frozen=True)
class Tap:
    """What one layer said about a batch: its activations and the gradient of each sample's score by them."""

    layer: str
    activation: Tensor
    """(batch, channel, *space), at the layer's own resolution."""
    gradient: Tensor
    """d score / d activation, same shape; empty where it was not asked for."""
    cells: Cells


class Chosen(NamedTuple):
    """A layer that was chosen for the user."""

    layer: str
    classes_only: bool | None = None
    """True where layers after it have places too, but only tokens without one (the class token) reach the answer.

    None where it has no such tokens.
    """

    @property
    def words(self) -> str:
        """The choice as a sentence for the notes of a map."""
        reason = ": after it only the class token reaches the answer" if self.classes_only else ""
        return f"layer {self.layer!r} was chosen automatically{reason}"


def automatic_layer(model: Model, x: Tensor, maps: bool) -> str:
    """The name of the `chosen_layer`."""
    return chosen_layer(model, x, maps).layer


def chosen_layer(model: Model, x: Tensor, maps: bool) -> Chosen:
    """The layer nearest the decision that still knows places.

    For one number a class: the last layer to finish whose output has a spatial extent; for a map of classes (`maps`):
    the last one at the coarsest resolution, where the features are most global. Class maps, pooling, dropout and the
    patch embedding of a transformer are left out. Where the answer is read from a class token, the last layer whose
    patch tokens still reach it, found once by a forward and a backward. Raises `InputError` where nothing remains.
    """
    windows = sliding(model.module)
    if windows is not None:  # layers are those of one window
        inner = {name: layer for name, layer in model.layers.items() if layer in set(windows.network.modules())}
        model, x = model.with_module(windows.network, inner), windows.one_window(x[:1])
    key = (x.shape[1:], model.output, maps)
    return remembered(model.module, key, lambda: _nearest_decision(model, x, maps))


def _nearest_decision(model: Model, x: Tensor, maps: bool) -> Chosen:
    layers, sample = dict(model.layers), model.filled(x[:1])
    seen = visits(model.module, sample, layers, lambda output: pick(output, model.output))
    if not seen:
        alone = apart(model)
        seen = real_visits(alone.run, sample, dict(alone.layers))
    times = Counter(visit.name for visit in seen)
    mixing = [_mixes(visit.module) for visit in seen]
    spatial = [visit for n, visit in enumerate(seen) if times[visit.name] == 1 and _tells_places(seen, mixing, n, x)]
    coarsest = min(map(_extent, spatial), default=0)
    spatial = [visit for visit in spatial if not maps or _extent(visit) == coarsest]
    if spatial and spatial[-1].place and spatial[-1].place.grid:
        return _among_tokens(model, sample, spatial)
    if not spatial:
        raise InputError(
            "this model has no layer that gives a map over the image on the way to its answer; "
            "use gradient, integrated_gradients or occlusion, or name a layer with layer=..."
        )
    return Chosen(spatial[-1].name)


def _among_tokens(model: Model, sample: Tensor, spatial: Sequence[LayerVisit]) -> Chosen:
    """The last layer whose patch tokens reach the answer; the projections of an attention are passed over."""
    blocks = [visit for visit in spatial if not isinstance(visit.module, nn.Linear)] or spatial
    last = blocks[-1]
    if last.place is None or not any(last.place.extra):
        return Chosen(last.name)
    wide = [visit.name for visit in blocks if mapped(visit)[1] == mapped(last)[1]]
    reached = patches_reach(model, sample, wide)
    name = next((name for name in reversed(wide) if reached[name]), last.name)
    return Chosen(name, classes_only=name != last.name)


def patches_reach(model: Model, sample: Tensor, names: Sequence[str]) -> dict[str, bool]:
    """Whether the answer depends on the places of each named layer, by one forward and one backward of noise."""
    noise = torch.Generator().manual_seed(0)

    def drawn(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=noise, dtype=torch.float64).to(like)

    model = apart(model)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = drawn(sample.to(model.device, model.dtype))
        tracker = CellTracker(leaf)
        with caught(model, names, tracker) as catches, tracker:
            output = model(leaf)
        if not output.requires_grad:
            return dict.fromkeys(names, False)
        kept = [catches[name].kept[0] for name in names]
        gradients = torch.autograd.grad((output * drawn(output)).sum(), kept, allow_unused=True)
    found = zip(names, gradients, strict=True)
    return {name: gradient is not None and bool(gradient.any()) for name, gradient in found}


def apart(model: Model) -> Model:
    """The same model on modules of its own, whose hooks concern no pass of others; weights are not copied."""
    known: dict[int, Any] = {id(tensor): tensor for tensor in (*model.module.parameters(), *model.module.buffers())}
    module = copy.deepcopy(model.module, known)
    return model.with_module(module, {name: known[id(layer)] for name, layer in model.layers.items()})


def _tells_places(seen: Sequence[LayerVisit], mixing: Sequence[bool], n: int, x: Tensor) -> bool:
    """True where the n-th visit gives features over places, and nothing that only repeats or sums up others."""
    visit, later = seen[n], [after for after, mixes in zip(seen[n + 1 :], mixing[n + 1 :], strict=True) if mixes]
    if not _is_map(visit, x) or visit.shape[0] != seen[-1].shape[0] or _extent(visit) < 2:
        return False
    wraps = n > 0 and isinstance(seen[n - 1].module, POOLING) and seen[n - 1].shape == visit.shape
    if isinstance(visit.module, SKIPPED) or (wraps and any(visit.module.children())):
        return False
    if not later and mapped(visit)[1] == mapped(seen[-1])[1]:  # a class map: nothing after it mixes channels
        return False
    if any(
        mixes and not before.name.startswith(f"{visit.name}.") for before, mixes in zip(seen[:n], mixing, strict=False)
    ):
        return True
    # The first part of all, a patch embedding where tokens (or channels last) follow.
    return not any(2 < len(after.shape) < x.ndim or channels_last(after.shape, x.shape[2:]) for after in later)


def _is_map(visit: LayerVisit, x: Tensor) -> bool:
    """True for one value a channel and place: (batch, channel, *space), its channels last, or a row of tokens."""
    if visit.place is None:
        return len(visit.shape) == x.ndim and not channels_last(visit.shape, x.shape[2:])
    return len(visit.shape) == len(visit.place.axes) + 2


def mapped(visit: LayerVisit) -> tuple[int, ...]:
    """The shape of a visit's output once folded to (batch, channel, *space)."""
    return visit.shape if visit.place is None else folded_shape(visit.shape, visit.place)


def _mixes(layer: nn.Module) -> bool:
    """True for a layer with a matrix or kernel of its own."""
    return any(weight.ndim > 1 for weight in layer.parameters(recurse=False))


def _extent(visit: LayerVisit) -> int:
    return prod(mapped(visit)[2:])


@dataclass
class Catch:
    """What the hook on one layer kept during a forward."""

    batch: int | None = None
    """The only batch size the program takes, or None."""
    windows: SlidingWindows | None = None
    """What runs the layer once for each window, if that is so."""
    kept: list[Tensor] = field(default_factory=list)
    """Folded to (batch, channel, *space) where it is known how; one a call."""
    cells: Cells | None = None

    def hold(self, output: Tensor, place: Place | None) -> Tensor:
        """Keep an output folded, and give the tensor that goes on in its stead; the graph begins at what is kept."""
        self.cells = None if place is None else place.cells
        source = output if output.requires_grad else output.detach()
        kept = source if place is None else folded(source, place)
        kept = kept if kept.requires_grad else kept.requires_grad_()
        self.kept.append(kept)
        # Downstream sees a copy, so that operations in place cannot reach the kept tensor.
        return kept.clone() if place is None else refilled(source, kept, place)


@contextmanager
def caught(model: Model, names: Sequence[str], tracker: CellTracker) -> Iterator[dict[str, Catch]]:
    """Keep the outputs of the named layers while a forward runs; the graph begins at the first kept layer."""
    catches = {name: Catch(model.fixed_batch, around) for name, around in _around(model, names).items()}

    def hook_for(catch: Catch, name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: object) -> Tensor | tuple[object, ...]:
            first = output[0] if isinstance(output, tuple) and output else output
            if not isinstance(first, Tensor):
                raise InputError(f"layer {name!r} must give a tensor to be tapped, got {type(first).__name__}")
            place = tracker.place(first)
            passed = catch.hold(first, place)
            tracker.keep(passed, place)
            if not isinstance(output, tuple):
                return passed
            rest = (passed, *output[1:])
            return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names

        return hook

    handles = [model.layer(name).register_forward_hook(hook_for(catch, name)) for name, catch in catches.items()]  # type: ignore[arg-type]
    handles += _entries(model, tracker)
    try:
        yield catches
    finally:
        for handle in handles:
            handle.remove()


def _around(model: Model, names: Sequence[str]) -> dict[str, SlidingWindows | None]:
    """What runs each of the layers once for each window, if that is so."""
    windows = sliding(model.module)
    within = set() if windows is None else set(windows.network.modules())
    return {name: windows if model.layer(name) in within else None for name in names}


def _entries(model: Model, tracker: CellTracker) -> list[RemovableHandle]:
    """Where windows are entered, cells are counted from the first voxel of the window on."""

    def enter(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rank = inputs[0].ndim - 2
        tracker.keep(inputs[0], Place(Cells((0.0,) * rank, (1.0,) * rank), tuple(range(2, rank + 2))))

    windows = sliding(model.module)
    return [] if windows is None else [windows.network.register_forward_pre_hook(enter)]


def checked(name: str, catch: Catch, x: Tensor) -> Caught:
    """The one map a layer gave, or that of its windows; raises where it ran never or too often, or has no space."""
    wanted = 1 if catch.windows is None else len(catch.windows.ran)
    if len(catch.kept) != wanted:
        times = f"runs {len(catch.kept)} times" if catch.kept else "does not run"
        where = "a forward pass" if catch.windows is None else f"{wanted} windows"
        raise InputError(f"layer {name!r} {times} in {where}, so it has no single map; name another layer")
    kept, around = catch.kept[0], tuple(x.shape[2:]) if catch.windows is None else catch.windows.roi
    if kept.ndim != x.ndim or kept.shape[0] not in (len(x), catch.batch):
        wanted_shape = f"(batch, channel{', rows, columns' if x.ndim == 4 else ', i, j, k'})"
        raise InputError(
            f"layer {name!r} gives {tuple(kept.shape)}, which is no map over the image"
            f"{_hint(kept, x)}; name a layer that gives {wanted_shape}"
        )
    if catch.cells is None and channels_last(kept.shape, around):
        raise InputError(
            f"layer {name!r} gives {tuple(kept.shape)} with its channels last, and where its places lie could not be "
            "followed; name a layer that gives (batch, channel, *space)"
        )
    cells = catch.cells or even_cells(around, tuple(kept.shape[2:]))
    return Caught((kept,), cells) if catch.windows is None else blended(catch.windows, catch.kept, cells, x.shape[2:])


def _hint(kept: Tensor, x: Tensor) -> str:
    """What a tensor probably is that has no place for each of its values, as the end of a sentence."""
    if kept.shape[0] > len(x) and kept.shape[0] % len(x) == 0:
        return " but windows of it (name the block that puts them together again)"
    return " but tokens whose places could not be followed" if kept.ndim == 3 else ""
