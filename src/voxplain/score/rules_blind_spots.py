"""What a recorded forward cannot see by itself: activation checkpointing and code hidden in custom functions."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import checkpoint

from voxplain.errors import InputError


class _Through:
    """Stands in for re-entrant checkpointing while a forward is recorded: the function simply runs."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *arguments: Any) -> Any:
        return function(*arguments)


@contextmanager
def no_checkpoints() -> Iterator[None]:
    """Re-entrant checkpointing inside the block runs its function plainly, so that its operations are recorded.

    Otherwise they would run without a graph now and a second time, unseen, on the way back.
    """
    with _LOCK:
        _RECORDING.append(None)
        checkpoint.CheckpointFunction = _Through  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        with _LOCK:
            _RECORDING.pop()
            if not _RECORDING:
                checkpoint.CheckpointFunction = _CHECKPOINT  # type: ignore[misc]


_CHECKPOINT = checkpoint.CheckpointFunction
_RECORDING: list[None] = []
"""One entry for each forward that is being recorded, in whatever thread."""
_LOCK = threading.Lock()


def plainly_saved() -> AbstractContextManager[Any]:
    """Keeps what torch saves for the backward as it is.

    Checkpointing that is not re-entrant would drop it and compute it again outside the recording.
    """
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is None:  # noqa: SLF001 - torch has no public name
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_same, _same)


def _same(tensor: Tensor) -> Tensor:
    return tensor


_SEEN = """
    accumulategrad alias asstrided cat channelshuffle clone col2im constantpadnd copy copyslices diagonal
    diagonalscatter expand fill flip gather im2col index indexcopy indexfill indexput indexselect lift maskedfill
    maskedscatter maskedselect movedim narrow nativechannelshuffle permute pixelshuffle pixelunshuffle reflectionpad1d
    reflectionpad2d reflectionpad3d repeat replicationpad1d replicationpad2d replicationpad3d reshapealias roll rot90
    scatter select selectscatter slice slicescatter split splitwithsizes squeeze stack t take tocopy transpose unbind
    unfold unsafesplit unsafesplitwithsizes unsafeview unsqueeze view zero
"""
SEEN_MOVES = frozenset(_SEEN.split())
"""Nodes of torch's own graph that only move numbers, in small letters without 'Backward'."""


def refuse_hidden(output: Tensor, asker: str) -> None:
    """Raise where the graph of a recorded forward holds operations that the recording did not see, naming one."""
    todo, known = [output.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if not hasattr(node, "operation") and _plain(node.name()) not in SEEN_MOVES:
            raise InputError(
                f"{asker}: the network computes {node.name().removesuffix('Backward')!r} where its operations cannot "
                "be seen (a custom autograd function or compiled code); use a method that needs gradients only"
            )
        todo += [before for before, _ in node.next_functions]


def _plain(name: str) -> str:
    """'view' for 'ViewBackward0', 'accumulategrad' for 'torch::autograd::AccumulateGrad'."""
    return re.sub(r"Backward(s|\d+)?$", "", name.rpartition("::")[2]).lower()
