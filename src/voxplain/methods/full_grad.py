"""FullGrad. Srinivas, Fleuret, NeurIPS 2019, arXiv:1905.00780: the full-gradient decomposition and its saliency map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.ops.enlarge import enlarged
from voxplain.ops.spread import spread
from voxplain.score.biases import Given, biases
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

UNCOVERED = 0.05
"""A signed map that misses a twentieth of the score says so: it no longer tells where the score comes from."""

UNMEASURED = "the cells of some layers are taken to tile the input evenly"


@dataclass(frozen=True, kw_only=True)
class FullGrad(Method):
    """What voxels and the biases of the network give to the score: input times gradient, and bias times gradient.

    Amounts without their sign by default; with `signed` in units of the score. Each bias's amounts lie on the voxels
    around its cell; those without a place (of linear heads) are told apart. 2 forwards of cost.
    """

    name = "full_grad"
    title: ClassVar[str] = "FullGrad"
    citation: ClassVar[str] = "Srinivas and Fleuret, Full-gradient representation, arXiv:1905.00780"
    access: ClassVar[Access] = Access.LAYERS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "with signed, the map and the biases without a place sum to f(x) of a ReLU network"
    cost: ClassVar[str] = "2"

    signed: bool = False
    """Keep signs, so that amounts add up to the score; else absolute amounts are added."""
    rescale: bool = False
    """Bring each layer to 0..1 before it is added, as the paper's pictures do; the numbers then have no unit."""

    def _check(self) -> None:
        self._require(not (self.signed and self.rescale), "rescale", "false with signed")

    def _map(self, score: Score, x: Tensor) -> Map:
        (values, gradient, classes), passes = biases(
            score, x, lambda batch: _Amounts(batch, self._amount, self.rescale)
        )
        by_bias = torch.cat([amounts.total for amounts in passes])[: len(x)].to(x.device)
        rest = torch.cat([amounts.rest for amounts in passes])[: len(x)].to(x.device)
        by_input = self._amount(x * gradient)
        total = by_input.sum(dim=1, keepdim=True, dtype=torch.float64) + by_bias
        numbers = {"bias_without_place": rest}
        if self.signed:
            numbers["completeness_gap"] = total.flatten(1).sum(dim=1) + rest - values
        return Map(
            total.to(x.dtype),
            Quantity.SCORE_UNITS if self.signed else self.quantity,
            "sum of layers, each from 0 to 1" if self.rescale else score.target.unit,
            parts={"input": by_input, "bias": by_bias.to(x.dtype)},
            numbers=numbers,
            score=values,
            classes=classes,
            notes=(
                *_uncovered(numbers, values),
                *(() if all(amounts.measured for amounts in passes) else (UNMEASURED,)),
            ),
        )

    def _amount(self, values: Tensor) -> Tensor:
        """What one layer (batch, channel, *cells) adds, at its own resolution: psi in the paper, before enlarging."""
        if self.signed:
            return values
        return rescaled(values.abs()) if self.rescale else values.abs()


def _uncovered(numbers: Mapping[str, Tensor], values: Tensor) -> tuple[str, ...]:
    """A sentence where the amounts leave out a good part of the score."""
    gap = numbers.get("completeness_gap", torch.zeros_like(values)).abs()
    if not bool((gap > UNCOVERED * values.abs()).any()):
        return ()
    return (
        "voxels and biases do not add up to the score: the network normalises by the image's own statistics, attends "
        "or multiplies, where no bias stands for what is left",
    )


def rescaled(values: Tensor) -> Tensor:
    """Each sample of a layer brought to 0..1, all channels together; nothing of a layer that is the same everywhere."""
    axes = tuple(range(1, values.ndim))
    least, most = values.amin(dim=axes, keepdim=True), values.amax(dim=axes, keepdim=True)
    return (values - least) / (most - least).where(most > least, 1.0)


class _Amounts:
    """The amounts of all biases in one pass, laid on the voxels, in float64."""

    def __init__(self, batch: Tensor, amount: Callable[[Tensor], Tensor], rescale: bool) -> None:
        self._amount, self._lay = amount, enlarged if rescale else spread
        self.total = batch.new_zeros(len(batch), 1, *batch.shape[2:], dtype=torch.float64)
        self.rest = batch.new_zeros(len(batch), dtype=torch.float64)
        self.measured = True

    def take(self, given: Given) -> None:
        if given.values is not None and given.cells is not None:
            amounts = self._amount(given.values).sum(dim=1, keepdim=True, dtype=torch.float64)
            self.total += self._lay(amounts, given.cells.start, given.cells.step, self.total.shape[2:])
            self.measured = self.measured and given.cells.measured
        if given.rest.numel():
            self.rest += self._amount(given.rest).sum(dim=1, dtype=torch.float64)
