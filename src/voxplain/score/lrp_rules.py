"""Layer-wise relevance propagation through everything that has no weights, and rule sets put together from both.

Activations and norms hand relevance on as it is (a batch norm that reads a convolution alone is merged into it first);
maxima give it to the winner; means, interpolation, sums and residual additions split it in proportion to what each
input gave. Of two factors the gate is held constant (squeeze-and-excitation, attention weights: Achtibat et al.,
AttnLRP, ICML 2024, equations 13 to 15, with the softmax detached); where neither is a gate each gets half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from voxplain.score.linear_map import ADDED, WEIGHTED, LinearMap
from voxplain.score.lrp_linear import Handling, divided, left_over, nothing, stabilised, sum_of
from voxplain.score.operation import Operation
from voxplain.score.operation_kinds import CONVOLUTIONS, DIVISIONS
from voxplain.score.rules import Pass, Rule, Rules

LinearRule = Callable[[LinearMap, Tensor, Handling, Pass], Tensor]
"""Relevance of the inputs of a linear map for the relevance of its results."""

Found = list[Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Composite:
    """Which linear rule goes where."""

    convolution: LinearRule
    """For convolutions and transposed convolutions."""
    dense: LinearRule
    """For linear layers and products with a constant matrix."""
    first: LinearRule | None = None
    """For the layers with weights that read the image; None: as the others."""
    bounded: bool = False
    """Split sums by the parts with the sign of the sum only, so that no share leaves 0 to 1; else by signed parts."""


def lrp(name: str, composite: Composite, how: Handling) -> Rules:
    """The rule set of a composite: relevance in at the output, an operation without a rule is an error."""
    proportional = lambda operation, relevance, met: _shared(operation, relevance, how, met, composite.bounded)  # noqa: E731
    table: dict[str, Rule] = {
        "weights": lambda operation, relevance, met: _weights(operation, relevance, composite, how, met),
        "mean": proportional,
        "resize": proportional,
        "add": proportional,
        "maximum": _derivative,
        "merge": lambda operation, relevance, met: _merged(operation, relevance, how, met),
        "product": _product,
        "dot": lambda operation, relevance, met: _dot(operation, relevance, how, met, composite.bounded),
        "attention": lambda operation, relevance, met: _attention(operation, relevance, how, met, composite.bounded),
    }
    passing = ("rectifier", "squash", "clamp", "norm", "shift", "scale", "dropout")
    return Rules(name, {**table, **dict.fromkeys(passing, _passed)}, default="refuse", start="relevance")


def _weights(operation: Operation, relevance: Tensor, composite: Composite, how: Handling, met: Pass) -> Found:
    on_input = operation.place(0, "input") is not None
    if on_input == (operation.name in ADDED) and operation.name in (*WEIGHTED, *ADDED):
        raise met.rules.refused(operation)  # the image is in the weights or in what is added, not in the input
    rule = composite.convolution if operation.name in CONVOLUTIONS else composite.dense
    if operation.first and composite.first is not None:
        rule = composite.first
    return [rule(LinearMap(operation), relevance, how, met)]


def _passed(operation: Operation, relevance: Tensor, met: Pass) -> Found:
    """As it came; an input that was spread over many places gathers what they have."""
    first = relevance.sum_to_size(operation.inputs[0].shape)
    return [first, *[None] * (len(operation.inputs) - 1)]


def _derivative(operation: Operation, relevance: Tensor, met: Pass) -> Found:
    return operation.derivative([relevance, *[None] * (len(operation.outputs) - 1)])


def _merged(operation: Operation, relevance: Tensor, how: Handling, met: Pass) -> Found:
    """Back to where the numbers came from; what lies on constants (padding, a class token) stays there or is spread."""
    found = _derivative(operation, relevance, met)
    parts = [part for part in found if part is not None]
    if not how.spread or not parts or parts[0].ndim != relevance.ndim:
        met.absorb(relevance.double().sum() - sum(part.double().sum() for part in parts))
        return found
    grown = [axis for axis in range(relevance.ndim) if any(p.shape[axis] != relevance.shape[axis] for p in parts)]
    axes = grown or list(range(1, relevance.ndim))  # along the padded axes only, so that samples stay apart
    lost = relevance.sum(axes, keepdim=True) - sum_of([part.sum(axes, keepdim=True) for part in parts])
    count = sum(prod(part.shape[axis] for axis in axes) for part in parts)
    return [None if part is None else part + lost / count for part in found]


def _shared(operation: Operation, relevance: Tensor, how: Handling, met: Pass, bounded: bool) -> Found:
    """In proportion to what each input gave to a sum with fixed coefficients."""
    if bounded:
        return _by_sign(operation, relevance, how, met)
    z = operation.output
    dead = z.abs() <= nothing(z) if how.spread else None  # there relevance is spread or absorbed
    rest = relevance if dead is None else relevance * ~dead
    ratio = divided(rest, stabilised(z, how.stabiliser))
    met.absorb(left_over(rest, ratio, z))
    found = operation.derivative([ratio])
    shares = [None if part is None else part * value for part, value in zip(found, operation.inputs, strict=True)]
    return _with(shares, [] if dead is None else _evenly(operation, relevance * dead))


def _by_sign(operation: Operation, relevance: Tensor, how: Handling, met: Pass) -> Found:
    """In proportion to the contributions that have the sign of the sum; evenly where the sum is zero, if spread.

    Coefficients must not be negative (means, additions, linear interpolation, attention weights).
    """
    z = operation.output
    found: Found = [None] * len(operation.inputs)
    for sign in (1.0, -1.0):
        part = relevance * (z * sign > nothing(z))
        if not part.any():
            continue
        parts = _signed_inputs(operation, sign)
        given = operation.run(*parts).detach()
        ratio = how.quotient(part, given, exact=how.spread)
        met.absorb(left_over(part, ratio, given))
        shares = operation.derivative([ratio])
        found = _with(found, [None if g is None else g * x for g, x in zip(shares, parts, strict=True)])
    lost = relevance * (z.abs() <= nothing(z))
    if how.spread:
        return _with(found, _evenly(operation, lost))
    met.absorb(lost)
    return found


def _signed_inputs(operation: Operation, sign: float) -> list[Tensor]:
    """The inputs' parts that push the result up (sign 1) or down (-1); what is subtracted pushes the other way."""
    signs = [sign] * len(operation.inputs)
    if operation.kind == "add":
        flipped = operation.name in ("sub", "subtract")
        signs[1] *= (-1 if flipped else 1) * operation.options.get("alpha", 1)
    pairs = zip(operation.inputs, signs, strict=True)
    return [value.clamp(min=0) if own > 0 else value.clamp(max=0) for value, own in pairs]


def _evenly(operation: Operation, relevance: Tensor) -> Found:
    """To the inputs of each unit as if all had given the same."""
    if not relevance.any():
        return []
    if operation.kind == "add":
        return [(relevance / len(operation.inputs)).sum_to_size(value.shape) for value in operation.inputs]
    total = operation.run(*map(torch.ones_like, operation.inputs)).detach()
    return operation.derivative([relevance / total])


def _product(operation: Operation, relevance: Tensor, met: Pass) -> Found:
    """To the factor that is no gate, whole; half to each where neither is one."""
    gate = _gate(operation)
    if gate is None:
        return [(relevance / 2).sum_to_size(value.shape) for value in operation.inputs]
    kept = relevance.sum_to_size(operation.inputs[1 - gate].shape)
    return [None, kept] if gate == 0 else [kept, None]


def _dot(operation: Operation, relevance: Tensor, how: Handling, met: Pass, bounded: bool) -> Found:
    gate = _gate(operation)
    if gate is not None:
        return _only(operation, relevance, how, met, 1 - gate, bounded)
    halves = [_only(operation, relevance / 2, how, met, place, False)[place] for place in (0, 1)]
    return list(halves)


def _only(operation: Operation, relevance: Tensor, how: Handling, met: Pass, place: int, bounded: bool) -> Found:
    """In proportion to what one input gave, the others held constant."""
    found: Found = [None] * len(operation.inputs)
    (found[place],) = _shared(operation.holding_others(place), relevance, how, met, bounded)
    return found


def _attention(operation: Operation, relevance: Tensor, how: Handling, met: Pass, bounded: bool) -> Found:
    place = operation.place(2, "value")
    if place is None:
        met.absorb(relevance)
        return [None] * len(operation.inputs)
    return _only(operation, relevance, how, met, place, bounded)


def _gate(operation: Operation) -> int | None:
    """Which of two factors only scales the other: a divisor, one squashed between bounds, else the smaller one."""
    if operation.name in DIVISIONS:
        return 1
    squashed = [place for place, source in enumerate(operation.sources) if _is_squashed(source)]
    if len(squashed) == 1:
        return squashed[0]
    sizes = [value.numel() for value in operation.inputs]
    if operation.kind == "product" and sizes[0] != sizes[1]:
        return 0 if sizes[0] < sizes[1] else 1
    return None


def _is_squashed(source: Operation | None) -> bool:
    while source is not None and source.kind in ("dropout", "scale", "shift", "merge"):
        source = source.sources[0]
    return source is not None and source.kind in ("squash", "clamp")


def _with(found: Sequence[Tensor | None], more: Sequence[Tensor | None]) -> Found:
    """Two lists of relevances added, where the second may be empty."""
    if not more:
        return list(found)
    pairs = zip(found, more, strict=True)
    return [second if first is None else first if second is None else first + second for first, second in pairs]
