"""Backward rules without touching the model: one recorded forward serves any number of rule sets by one backward each.

A torch-function mode sees every operation of a forward pass, `F.relu` and `nn.ReLU` alike, in-place operations,
residual additions, and the operations of an exported program. Each becomes one node of the graph that keeps its
operation; on the way back the node asks the rule set of that moment what to hand on (and takes the derivative where the
set has no say), so plain gradients and all rules come from the same forward.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from voxplain.errors import InputError
from voxplain.score.operation import (
    Operation,
    Slot,
    body_of,
    depth_of,
    is_batch_norm,
    is_bias,
    replaced,
    source_of,
    tensors_in,
)
from voxplain.score.operation_kinds import JOINS, KINDS, MOVES, NATIVE, in_place, plain_name
from voxplain.score.rules_blind_spots import no_checkpoints, plainly_saved, refuse_hidden
from voxplain.score.rules_storage import Keepers

Rule = Callable[[Operation, Tensor, "Pass"], Sequence[Tensor | None]]
"""What goes back to each followed input, given what came back to the result (same shapes as the tensors)."""


@dataclass(frozen=True)
class Rules:
    """A backward rule for each kind of operation; compare `voxplain.score.operation_kinds` for the kinds."""

    name: str
    """What the set is called in errors and certificates."""
    table: Mapping[str, Rule]
    """Rules by an operation's plain name ('relu') or else by its kind ('rectifier')."""
    default: Literal["derivative", "refuse"] = "derivative"
    """Where the table says nothing: the derivative, or an error that names the operation."""
    start: Literal["derivative", "relevance"] = "derivative"
    """What is put in at the output: the score's derivative, or derivative times output (a class score itself)."""

    def rule(self, operation: Operation) -> Rule | None:
        """The rule for an operation, None for the derivative."""
        by_name = None if operation.name in KINDS else self.table.get(operation.name)  # 'add' in a table is the kind
        found = by_name or self.table.get(operation.kind)
        if found is None and self.default == "refuse":
            raise self.refused(operation)
        return found

    def refused(self, operation: Operation) -> InputError:
        """The error that names an operation which has no rule."""
        return InputError(
            f"{self.name}: operation {operation.name!r} has no rule that says how relevance passes it; "
            "use a method that needs gradients only, or a network without this operation"
        )


DERIVATIVE = Rules("derivative", {})
"""The plain gradient."""


@dataclass
class Pass:
    """What one backward under a rule set has met so far."""

    rules: Rules
    covered: Counter[str] = field(default_factory=Counter)
    """Nonlinearities that a rule of the set handled, by name."""
    missed: Counter[str] = field(default_factory=Counter)
    """Nonlinearities that passed by their derivative, by name."""
    absorbed: list[Tensor] = field(default_factory=list)
    """Relevance that operations kept for themselves, summed (one 0-dimensional float64 tensor each)."""

    def absorb(self, kept: Tensor, times: float = 1.0) -> None:
        """Note relevance that went to no input: to a bias, a stabiliser, a constant.

        Within a sample torch sums in pairs, so that widening every value first would only cost time.
        """
        samples = kept.detach().sum(dim=tuple(range(1, kept.ndim)))
        self.absorbed.append(samples.double().sum() * times)

    @property
    def kept(self) -> float:
        """All relevance that operations kept for themselves."""
        return sum(float(part) for part in self.absorbed)

    def answer(self, operation: Operation, grads: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """What goes back to the inputs of an operation."""
        if all(grad is None for grad in grads):
            return [None] * len(operation.inputs)
        rule = self.rules.rule(operation)
        if operation.kind in ("rectifier", "squash", "clamp", "maximum"):
            (self.missed if rule is None else self.covered)[operation.name] += 1
        if rule is None or grads[0] is None:
            return operation.derivative(grads)
        return rule(operation, grads[0], self)


class _Node(torch.autograd.Function):
    """One operation as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, tape: Tape, operation: Operation, *_: Tensor) -> tuple[Tensor, ...]:
        ctx.tape, ctx.operation = tape, operation
        ctx.set_materialize_grads(False)  # nothing that came back stays nothing: whole branches cost no products
        results = tuple(result.detach() for result in operation.outputs)
        smooth = operation.differentiable
        ctx.mark_non_differentiable(*[result for result, open_ in zip(results, smooth, strict=True) if not open_])
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.tape.current.answer(ctx.operation, grads))


class Tape(TorchFunctionMode):
    """Records the forward that runs inside it; `gradients` plays it back under any rules, as often as wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.current = Pass(DERIVATIVE)
        self._keepers = Keepers()
        self._inside: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; one on tensors that depend on the image becomes a node."""
        kwargs, name = kwargs or {}, plain_name(func)
        followed = [tensor for tensor in tensors_in([args, kwargs]) if tensor.requires_grad]
        if name in NATIVE or not torch.is_grad_enabled() or not followed:
            if in_place(name):
                self._keepers.before_change(next(tensors_in(args)))
            return func(*args, **kwargs)
        if name in MOVES and not (name in JOINS and _has_constants(args, kwargs)):
            return self._moved(func, name, args, kwargs, followed)
        body = None if func in self._inside else body_of(func)
        if body is None:
            return self._recorded(func, name, args, kwargs)
        self._inside.append(func)  # one that calls its own compiled form under the same name is not entered twice
        try:
            with self:
                return body(*args, **kwargs)
        finally:
            self._inside.pop()

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any, followed: Sequence[Tensor]) -> Any:
        if in_place(name):
            self._keepers.before_change(next(tensors_in(args)))
        with plainly_saved():
            given = func(*args, **kwargs)
        _count_uses(followed)
        return given

    def _recorded(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        function, changed = func, None
        if in_place(name):
            changed, name, function = next(tensors_in(args)), name[:-1], _without_change(func)
        followed: list[Tensor] = []
        operation = _operation(name, function, args, kwargs, followed)
        if changed is not None:
            self._keepers.keep(operation)  # it reads what it is about to write
            self._keepers.before_change(changed)
        with plainly_saved():
            given = operation.begin()
        if not any(operation.differentiable):
            return given
        if changed is None and _shows(operation):
            return self._moved(func, name, args, kwargs, followed)
        _count_uses(followed)
        _fold(operation)
        results = iter(_Node.apply(self, operation, *followed))
        self._keepers.keep(operation)
        if changed is None:
            return replaced(given, Tensor, lambda _: next(results))
        if changed.requires_grad and not changed._is_view():  # noqa: SLF001
            changed.detach_()  # else what it was before would be sent zeros on the way back
        return changed.copy_(next(results))  # autograd's own bookkeeping: views of it change and are followed too

    @contextmanager
    def using(self, rules: Rules) -> Iterator[Pass]:
        """Backwards of this block through the recorded graph follow `rules`; gives what they met."""
        before, self.current = self.current, Pass(rules)
        try:
            yield self.current
        finally:
            self.current = before

    def gradients(
        self,
        rules: Rules,
        output: Tensor,
        values: Tensor,
        inputs: Sequence[Tensor],
        *,
        keep: bool = False,
    ) -> tuple[list[Tensor | None], Pass]:
        """What comes back to `inputs` under `rules`, and what the way back met: one backward, no forward.

        `output` is what the recorded forward returned and `values` (batch,) are the scores read off it by plain torch;
        `keep` leaves the graph for another call.
        """
        refuse_hidden(output, rules.name)
        (start,) = torch.autograd.grad(values.sum(), output, retain_graph=True)
        start = start if rules.start == "derivative" else start * output.detach()
        with self.using(rules) as met:
            if rules.start == "relevance":
                met.absorb(values.detach().sum() - start.sum())  # a constant in the target, such as a reference
            found = torch.autograd.grad(output, list(inputs), start, retain_graph=keep, allow_unused=True)
        return list(found), met


@contextmanager
def recorded() -> Iterator[Tape]:
    """A tape of the forward passes that run in this block."""
    tape = Tape()
    with no_checkpoints(), tape:
        yield tape


def _operation(name: str, function: Any, args: Any, kwargs: Any, followed: list[Tensor]) -> Operation:
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
    )
    operation.depth += operation.kind == "weights"
    return operation


def _without_change(function: Any) -> Any:
    """The form of an in-place operation that returns a new tensor."""
    packet = getattr(function, "overloadpacket", None)  # an operation of an exported program
    if packet is not None:
        return getattr(getattr(torch.ops.aten, packet.__name__.rstrip("_")), function._overloadname)  # noqa: SLF001
    name = plain_name(function)[:-1]
    for owner in (torch._C._nn, torch.Tensor, torch):  # noqa: SLF001
        if hasattr(owner, name):
            return getattr(owner, name)
    return lambda first, *args, **kwargs: function(first.clone(), *args, **kwargs)


def _shows(operation: Operation) -> bool:
    """True where a result is only another view of an input: it must stay one, as writing to it changes both."""
    inputs = {value.untyped_storage().data_ptr() for value in operation.inputs}
    return any(result.untyped_storage().data_ptr() in inputs for result in operation.outputs)


def _count_uses(followed: Sequence[Tensor]) -> None:
    for tensor in followed:
        operation: Operation | None = getattr(tensor.grad_fn, "operation", None)
        if operation is not None:
            operation.uses += 1


def _fold(operation: Operation) -> None:
    """Tell a layer with weights that the batch norm or the bias which follows belongs to it."""
    source = operation.sources[0]
    if source is None or source.kind != "weights" or not operation.direct[0] or len(operation.inputs) > 1:
        return
    if is_batch_norm(operation, source) or is_bias(operation, source):
        source.after = weakref.ref(operation)


def _has_constants(args: Any, kwargs: Any) -> bool:
    return any(tensor.is_floating_point() and not tensor.requires_grad for tensor in tensors_in([args, kwargs]))
