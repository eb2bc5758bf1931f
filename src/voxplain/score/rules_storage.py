"""Keeps what is remembered safe from later in-place changes: copied only if and when its memory is written to."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor


class Holder(Protocol):
    """What remembers tensors: an operation, or a stretch of a forward pass."""

    def rescue(self, safe: Callable[[Tensor], Tensor]) -> None:
        """Put what `safe` gives in the place of every tensor."""


class Keepers:
    """Who remembers tensors in which piece of memory."""

    def __init__(self) -> None:
        self._by_storage: dict[int, list[weakref.ref[Holder]]] = defaultdict(list)

    def keep(self, holder: Holder, tensors: Iterable[Tensor]) -> None:
        """Remember where the tensors of a holder lie."""
        for storage in {storage_of(tensor) for tensor in tensors}:
            self._by_storage[storage].append(weakref.ref(holder))

    def before_change(self, tensor: Tensor) -> None:
        """Give everyone who remembers this memory a copy; one copy serves all that show it alike."""
        storage = storage_of(tensor)
        copies: dict[tuple[object, ...], Tensor] = {}

        def safe(held: Tensor) -> Tensor:
            if storage_of(held) != storage:
                return held
            shown = (held.shape, held.stride(), held.storage_offset())
            return copies.setdefault(shown, held.clone()) if shown not in copies else copies[shown]

        for reference in self._by_storage.pop(storage, []):
            holder = reference()
            if holder is not None:
                holder.rescue(safe)


def storage_of(tensor: Tensor) -> int:
    """The piece of memory that a tensor shows, by number; also for tensors without data."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - all tensors without data lie at the same address
