"""Excitation backpropagation. Zhang, Lin, Brandt, Shen, Sclaroff, ECCV 2016, arXiv:1608.00507, equations 1 to 3."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from voxplain.errors import InputError
from voxplain.methods.base import Map, Method
from voxplain.score.lrp_linear import Handling, alpha_beta
from voxplain.score.lrp_rules import Composite, lrp
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

EXCITATION = replace(
    lrp(
        "excitation_backprop",
        Composite(convolution=alpha_beta, dense=alpha_beta, bounded=True),
        Handling(bias=False),
    ),
    start="derivative",
)
"""Each winner hands its probability to the inputs that excite it: those whose product with the weight is positive."""


@dataclass(frozen=True, kw_only=True)
class ExcitationBackprop(Method):
    """The probability that a voxel (or a layer's cell) wins, when each unit passes the win to one that excites it.

    Not negative; the target's output neuron begins with probability 1, so it does not depend on how high the score is.
    Law: sums to 1, where no unit is excited by nothing. With margin as target the rival's probability is taken off
    (contrast, section 3.3). Costs 3 forwards on a ReLU network.
    """

    name = "excitation_backprop"
    title: ClassVar[str] = "Excitation backpropagation"
    citation: ClassVar[str] = "Zhang et al., Top-down neural attention by excitation backprop, arXiv:1608.00507"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "sums to 1 where no unit is excited by nothing"
    cost: ClassVar[str] = "3"

    layer: str | None = None
    """Layer at whose cells to stop, summed over channels, as the paper does; left out: the voxels, each channel."""

    def _map(self, score: Score, x: Tensor) -> Map:
        ruled = score.with_rules(EXCITATION)
        if self.layer is None:
            values, found, classes = ruled.grad(x)
            return self._told(found, score=values, classes=classes)
        values, (tap,), classes = ruled.tap(x, (self.layer,))
        summed = tap.gradient.sum(dim=1, keepdim=True)
        return self._told(summed, score=values, classes=classes, cells=tap.cells, layer=tap.layer)

    def _told(self, values: Tensor, **rest: object) -> Map:
        total = values.double().flatten(1).sum(dim=1)
        signed = bool((values < 0).any())
        if signed and not bool((values > 0).any()):
            raise InputError(
                "excitation_backprop: the target must have an output neuron of its own; of a one-logit head explain "
                "class 1, whose neuron it is"
            )
        quantity = Quantity.RELEVANCE if signed else self.quantity
        return Map(values, quantity, "probability of winning", numbers={"sum": total}, **rest)  # type: ignore[arg-type]
