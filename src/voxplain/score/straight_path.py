"""Gradients on straight ways to an image, put together to what each voxel contributes on them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from voxplain.ops.quadrature import Rule, nodes
from voxplain.score.score import Score


def straight_path_integral(
    score: Score, x: Tensor, starts: Sequence[Tensor], rule: Rule, steps: int, rows: Tensor | None = None
) -> Tensor:
    """(x - start) times the mean gradient on the way from `start` to `x`, mean over `starts`, float64.

    Each start is a batch like `x`; `rows` picks samples of the batch (None: all). The score must be frozen by `x`.
    """
    rows = torch.arange(len(x)) if rows is None else rows
    points, weights = (torch.tensor(part, dtype=torch.float64) for part in nodes(rule, steps))
    shape = (steps, len(starts), len(rows))

    def ends(index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        step, which, slot = torch.unravel_index(index.cpu(), shape)
        begin = torch.stack([starts[b][row] for b, row in zip(which.tolist(), rows[slot].tolist(), strict=True)])
        return begin, x[rows[slot]], step, slot

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        begin, end, step, slot = ends(index)
        return begin + _column(points[step], x).to(x) * (end - begin), rows[slot]

    total = torch.zeros((len(rows), *x.shape[1:]), dtype=torch.float64, device=x.device)
    for piece in score.stream_grad(steps * len(starts) * len(rows), make, like=x):
        begin, end, step, slot = ends(piece.samples)
        share = (end - begin).double() * _column(weights[step] / len(starts), x)
        total.index_add_(0, slot.to(x.device), piece.gradient.double() * share)
    return total


def _column(values: Tensor, x: Tensor) -> Tensor:
    """Numbers (n,) on the device of a batch and shaped to multiply it."""
    return values.to(x.device).reshape(-1, *[1] * (x.ndim - 1))
