"""Backward rules without touching the model: one recorded forward serves any number of rule sets by one backward each.

A torch-function mode sees every operation of a forward pass, `F.relu` and `nn.ReLU` alike, in-place operations,
residual additions, and the operations of an exported program. Each becomes one node of the graph that keeps its
operation; on the way back the node asks the rule set of that moment what to hand on (and takes the derivative where the
set has no say), so plain gradients and all rules come from the same forward.
"""

from __future__ import annotations

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
from voxplain.score.operation import Operation, replaced, tensors_in
from voxplain.score.operation_kinds import JOINS, KINDS, MOVES, NATIVE, in_place, plain_name
from voxplain.score.recording import (
    body_of,
    count_uses,
    fold,
    has_constants,
    move_of,
    operation_of,
    shows_input,
    without_change,
)
from voxplain.score.rules_blind_spots import no_checkpoints, plainly_saved, refuse_hidden
from voxplain.score.rules_storage import Keepers
from voxplain.score.stretches import Stretches

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
            return [None] * len(operation.sources)
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
        stretches = ctx.tape.stretches
        if stretches is not None:
            stretches.reached(ctx.operation)
        found = ctx.tape.current.answer(ctx.operation, grads)
        if stretches is not None:
            stretches.passed(ctx.operation)
        return (None, None, *found)


class Tape(TorchFunctionMode):
    """Records the forward that runs inside it; `gradients` plays it back under any rules, as often as wanted.

    With `stretch` it keeps no more of the forward than about so many bytes and what later parts read of earlier ones;
    the rest is computed again in each backward. `lean` keeps what derivatives need: backwards by rules compute more.
    """

    def __init__(self, stretch: int | None = None, *, lean: bool = False) -> None:
        super().__init__()
        self._lean = lean and stretch is not None
        self.current = Pass(DERIVATIVE)
        self._keepers = Keepers()
        self.stretches = None if stretch is None else Stretches(stretch, self._keepers)
        self._inside: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; one on tensors that depend on the image becomes a node."""
        kwargs, name = kwargs or {}, plain_name(func)
        followed = [tensor for tensor in tensors_in([args, kwargs]) if tensor.requires_grad]
        if name in NATIVE or not torch.is_grad_enabled() or not followed:
            if in_place(name):
                self._before_change(next(tensors_in(args)))
            return func(*args, **kwargs)
        if name in MOVES and not (name in JOINS and has_constants(args, kwargs)):
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
        changes = in_place(name)
        reads = [] if self.stretches is None or changes else self.stretches.read(followed)
        if changes:
            self._before_change(next(tensors_in(args)))
        with plainly_saved():
            given = func(*args, **kwargs)
        count_uses(followed)
        if self.stretches is not None and not changes:
            self.stretches.note(move_of(func, args, kwargs), reads, list(tensors_in(given)))
        return given

    def _before_change(self, tensor: Tensor) -> None:
        self._keepers.before_change(tensor)
        if self.stretches is not None:
            self.stretches.changed(tensor)

    def _recorded(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        function, changed = func, None
        if in_place(name):
            changed, name, function = next(tensors_in(args)), name[:-1], without_change(func)
        followed: list[Tensor] = []
        operation = operation_of(name, function, args, kwargs, followed, lean=self._lean)
        reads = [] if self.stretches is None else self.stretches.begin(operation, followed)
        if changed is not None:
            self._keepers.keep(operation, operation.inputs)  # it reads what it is about to write
            self._before_change(changed)
        with plainly_saved():
            given = operation.begin()
        if not any(operation.differentiable):
            return given
        if changed is None and shows_input(operation):
            return self._moved(func, name, args, kwargs, followed)
        count_uses(followed)
        fold(operation)
        results = _Node.apply(self, operation, *followed)
        self._keepers.keep(operation, (*operation.inputs, *operation.outputs))
        if changed is not None:
            results = [_written(changed, results[0])]
        if self.stretches is not None:
            self.stretches.note(operation, reads, results)
        given_on = iter(results)
        return results[0] if changed is not None else replaced(given, Tensor, lambda _: next(given_on))

    @contextmanager
    def using(self, rules: Rules, *, keep: bool = True) -> Iterator[Pass]:
        """The backward of this block through the recorded graph follows `rules`; gives what it met.

        Unless there is another one to come, what it needs may be given up on the way.
        """
        before, self.current = self.current, Pass(rules)
        if self.stretches is not None:
            self.stretches.turn(not keep)
        try:
            yield self.current
        finally:
            self.current = before
            if self.stretches is not None:
                self.stretches.rest()

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
        with self.using(rules, keep=keep) as met:
            if rules.start == "relevance":
                met.absorb(values.detach().sum() - start.sum())  # a constant in the target, such as a reference
            found = torch.autograd.grad(output, list(inputs), start, retain_graph=keep, allow_unused=True)
        return list(found), met


def _written(changed: Tensor, result: Tensor) -> Tensor:
    """The tensor that an in-place operation changes, with the result in it."""
    if changed.requires_grad and not changed._is_view():  # noqa: SLF001
        changed.detach_()  # else what it was before would be sent zeros on the way back
    return changed.copy_(result)  # autograd's own bookkeeping: views of it change and are followed too


@contextmanager
def recorded(stretch: int | None = None, *, lean: bool = False) -> Iterator[Tape]:
    """A tape of the forward passes that run in this block; see `Tape` for the options."""
    tape = Tape(stretch, lean=lean)
    with no_checkpoints(), tape:
        yield tape
