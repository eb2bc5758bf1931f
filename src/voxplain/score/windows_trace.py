"""A forward pass written down: its operations in order, which results feed which, and the clean maps needed later.

A torch-dispatch mode sees the operations below modules and functions alike, in one spelling each: in-place forms,
residual additions, scripted parts and exported programs included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from voxplain.score.operation import replaced, tensors_in
from voxplain.score.windows_operations import Rule
from voxplain.score.windows_rules import alone, rule_for
from voxplain.score.windows_step import Ref, Step

DECIDING = frozenset(
    """
    _local_scalar_dense item equal is_nonzero nonzero _unique2 unique_dim masked_select
    """.split()  # noqa: SIM905 - a list of words
)
"""Operations through which numbers decide about shapes or the way a program takes."""

MEMORY = frozenset(["as_strided", "as_strided_", "set_", "resize_", "_reshape_alias"])
"""Operations that speak of memory instead of values."""

ONE_RESULT = frozenset(
    """
    max_pool2d_with_indices max_pool3d_with_indices native_batch_norm _native_batch_norm_legit_no_training
    cudnn_batch_norm native_dropout max
    """.split()  # noqa: SIM905 - a list of words
)
"""Operations whose other results (places, statistics, masks) are wrong on a part of a map."""


class Unfollowed(Exception):
    """Raised where a forward pass cannot be written down or played back in parts, with the reason in words."""


@dataclass(eq=False)
class Program:
    """The steps from the input (value 0) to the output, and the clean maps that parts are cut from."""

    steps: list[Step]
    rules: list[Rule | None]
    """How each step acts on a part of the map; None where it needs all of it."""
    output: int
    shapes: dict[int, tuple[int, ...]]
    clean: dict[int, Tensor]
    """Clean values (1, ..., *space) that some step may need around a changed part."""
    rank: int
    itemsize: int = 4
    """Bytes of a number."""


def traced(network: Callable[[Tensor], Tensor], x: Tensor, allowed: int) -> Program:
    """The program of one forward of `x` (1, channel, *space), while its maps take up at most `allowed` bytes.

    Raises `Unfollowed` where the way of the numbers is not understood.
    """
    x = x.clone()
    trace = Trace(x, allowed)
    with torch.no_grad(), trace:
        output = network(x)
    if output not in trace.numbers:
        raise Unfollowed("the output does not depend on the input in a way that can be seen")
    number = trace.numbers[output]
    trace.clean.setdefault(number, output)
    return Program(trace.steps, trace.rules, number, trace.shapes, trace.clean, trace.rank, x.element_size())


class Trace(TorchDispatchMode):
    """Follows what depends on the input through every operation."""

    def __init__(self, x: Tensor, allowed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rank, self.allowed = x.ndim - 2, allowed
        self.steps: list[Step] = []
        self.rules: list[Rule | None] = []
        self.numbers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.numbers[x] = 0
        self.stale: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.shapes: dict[int, tuple[int, ...]] = {0: tuple(x.shape)}
        self.clean: dict[int, Tensor] = {0: x}
        self.spatial = {0}
        self.barred: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and write it down where it reads followed values."""
        kwargs = kwargs or {}
        written = _written(func, args, kwargs)
        followed = [tensor for tensor in tensors_in([args, kwargs]) if tensor in self.numbers]
        if any(tensor in self.stale for tensor in tensors_in([args, kwargs])):
            raise Unfollowed("a tensor was read after another view of it was changed in place")
        if not followed or _restrided(func, args):
            return func(*args, **kwargs)
        if _draws(func, args, kwargs):
            raise Unfollowed(f"an operation draws at random ({_name(func)})")
        self._check(func, followed, written)
        step = self._step(func, args, kwargs, bool(written))
        self._keep(step, followed)
        for tensor in written:
            self._before_change(tensor)
        given = func(*args, **kwargs)
        self._note(step, given, written, followed)
        return given

    def _check(self, func: Any, followed: list[Tensor], written: list[Tensor]) -> None:
        name = _name(func)
        if name in DECIDING:
            raise Unfollowed(f"the way through the network depends on values ({name})")
        if name in MEMORY:
            raise Unfollowed(f"an operation speaks of memory instead of values ({name})")
        if len(written) > 1 or any(tensor not in self.numbers for tensor in written):
            raise Unfollowed(f"a result is written into a tensor that was there before ({name})")
        if any(self.numbers[tensor] in self.barred for tensor in followed):
            raise Unfollowed("a later operation reads places or statistics that another one found")

    def _step(self, func: Any, args: Any, kwargs: Any, changes: bool) -> Step:
        inputs: dict[int, None] = {}

        def refer(tensor: Tensor) -> Tensor | Ref:
            if tensor not in self.numbers:
                return tensor
            inputs.setdefault(self.numbers[tensor])
            return Ref(self.numbers[tensor])

        arguments, options = replaced(tuple(args), Tensor, refer), replaced(dict(kwargs), Tensor, refer)
        name, function = (_name(func).rstrip("_"), _unchanging(func)) if changes else (_name(func), func)
        return Step(name, function, arguments, options, tuple(inputs), tuple(self.shapes[n] for n in inputs))

    def _keep(self, step: Step, followed: list[Tensor]) -> None:
        """Hold on to the clean maps that a step may need around a changed part."""
        if alone(step, self.spatial, self.rank):
            return
        for tensor in followed:
            number = self.numbers[tensor]
            if number in self.spatial and number not in self.clean:
                self.clean[number] = tensor
        if sum(kept.nbytes for kept in self.clean.values()) > self.allowed:
            raise Unfollowed("the maps of one forward pass do not fit the memory allowed")

    def _before_change(self, tensor: Tensor) -> None:
        """Copy the kept maps that lie in memory which is about to be written to."""
        storage = _storage(tensor)
        for number, kept in self.clean.items():
            if _storage(kept) == storage:
                self.clean[number] = kept.clone()

    def _note(self, step: Step, given: Any, written: list[Tensor], followed: list[Tensor]) -> None:
        results, first = list(tensors_in(given)), len(self.shapes)
        step.outputs = tuple(range(first, first + len(results)))
        step.result_shapes = tuple(tuple(result.shape) for result in results)
        step.single = isinstance(given, Tensor)
        for number, result in zip(step.outputs, results, strict=True):
            self.shapes[number] = tuple(result.shape)
            if not written:
                self.numbers[result] = number
        storages = {_storage(tensor) for tensor in followed}
        step.shows = not written and any(_storage(result) in storages for result in results)
        for tensor in written:
            self._changed(tensor, step.outputs[0])
        if step.name in ONE_RESULT:
            self.barred.update(step.outputs[1:])
        rule = rule_for(step, self.spatial, self.rank) if results else None
        self.steps.append(step)
        self.rules.append(rule)
        if rule is not None:
            self.spatial.update(step.outputs)

    def _changed(self, tensor: Tensor, number: int) -> None:
        """The tensor, and whatever shows exactly the same memory, stands for a new value from now on."""
        shown = _shown(tensor)
        for other in list(self.numbers):
            if _storage(other) != _storage(tensor):
                continue
            if _shown(other) == shown:
                self.numbers[other] = number
            else:
                del self.numbers[other]
                self.stale[other] = True


def _restrided(func: Any, args: Any) -> bool:
    """True where an operation only tells other strides for axes of one voxel: it changes nothing."""
    if _name(func) != "as_strided_" or len(args) != 3:
        return False
    tensor, size, strides = args
    same = zip(tensor.shape, tensor.stride(), strides, strict=True) if len(strides) == tensor.ndim else ()
    return tuple(size) == tuple(tensor.shape) and all(side == 1 or one == other for side, one, other in same)


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _draws(func: Any, args: Any, kwargs: Any) -> bool:
    """True for an operation that draws at random; dropout was judged before, and attention may leave it out."""
    if torch.Tag.nondeterministic_seeded not in func.tags or _name(func).endswith("dropout"):
        return False
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - torch has no public name for it
        if argument.name == "dropout_p":
            return bool(args[place] if place < len(args) else kwargs.get("dropout_p", argument.default_value))
    return True


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation changes in place."""
    found: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):  # noqa: SLF001 - torch has no public name for it
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[place] if place < len(args) else kwargs.get(argument.name)
            found += list(tensors_in(given))
    return found


def _unchanging(func: Any) -> Callable[..., Any]:
    """The form of an in-place operation that returns a new tensor, with the same arguments."""
    packet = getattr(torch.ops.aten, _name(func).rstrip("_"), None)
    overloads = [] if packet is None else [getattr(packet, name) for name in packet.overloads()]
    for overload in overloads:
        if _arguments(overload) == _arguments(func):
            return overload  # type: ignore[no-any-return]
    raise Unfollowed(f"an operation has no form that leaves its input alone ({_name(func)})")


def _arguments(func: Any) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in func._schema.arguments]  # noqa: SLF001


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001


def _shown(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
