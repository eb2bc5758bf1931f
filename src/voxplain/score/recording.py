"""The record of one call while a forward runs: what is written down of it, and what earlier records learn from it."""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from voxplain.score.operation import (
    Operation,
    Slot,
    depth_of,
    is_batch_norm,
    is_bias,
    replaced,
    source_of,
    tensors_in,
)
from voxplain.score.operation_kinds import plain_name
from voxplain.score.rules_storage import storage_of
from voxplain.score.stretch import Move


def operation_of(
    name: str, function: Any, args: Any, kwargs: Any, followed: list[Tensor], *, lean: bool = False
) -> Operation:
    """The record of a call; the followed tensors are put into `followed` in the order of their slots."""

    def slot(tensor: Tensor) -> Tensor | Slot:
        if not tensor.requires_grad:
            return tensor
        followed.append(tensor)
        return Slot(len(followed) - 1)

    arguments, options = replaced(tuple(args), Tensor, slot), replaced(dict(kwargs), Tensor, slot)
    nodes = [tensor.grad_fn for tensor in followed]
    operation = Operation(
        name=name,
        function=function,
        arguments=arguments,
        options=options,
        inputs=[tensor.detach() for tensor in followed],
        sources=[source_of(node) for node in nodes],
        direct=[hasattr(node, "operation") for node in nodes],
        depth=max(depth_of(node) for node in nodes),
        lean=lean,
    )
    operation.depth += operation.kind == "weights"
    return operation


def move_of(function: Any, args: Any, kwargs: Any) -> Move:
    """The record of a call that only moved numbers."""
    count = iter(range(len(list(tensors_in([args, kwargs])))))
    slot = lambda tensor: Slot(next(count)) if tensor.requires_grad else tensor  # noqa: E731
    return Move(function, replaced(tuple(args), Tensor, slot), replaced(dict(kwargs), Tensor, slot))


def without_change(function: Any) -> Any:
    """The form of an in-place operation that returns a new tensor."""
    packet = getattr(function, "overloadpacket", None)  # an operation of an exported program
    if packet is not None:
        return getattr(getattr(torch.ops.aten, packet.__name__.rstrip("_")), function._overloadname)  # noqa: SLF001
    name = plain_name(function)[:-1]
    for owner in (torch._C._nn, torch.Tensor, torch):  # noqa: SLF001
        if hasattr(owner, name):
            return getattr(owner, name)
    return lambda first, *args, **kwargs: function(first.clone(), *args, **kwargs)


def shows_input(operation: Operation) -> bool:
    """True where a result is only another view of an input: it must stay one, as writing to it changes both."""
    inputs = {storage_of(value) for value in operation.inputs}
    return any(storage_of(result) in inputs for result in operation.outputs)


def count_uses(followed: Sequence[Tensor]) -> None:
    """Tell the operations that gave these tensors that one more reads them."""
    for tensor in followed:
        operation: Operation | None = getattr(tensor.grad_fn, "operation", None)
        if operation is not None:
            operation.uses += 1


def fold(operation: Operation) -> None:
    """Tell a layer with weights that the batch norm or the bias which follows belongs to it."""
    source = operation.sources[0]
    if source is None or source.kind != "weights" or not operation.direct[0] or len(operation.inputs) > 1:
        return
    if is_batch_norm(operation, source) or is_bias(operation, source):
        source.after = weakref.ref(operation)


def has_constants(args: Any, kwargs: Any) -> bool:
    """True where there are numbers that do not depend on the image among the arguments."""
    return any(tensor.is_floating_point() and not tensor.requires_grad for tensor in tensors_in([args, kwargs]))


def body_of(function: Any) -> Callable[..., Any] | None:
    """A torch function written in Python, as one whose inner operations can be seen; None for any other.

    Torch's Python functions hand themselves to the active mode first; with the question taken out of their namespace
    they run their body instead, operation by operation.
    """
    if not isinstance(function, types.FunctionType) or not _asks(function):
        return None
    if function not in _BODIES:
        never = {name: _never for name in function.__globals__ if name.startswith("has_torch_function")}
        body = types.FunctionType(
            function.__code__,
            {**function.__globals__, **never},
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        body.__kwdefaults__ = function.__kwdefaults__
        _BODIES[function] = body
    return _BODIES[function]


_BODIES: dict[Any, Callable[..., Any]] = {}


def _asks(function: types.FunctionType) -> bool:
    return any(name.startswith("has_torch_function") for name in function.__globals__)


def _never(*_: Any) -> bool:
    return False
