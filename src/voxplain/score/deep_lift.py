"""DeepLIFT's multipliers as backward rules on pairs of an image and its reference in one batch.

Shrikumar, Greenside, Kundaje, ICML 2017, arXiv:1704.02685: the linear and rescale rules (sections 3.5.1 and 3.5.2). Max
pooling shares the difference between the two winners as SHAP and Captum do. What mixes voxels in a nonlinear way
(instance norm, softmax, products of two signals) gets the mean derivative on the straight way between reference and
image, which for a function of one number is the rescale rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from voxplain.errors import InputError
from voxplain.ops.quadrature import nodes
from voxplain.score.operation import Operation
from voxplain.score.rules import Pass, Rules
from voxplain.score.score import Score

NEAR = 1e-10
"""Below this difference of its inputs a unit's multiplier is its derivative; the quotient would be rounding alone."""

PART = 2**24
"""Values of a layer that are looked at together."""

WAY_POINTS = 16
"""Points on the way for operations without a rule of their own; their share of the gap is then below 1e-6 as a rule."""


class Contributions(NamedTuple):
    """What each voxel adds to the difference from the references, and the scores of these."""

    values: Tensor
    """(batch, channel, *space), the mean over the references."""
    at_reference: Tensor
    """(batch,) mean score of the references, float64."""


def contributions(score: Score, x: Tensor, references: Tensor) -> Contributions:
    """DeepLIFT of a batch against each of `references` (n, batch or 1, channel, *space), averaged."""
    count, total = len(x), torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    start = torch.zeros(count, dtype=torch.float64, device=x.device)
    references = references.to(x).expand(-1, count, *x.shape[1:])

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        rows = index % count
        return torch.cat([x[rows], references[index // count, rows]]), torch.cat([rows, rows])

    pairs = count * len(references)
    for piece in score.with_rules(RESCALE).stream_grad(pairs, make, like=x, width=2):
        rows, size = (piece.samples % count).to(x.device), len(piece.samples)
        apart = x[rows] - references[piece.samples // count, rows]
        total.index_add_(0, rows, piece.gradient[:size].double() * apart)
        start.index_add_(0, rows, piece.values[size:])
    return Contributions((total / len(references)).to(x.dtype), start / len(references))


def rescale(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """The quotient of the differences behind and before an operation that works voxel by voxel."""
    (image, reference), (out, base) = _halves(operation.inputs[0], operation), _halves(operation.output, operation)
    (derived, *rest) = operation.derivative([grad])
    if derived is None:
        return [None, *rest]
    found = derived.clone() if derived.data_ptr() == grad.data_ptr() else derived
    for part in _parts(image):  # whole, these would be the largest tensors of the pass
        apart = image[part] - reference[part]
        near = apart.abs() < NEAR
        multiplier = (out[part] - base[part]) / apart
        for half, own in zip(found.chunk(2), grad.chunk(2), strict=True):
            half[part] = torch.where(near, half[part], own[part] * multiplier)
    return [found, *[None] * len(rest)]


def _parts(half: Tensor) -> Iterator[tuple[slice, ...]]:
    """Places along the second axis that together are all of a tensor, each of so many values that copies are cheap."""
    if half.ndim < 2:
        return iter([()])
    step = max(1, PART * half.shape[1] // max(half.numel(), 1))
    return ((slice(None), slice(start, start + step)) for start in range(0, half.shape[1], step))


def pooled(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """The difference of two maxima: up to the larger of them at the image's winner, the rest at the reference's."""
    (image, reference), (out, base) = _halves(operation.inputs[0], operation), _halves(operation.output, operation)
    top = torch.maximum(out, base)
    (placed,) = operation.derivative([grad * torch.cat([top - base, out - top]), *_nothing(operation)])
    (derived,) = operation.derivative([grad, *_nothing(operation)])
    if placed is None or derived is None:
        return [None]
    first, second = placed.chunk(2)
    for part in _parts(image):
        apart = image[part] - reference[part]
        multiplier = (first[part] + second[part]) / apart
        for half in derived.chunk(2):
            half[part] = torch.where(apart.abs() < NEAR, half[part], multiplier)
    return [derived]


def on_the_way(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """The mean derivative on the straight way from the reference's inputs to the image's."""
    pairs = [_halves(value, operation) for value in operation.inputs]
    first = grad.chunk(2)[0]
    count = 1 if operation.kind in ("product", "dot") and operation.name not in QUOTIENTS else WAY_POINTS
    total: list[Tensor] = [torch.zeros_like(image) for image, _ in pairs]
    for point, weight in zip(*nodes("gauss_legendre", count), strict=True):
        with torch.enable_grad():
            places = [(base + point * (image - base)).detach().requires_grad_() for image, base in pairs]
            out = operation.run(*(torch.cat([place, place]) for place in places)).chunk(2)[0]
            found = torch.autograd.grad(out, places, first, allow_unused=True)
        total = [done if part is None else done + weight * part for done, part in zip(total, found, strict=True)]
    return [torch.cat([part, part]) for part in total]


def _halves(value: Tensor, operation: Operation) -> tuple[Tensor, Tensor]:
    """What belongs to the images and what to their references."""
    image, reference = value.chunk(2)
    if image.shape != reference.shape:
        raise InputError(
            f"deep_lift: operation {operation.name!r} mixes the samples of a batch, so an image cannot be told from "
            "its reference; use integrated_gradients or expected_gradients"
        )
    return image, reference


def _nothing(operation: Operation) -> Sequence[None]:
    """No gradient for the further results of an operation, such as indices."""
    return [None] * (len(operation.outputs) - 1)


def linear(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """The derivative, for an operation that is linear although others of its kind are not."""
    return operation.derivative([grad, *_nothing(operation)])


QUOTIENTS = ("div", "divide", "true_divide", "truediv")
"""Products that are no polynomials."""

_POOLS = [
    f"{kind}max_pool{rank}d{ending}"
    for kind in ("", "adaptive_")
    for rank in (1, 2, 3)
    for ending in ("", "_with_indices")
]

RESCALE = Rules(
    "deep_lift",
    {
        **dict.fromkeys(("rectifier", "squash", "clamp"), rescale),
        **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), on_the_way),
        **dict.fromkeys(_POOLS, pooled),
        **dict.fromkeys(("maximum", "norm", "product", "dot", "attention", "other"), on_the_way),
        **dict.fromkeys(QUOTIENTS, on_the_way),
        **dict.fromkeys(("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"), linear),
    },
)
"""The rescale rule; what is linear passes by its derivative."""
