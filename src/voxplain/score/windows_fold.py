"""A recorded forward made cheaper without changing what it computes: norms folded, results written over."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from voxplain.score.windows_rules import rule_for
from voxplain.score.windows_step import Ref, Step
from voxplain.score.windows_trace import Program

aten = torch.ops.aten

FRESH = frozenset(["convolution", "native_batch_norm", "_native_batch_norm_legit_no_training", "add", "cat", "mul"])
"""Operations whose result is memory of its own, which nothing else shows."""

OVER = {"relu": aten.relu_.default, "hardtanh": aten.hardtanh_.default, "silu": aten.silu_.default}
"""Activations that may write over their input, where nobody reads it afterwards."""


def folded(program: Program) -> Program:
    """The same program with batch norms folded into the convolutions before them, and activations in place."""
    reads = Counter(number for step in program.steps for number in step.inputs)
    makers = {number: step for step in program.steps for number in step.outputs}
    swaps: dict[int, Step] = {}
    gone: set[int] = set()
    for step, rule in zip(program.steps, program.rules, strict=True):
        before = makers.get(step.inputs[0])
        if rule is None or before is None or not _foldable(step, before, reads, program):
            continue
        swaps[id(before)] = _with_norm(before, step)
        gone.add(id(step))
    steps = [swaps.get(id(step), step) for step in program.steps if id(step) not in gone]
    steps = [_written_over(step, steps, program) for step in steps]
    spatial = {0, *(n for s, rule in zip(program.steps, program.rules, strict=True) if rule for n in s.outputs)}
    return replace(program, steps=steps, rules=[rule_for(step, spatial, program.rank) for step in steps])


def _foldable(step: Step, before: Step, reads: Counter[int], program: Program) -> bool:
    norm = step.name in ("native_batch_norm", "_native_batch_norm_legit_no_training")
    if not norm or before.name != "convolution" or not isinstance(before.arguments[1], Tensor):
        return False
    number = before.outputs[0]
    followed = isinstance(before.arguments[2], Ref) or len(before.inputs) != 1
    return not followed and reads[number] == 1 and number != program.output and number not in program.clean


def _with_norm(convolution: Step, norm: Step) -> Step:
    """One convolution that computes what both do; statistics are folded in float64."""
    x, weight, bias, *rest = convolution.arguments
    _, gain, shift, mean, variance = norm.arguments[:5]
    eps, transposed, groups = norm.arguments[-1], rest[3], rest[5]
    scale = (variance.double() + eps).rsqrt() * (1.0 if gain is None else gain.double())
    old = 0.0 if bias is None else bias.double()
    new = (old - mean.double()) * scale + (0.0 if shift is None else shift.double())
    if transposed:  # (in, out / group, *kernel): outputs count within each group
        wide = weight.double().unflatten(0, (groups, -1))
        each = scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        scaled = (wide * each).flatten(0, 1)
    else:
        scaled = weight.double() * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return replace(
        convolution,
        arguments=(x, scaled.to(weight.dtype), new.to(weight.dtype), *rest),
        outputs=norm.outputs[:1],
        result_shapes=norm.result_shapes[:1],
    )


def _written_over(step: Step, steps: list[Step], program: Program) -> Step:
    """An activation in place where its input is fresh memory that only it reads."""
    number = step.inputs[0]
    if step.name not in OVER or number == program.output:
        return step
    makers = [other for other in steps if number in other.outputs]
    readers = [other for other in steps if number in other.inputs]
    if len(readers) == 1 and makers and makers[0].name in FRESH:
        return replace(step, function=OVER[step.name])
    return step
