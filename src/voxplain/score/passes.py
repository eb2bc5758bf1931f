"""Passes through a network: what was asked about a batch, and the fewest forwards and backwards that answer it.

Questions about equal batches share a forward; those that also mean the same number share the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.score.blending import Caught
from voxplain.score.cells import CellTracker
from voxplain.score.choice import Choice
from voxplain.score.execution import Kind
from voxplain.score.layers import Catch, Tap, caught, checked
from voxplain.score.memory import Ledger, short_of_memory
from voxplain.score.model import Model
from voxplain.score.rules import DERIVATIVE, Pass, Rules, Tape, recorded
from voxplain.score.sliding import asked

Read = Callable[[Tensor], tuple[Tensor, Choice]]
"""Output of a batch -> the meant numbers (batch,) or (batch, class), differentiable, and what they belong to."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What a score wants to know about a batch."""

    model: Model
    batch: Tensor
    read: Read
    meaning: str
    """The target in words: asks of one meaning and choice share their backward."""
    ledger: Ledger
    gradient: bool = False
    """The gradient by the batch."""
    layers: tuple[str, ...] = ()
    """Layers whose activations are wanted; of one for the `gradient`, layers that others of its pass want."""
    back: bool = True
    """Whether the gradients by the layers are wanted too."""
    rules: Rules | None = None
    """Rules for the way back; None for the derivative."""
    region: Tensor | None = None
    """Voxels of the output (batch, *space) that the answer is read from, where these are known; None for all."""
    stretch: int | None = None
    """Bytes of the forward after which its activations are let go, to be computed again; None to keep them all."""

    @property
    def graded(self) -> bool:
        """Whether there is a way back."""
        return self.gradient or bool(self.layers and self.back)

    @property
    def network(self) -> Model:
        """What answers it: the model, or what runs in its place."""
        kind: Kind = (
            "forward" if not (self.gradient or self.layers) else ("gradient" if self.rules is None else "rules")
        )
        return self.model.network(self.batch[:1].to(self.model.device, self.model.dtype), self.layers, kind)


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network said: numbers in float64, the choice they belong to, and what was asked besides."""

    values: Tensor
    choice: Choice
    gradient: Tensor | None = None
    taps: tuple[Tap, ...] = ()
    met: Pass | None = None
    """What the way back met, where it followed rules."""


def answered(asks: Sequence[Ask]) -> list[Answer | Exception]:
    """One answer an ask, in their order; an error stands in the place of each answer that it prevented."""
    found: dict[int, Answer | Exception] = {}
    for group in alike(asks):
        found.update(zip(group, _together([asks[n] for n in group]), strict=True))
    return [found[n] for n in range(len(asks))]


def _together(asks: Sequence[Ask]) -> Sequence[Answer | Exception]:
    """Answers from one pass; where that fails for another reason than memory, each ask gets a pass of its own."""
    graph = any(ask.graded for ask in asks)
    try:
        with torch.inference_mode(False), torch.set_grad_enabled(graph):
            return _Pass.through(asks).answers()
    except Exception as error:  # noqa: BLE001 - handed to whoever asked, who raises it
        if short_of_memory(error):
            return [error] * len(asks)
        if len(asks) == 1:
            return [_as_it_is(asks[0], error)]
    return [answer for ask in asks for answer in _together([ask])]


def _as_it_is(ask: Ask, error: Exception) -> Answer | Exception:
    """The answer of the network itself, where another one ran in its place and failed; else the error."""
    if ask.network is ask.model:
        return error
    (found,) = _together([replace(ask, model=ask.model.with_module(ask.model.module))])
    if not isinstance(found, Exception):
        ask.model.twins.leave(error)
    return found


def alike(asks: Sequence[Ask]) -> list[list[int]]:
    """Numbers of the asks, grouped by network and equal batch: one forward answers a group."""
    networks = [ask.network for ask in asks]
    groups: list[list[int]] = []
    for number, ask in enumerate(asks):
        for group in groups:
            if networks[group[0]] is networks[number] and _equal(asks[group[0]].batch, ask.batch):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def computed_again(asks: Sequence[Ask]) -> bool:
    """True where each backward of a pass computes its forward once more."""
    return any(ask.stretch is not None for ask in asks)


def same_number(one: Ask, choice: Choice, other: Ask, another: Choice) -> bool:
    """True where two asks want derivatives of the same number by the same rules: one backward answers both."""
    parts = zip(choice.parts(), another.parts(), strict=True)
    return (one.meaning, one.rules) == (other.meaning, other.rules) and all(_equal(a, b) for a, b in parts)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one is other:
        return one is other
    return one.dtype == other.dtype and torch.equal(one, other)


@dataclass(frozen=True, eq=False)
class _Pass:
    """One forward, and the asks it serves."""

    asks: Sequence[Ask]
    leaf: Tensor
    output: Tensor
    catches: dict[str, Caught] = field(default_factory=dict)
    """What every layer asked for gave."""
    tape: Tape | None = None
    """The recorded forward, where rules were asked for or activations are to be computed again."""

    @classmethod
    def through(cls, asks: Sequence[Ask]) -> _Pass:
        """Run the network once on the batch that all `asks` share."""
        model, network, batch = asks[0].model, asks[0].network, asks[0].batch
        layers = tuple(dict.fromkeys(name for ask in asks for name in ask.layers))
        by_input = any(ask.gradient for ask in asks)
        asks[0].ledger.forwards += len(batch)
        # A leaf and the caller's batch must not be changed in place, as some networks do first: these get a copy.
        leaf = batch.detach().to(model.device, model.dtype, copy=batch.is_inference()).requires_grad_(by_input)
        x = leaf.to(network.dtype, copy=True, memory_format=network.order)
        catches: dict[str, Catch] = {}
        stretch = min((ask.stretch for ask in asks if ask.stretch is not None), default=None)
        with ExitStack() as around:
            ruled = any(ask.rules is not None for ask in asks)
            tape = around.enter_context(recorded(stretch, lean=not ruled)) if ruled or stretch is not None else None
            if layers:
                tracker = CellTracker(x)
                catches = around.enter_context(caught(network, layers, tracker))
                around.enter_context(tracker)
            around.enter_context(asked(network.module, _region(asks)))
            output = network(network.filled(x))[: len(batch)]
        return cls(asks, leaf, output, {name: checked(name, catches[name], leaf) for name in layers}, tape)

    def answers(self) -> list[Answer]:
        """The answer to each ask; the graph is let go with the last backward."""
        read = [ask.read(self.output) for ask in self.asks]
        found: dict[int, Answer] = {}
        differentiated = [n for n, ask in enumerate(self.asks) if ask.graded]
        groups = list(self._same_number(differentiated, [choice for _, choice in read]))
        for group in groups:
            found.update(self._graded(group, *read[group[0]], keep=group is not groups[-1]))
        for number, (values, choice) in enumerate(read):
            taps = tuple(self._tap(name, None, len(values)) for name in self.asks[number].layers)
            found.setdefault(number, Answer(values.detach().double(), choice, taps=taps))
        return [found[number] for number in range(len(read))]

    def _same_number(self, numbers: Sequence[int], choices: Sequence[Choice]) -> Iterator[list[int]]:
        """Asks that want derivatives of the same number, together."""
        left = list(numbers)
        while left:
            first = left[0]
            same = [n for n in left if same_number(self.asks[first], choices[first], self.asks[n], choices[n])]
            yield same
            left = [n for n in left if n not in same]

    def _graded(self, group: list[int], values: Tensor, choice: Choice, keep: bool) -> dict[int, Answer]:
        asks = [self.asks[n] for n in group]
        layers = tuple(dict.fromkeys(name for ask in asks if ask.back for name in ask.layers))
        leaves = [self.leaf] if any(ask.gradient for ask in asks) else []
        asks[0].ledger.backwards += len(values)
        asks[0].ledger.forwards += len(values) * computed_again(self.asks)
        parts = [part for name in layers for part in self.catches[name].parts]
        found, met = self._backward(asks[0], values, [*leaves, *parts], keep)
        gradient = found.pop(0).contiguous() if leaves else None
        taps = {name: self._tap(name, _taken(found, len(self.catches[name].parts)), len(values)) for name in layers}
        plain = values.detach().double()
        read = {n: () if ask.gradient else ask.layers for n, ask in zip(group, asks, strict=True)}
        for name in dict.fromkeys(name for names in read.values() for name in names if name not in taps):
            taps[name] = self._tap(name, None, len(values))
        return {
            n: Answer(plain, choice, gradient if ask.gradient else None, tuple(taps[name] for name in read[n]), met)
            for n, ask in zip(group, asks, strict=True)
        }

    def _tap(self, name: str, gradients: Sequence[Tensor] | None, count: int) -> Tap:
        caught = self.catches[name]
        activation = caught.activation
        gradient = activation.new_empty(0) if gradients is None else caught.gradient(gradients)
        return Tap(name, self._told(activation, count), self._told(gradient, count), caught.cells)

    def _told(self, part: Tensor, count: int) -> Tensor:
        """A tensor of the network's own in the type that methods get; a fixed batch was filled up."""
        return part[:count].to(self.leaf.dtype)

    def _backward(self, ask: Ask, values: Tensor, inputs: list[Tensor], keep: bool) -> tuple[list[Tensor], Pass | None]:
        """What comes back to `inputs`, zeros where nothing does; `keep` leaves the graph for another backward."""
        if not values.requires_grad:
            raise InputError(f"{ask.meaning}: the score does not depend on what the method differentiates by")
        met: Pass | None = None
        found: Sequence[Tensor | None]
        try:
            if self.tape is None:
                found = torch.autograd.grad(values.sum(), inputs, allow_unused=True, retain_graph=keep)
            elif ask.rules is None:
                with self.tape.using(DERIVATIVE, keep=keep):
                    found = torch.autograd.grad(values.sum(), inputs, allow_unused=True, retain_graph=keep)
            else:
                found, met = self.tape.gradients(ask.rules, self.output, values, inputs, keep=keep)
                ask.ledger.note(met.covered, met.missed)
        except RuntimeError as error:
            if short_of_memory(error):
                raise
            raise InputError(f"the model cannot be differentiated: {str(error).splitlines()[0][:200]}") from error
        return [torch.zeros_like(of) if part is None else part for part, of in zip(found, inputs, strict=True)], met


def _region(asks: Sequence[Ask]) -> Tensor | None:
    """Voxels (*space) that any of the asks needs of any sample; None for all."""
    found: Tensor | None = None
    for ask in asks:
        if ask.region is None:
            return None
        own = ask.region.any(dim=0)
        found = own if found is None else found | own
    return found


def _taken(parts: list[Tensor], count: int) -> list[Tensor]:
    """The first of the parts, which are removed."""
    first = parts[:count]
    del parts[:count]
    return first
