"""How finely a forward must be cut for a backward to fit a memory budget, tried out on tensors without data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from voxplain.score.dry import LiveBytes, alone, remembered, without_data
from voxplain.score.output import tensors
from voxplain.score.rules import DERIVATIVE, recorded

PARTS = (2, 3, 4, 6, 8, 12, 16, 32, 64)
"""Into about how many stretches a forward is cut, tried in this order."""


class Room(NamedTuple):
    """What a recorded forward and its backward take."""

    peak: int
    """Most bytes alive at once."""
    stretches: int
    """Into how many stretches the forward was cut."""
    made: int
    """Bytes that the operations of the last stretch gave."""
    limit: int | None
    """Bytes at which a stretch ended; None where there was one alone."""


def fitting(module: nn.Module, x: Tensor, layers: Sequence[nn.Module], ruled: bool, allowed: float) -> Room | None:
    """The coarsest cut of a forward of `x` whose backward takes at most `allowed` bytes, else that which takes least.

    The backward goes to `layers`, or to the input where none are given, by rules where `ruled`. None where the network
    cannot run dry.
    """
    whole, one = room(module, x, layers, ruled, None), room(module, x, layers, ruled, sys.maxsize)
    if whole is None or one is None:
        return None
    found = [whole]
    for parts in PARTS:
        if found[-1].peak <= allowed:
            break
        cut = room(module, x, layers, ruled, max(1, one.made // parts))
        found += [cut] if cut is not None and cut.stretches > 1 else []
    return found[-1] if found[-1].peak <= allowed else min(found, key=lambda cut: cut.peak)


def room(module: nn.Module, x: Tensor, layers: Sequence[nn.Module], ruled: bool, limit: int | None) -> Room | None:
    """What a forward of `x` in stretches of `limit` bytes and one backward take; None if it cannot run dry.

    Without a limit everything is kept. With `ruled` that includes all that rules may read; what they compute comes on
    top.
    """
    key = ("room", x.shape, x.dtype, x.device.type, tuple(map(id, layers)), ruled, limit)
    return remembered(module, key, lambda: alone(lambda: _measured(module, x, layers, ruled, limit)))


def _measured(module: nn.Module, x: Tensor, layers: Sequence[nn.Module], ruled: bool, limit: int | None) -> Room:
    twin, copies = without_data(module)
    with LiveBytes([*twin.parameters(), *twin.buffers()], x.device.type) as live, torch.enable_grad():
        shell = torch.empty(x.shape, dtype=x.dtype, device="meta", requires_grad=not layers)
        plain = limit is None and not ruled
        recording = nullcontext() if plain else recorded(limit, lean=not ruled)
        with recording as tape, _begun([copies[id(layer)] for layer in layers]) as begun:
            out = twin(shell.clone())
        total = torch.stack([tensor.sum() for _, tensor in tensors(out) if tensor.requires_grad]).sum()
        with nullcontext() if tape is None else tape.using(DERIVATIVE, keep=False):
            torch.autograd.grad(total, begun if layers else [shell], allow_unused=True)
    cut = None if tape is None else tape.stretches
    return Room(int(live.peak), 1, 0, None) if cut is None else Room(int(live.peak), cut.count, cut.made, limit)


@contextmanager
def _begun(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """The graph begins at the outputs of these layers, as it does where they are tapped."""
    kept: list[Tensor] = []

    def hook(module: nn.Module, inputs: object, output: Any) -> object:
        first = output[0] if isinstance(output, tuple) and output else output
        if not isinstance(first, Tensor):
            return output
        first = first if first.requires_grad else first.detach().requires_grad_()
        kept.append(first)
        return first.clone() if not isinstance(output, tuple) else _with_first(output, first.clone())

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _with_first(output: tuple[Any, ...], first: Tensor) -> tuple[Any, ...]:
    rest = (first, *output[1:])
    return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names
