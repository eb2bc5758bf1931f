"""Keeps what operations remember safe from later in-place changes: copied only if and when its memory is written to."""

from __future__ import annotations

import weakref
from collections import defaultdict

from torch import Tensor

from voxplain.score.operation import Operation


class Keepers:
    """Which operations remember tensors in which piece of memory."""

    def __init__(self) -> None:
        self._by_storage: dict[int, list[weakref.ref[Operation]]] = defaultdict(list)

    def keep(self, operation: Operation) -> None:
        """Remember where the tensors of an operation lie."""
        for storage in {_storage(tensor) for tensor in (*operation.inputs, *operation.outputs)}:
            self._by_storage[storage].append(weakref.ref(operation))

    def before_change(self, tensor: Tensor) -> None:
        """Give every operation that remembers this memory its own copy; one copy serves all that show it alike."""
        storage = _storage(tensor)
        copies: dict[tuple[object, ...], Tensor] = {}
        for reference in self._by_storage.pop(storage, []):
            operation = reference()
            if operation is not None:
                operation.inputs = [_safe(value, storage, copies) for value in operation.inputs]
                operation.outputs = [_safe(value, storage, copies) for value in operation.outputs]


def _safe(tensor: Tensor, storage: int, copies: dict[tuple[object, ...], Tensor]) -> Tensor:
    if _storage(tensor) != storage:
        return tensor
    shown = (tensor.shape, tensor.stride(), tensor.storage_offset())
    return copies.setdefault(shown, tensor.clone()) if shown not in copies else copies[shown]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
