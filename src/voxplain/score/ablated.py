"""Scores with one channel of a layer set to zero: the network runs on, from a copy that shares its weights."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from voxplain.score.dry import real_visits, visits
from voxplain.score.layers import Tap
from voxplain.score.model import Model
from voxplain.score.output import pick
from voxplain.score.places import Place
from voxplain.score.score import Score
from voxplain.score.tokens import folded, refilled


def ablated(score: Score, x: Tensor, tap: Tap, values: Tensor) -> Tensor:
    """Scores (batch, channel), float64, of a frozen score with each channel of the tapped layer set to zero in turn.

    A channel that already is zero everywhere leaves the clean score, given as `values`; each other costs one forward.
    """
    found = values[:, None].repeat(1, tap.activation.shape[1])
    alive = (tap.activation != 0).flatten(2).any(dim=2).nonzero().cpu()
    apart = _apart(score, x, tap.layer)
    with _ablation(apart.model, tap.layer, _place(score.model, x, tap.layer)) as ablation:

        def make(index: Tensor) -> tuple[Tensor, Tensor]:
            rows, ablation.channels = alive[index].unbind(1)
            return x[rows], rows

        if len(alive):
            for piece in apart.stream(len(alive), make, like=x):
                rows, channels = alive[piece.samples].unbind(1)
                found[rows, channels] = piece.values.to(found.device)
    return found


def _apart(score: Score, x: Tensor, layer: str) -> Score:
    """The same score on modules of its own, whose hooks concern nobody who shares passes; weights are not copied."""
    whole, twin = score.model, copy.copy(score)
    model = whole.network(x[:1].to(whole.device, whole.dtype), (layer,), "rules")  # in full precision
    known: dict[int, object] = {id(tensor): tensor for tensor in (*model.module.parameters(), *model.module.buffers())}
    module = copy.deepcopy(model.module, known)
    layers: dict[str, nn.Module] = {name: known[id(layer)] for name, layer in model.layers.items()}  # type: ignore[misc]
    twin.model = model.with_module(module, layers)
    return twin


def _place(model: Model, x: Tensor, layer: str) -> Place | None:
    """How a layer's output is folded to (batch, channel, *space); None where it is so already."""
    sample, named = model.filled(x[:1]), {layer: model.layer(layer)}
    seen = visits(model.module, sample, named, lambda output: pick(output, model.output))
    seen = real_visits(model.run, sample, named) if seen is None else seen
    return seen[0].place if seen else None


@dataclass
class _Ablation:
    """Which channel of each sample of the next batch is set to zero."""

    channels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))


@contextmanager
def _ablation(model: Model, layer: str, place: Place | None) -> Iterator[_Ablation]:
    """While it lasts, the layer gives its output without the channels that are named."""
    ablation = _Ablation()

    def without(output: Tensor) -> Tensor:
        values = (output if place is None else folded(output, place)).clone()
        rows = torch.arange(len(ablation.channels), device=output.device)  # a fixed batch was filled up behind them
        values[rows, ablation.channels.to(output.device)] = 0
        return values if place is None else refilled(output, values, place)

    def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> object:
        if not isinstance(output, tuple):
            return without(output)
        rest = (without(output[0]), *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names

    handle = model.layer(layer).register_forward_hook(hook)
    try:
        yield ablation
    finally:
        handle.remove()
