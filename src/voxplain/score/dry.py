"""The dry pass: one run of the network on tensors without data, which yields layer shapes and peak memory for nothing.

It runs in a thread of its own because torch's modes are per thread: counters and rules of the caller stay out of it.
"""

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from voxplain.score.output import tensors

T = TypeVar("T")


@dataclass(frozen=True)
class LayerVisit:
    """One call of one layer: its name and the shape of its (first) output tensor."""

    name: str
    shape: tuple[int, ...]
    module: nn.Module


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages made inside it that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        out = func(*args, **(kwargs or {}))
        for _, tensor in tensors(out):
            self._count(tensor)
        return out

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def peak_bytes(module: nn.Module, x: Tensor, backward: bool) -> int | None:
    """Most bytes alive at once during a forward (and backward to the input) of `x`; None where it cannot run dry."""

    def measure() -> int:
        weights = _without_data(module)
        with LiveBytes() as live:
            shell = torch.empty(x.shape, dtype=x.dtype, device="meta", requires_grad=backward)
            with torch.set_grad_enabled(backward):
                # a view, because torch's module trackers refuse a leaf as a module's input
                out = torch.func.functional_call(module, weights, (shell.view_as(shell),))
                if backward:
                    total = torch.stack([tensor.sum() for _, tensor in tensors(out) if tensor.requires_grad]).sum()
                    torch.autograd.grad(total, shell)
        return int(live.peak)

    return _alone(measure)


def visits(module: nn.Module, x: Tensor, layers: dict[str, nn.Module]) -> list[LayerVisit] | None:
    """Every call of every named layer in the order they finish; None where no dry pass is possible."""

    def walk() -> list[LayerVisit]:
        shell = torch.empty(x.shape, dtype=x.dtype, device="meta")
        with _recorded(layers) as seen, torch.no_grad():
            torch.func.functional_call(module, _without_data(module), (shell,))
        return seen

    return _alone(walk)


def real_visits(run: Callable[[Tensor], object], x: Tensor, layers: dict[str, nn.Module]) -> list[LayerVisit]:
    """As `visits`, by one real forward of the first sample, for networks that no dry pass can run."""
    with _recorded(layers) as seen, torch.no_grad():
        run(x[:1])
    return seen


def _without_data(module: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of a module as shapes only."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: value.to("meta") for name, value in named.items()}


@contextmanager
def _recorded(layers: dict[str, nn.Module]) -> Iterator[list[LayerVisit]]:
    seen: list[LayerVisit] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, output: object) -> None:
            shapes = [tuple(tensor.shape) for _, tensor in tensors(output)]
            if shapes:
                seen.append(LayerVisit(name, shapes[0], module))

        return hook

    handles = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _alone(job: Callable[[], T]) -> T | None:
    """The job's result from a fresh thread, or None if the network cannot run without data."""
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(job).result()
        except Exception:  # noqa: BLE001 - any network may fail on shapes alone; callers then measure for real
            return None
