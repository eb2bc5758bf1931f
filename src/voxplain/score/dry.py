"""The dry pass: one run of the network on tensors without data, which yields layer shapes and peak memory for nothing.

It runs on a copy whose tensors have no data, so that nothing a network keeps while it runs can reach the prepared copy,
and in a thread of its own because torch's modes are per thread: counters and rules of the caller stay out of it.
"""

import copy
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from voxplain.score.cells import CellTracker, Place
from voxplain.score.output import tensors

T = TypeVar("T")

UNFOLDED_BELOW = 20480
"""Below this many rows of voxels (batch x channels x two sides), and for float64, torch's convolution on a CPU unfolds
the windows of its kernel into one large matrix instead of calling oneDNN (measured for torch 2.8 to 2.15)."""


@dataclass(frozen=True)
class LayerVisit:
    """One call of one layer: its name and the shape of its (first) output tensor."""

    name: str
    shape: tuple[int, ...]
    module: nn.Module
    node: Any = None
    """What made that tensor in the graph of the forward; None where no graph was kept."""
    place: Place | None = None
    """Where its values lie in the input; None where that is not known."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages made inside it that are still alive, and their peak.

    `there` are tensors that exist anyway (the weights); `device` is where the run is meant to be, since convolutions
    need room of their own besides what they return.
    """

    def __init__(self, there: Iterable[Tensor] = (), device: str = "cpu") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._device = device
        self._there = [tensor.untyped_storage() for tensor in there]
        self._seen = {id(storage) for storage in self._there}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        out = func(*args, **(kwargs or {}))
        for _, tensor in tensors(out):
            self._count(tensor)
        if func is torch.ops.aten.convolution.default:
            self.peak = max(self.peak, self.now + workspace(args[0], args[1], out, args[6], self._device))
        elif func is torch.ops.aten.convolution_backward.default and isinstance(out[0], Tensor):
            self.peak = max(self.peak, self.now + workspace(args[1], args[2], args[0], args[7], self._device))
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


def workspace(x: Tensor, weight: Tensor, out: Tensor, transposed: bool, device: str) -> int:
    """Bytes that a convolution from `x` to `out` needs besides both: copies in another layout, or unfolded windows."""
    grouped = x.shape[1] != weight.shape[0 if transposed else 1]
    small = prod(x.shape[:4]) <= UNFOLDED_BELOW and min(weight.shape[-2:]) <= 3 and not grouped
    if device != "cpu" or prod(weight.shape[2:]) == 1 or not (small or x.dtype != torch.float32):
        return x.nbytes + out.nbytes + weight.nbytes
    channels, places = (out, x) if transposed else (x, out)
    return prod(channels.shape[:2]) * prod(weight.shape[2:]) * prod(places.shape[2:]) * x.element_size()


def peak_bytes(module: nn.Module, x: Tensor, backward: bool) -> int | None:
    """Most bytes alive at once during a forward (and backward to the input) of `x`; None where it cannot run dry."""

    def measure() -> int:
        twin, _ = without_data(module)
        with LiveBytes([*twin.parameters(), *twin.buffers()], x.device.type) as live:
            shell = torch.empty(x.shape, dtype=x.dtype, device="meta", requires_grad=backward)
            with torch.set_grad_enabled(backward):
                out = twin(shell.clone())  # a leaf must not be changed in place, as some networks do first
                if backward:
                    total = torch.stack([tensor.sum() for _, tensor in tensors(out) if tensor.requires_grad]).sum()
                    torch.autograd.grad(total, shell)
        return int(live.peak)

    return remembered(module, (x.shape, x.dtype, x.device.type, backward), lambda: alone(measure))


def remembered(module: nn.Module, key: Hashable, job: Callable[[], T]) -> T:
    """What the job found about a prepared network, which never changes: done once for as long as the network lives."""
    found = _REMEMBERED.setdefault(module, {})
    if key not in found:
        found[key] = job()
    return cast(T, found[key])


def is_remembered(module: nn.Module, key: Hashable) -> bool:
    """Whether a job about a network was done already."""
    return key in _REMEMBERED.get(module, {})


_REMEMBERED: WeakKeyDictionary[nn.Module, dict[Hashable, Any]] = WeakKeyDictionary()


def visits(
    module: nn.Module, x: Tensor, layers: dict[str, nn.Module], meant: Callable[[object], Tensor]
) -> list[LayerVisit] | None:
    """Every call of every named layer that the `meant` output depends on, in the order they finish.

    None where no dry pass is possible.
    """

    def walk() -> list[LayerVisit]:
        twin, copies = without_data(module)
        shell = torch.empty(x.shape, dtype=x.dtype, device="meta", requires_grad=True)
        x_dry = shell.clone()
        tracker = CellTracker(x_dry)
        twins = {name: copies[id(layer)] for name, layer in layers.items()}
        with _recorded(twins, tracker) as seen, torch.enable_grad(), tracker:
            out = meant(twin(x_dry))
        above = _ancestors(out.grad_fn)
        return [visit for visit in seen if visit.node is None or visit.node in above or not above]

    return alone(walk)


def real_visits(run: Callable[[Tensor], object], x: Tensor, layers: dict[str, nn.Module]) -> list[LayerVisit]:
    """Every call of every named layer, by one real forward, for networks that cannot run dry."""
    x = x.clone()
    tracker = CellTracker(x)
    with _recorded(layers, tracker) as seen, torch.no_grad(), tracker:
        run(x)
    return seen


def without_data(module: nn.Module) -> tuple[nn.Module, dict[int, Any]]:
    """A copy of a module whose tensors are shapes only, and the copies of its parts by the id of the original."""
    copies: dict[int, Any] = {}
    for part in module.modules():
        for _, tensor in tensors(vars(part)):
            shell = tensor.detach().to("meta")
            copies[id(tensor)] = nn.Parameter(shell, False) if isinstance(tensor, nn.Parameter) else shell
    return copy.deepcopy(module, copies), copies


def _ancestors(node: Any) -> set[Any]:
    """The nodes of an autograd graph that `node` depends on, itself included."""
    found: set[Any] = set()
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return found


@contextmanager
def _recorded(layers: dict[str, nn.Module], tracker: CellTracker) -> Iterator[list[LayerVisit]]:
    seen: list[LayerVisit] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if isinstance(first, Tensor):  # what a hook on the layer can catch and hand on
                seen.append(LayerVisit(name, tuple(first.shape), module, first.grad_fn, tracker.place(first)))

        return hook

    handles = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def alone(job: Callable[[], T]) -> T | None:
    """The job's result from a fresh thread, or None if the network cannot run without data."""
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(job).result()
        except Exception:  # noqa: BLE001 - any network may fail on shapes alone; callers then measure for real
            return None
