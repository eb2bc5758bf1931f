"""Input x gradient. Shrikumar et al., 2016, arXiv:1605.01713, section 3.2 (gradient times input)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class InputXGradient(Method):
    """Each voxel times the slope of the score there: its share of the score if the network were linear.

    Signed, in units of the score; a voxel of value zero gets zero, whatever the network makes of it.
    Law: on a linear score it sums to f(x) - f(0). Costs 2 forwards.
    """

    name = "input_x_gradient"
    title: ClassVar[str] = "Input x gradient"
    citation: ClassVar[str] = "Shrikumar et al., Not just a black box, arXiv:1605.01713"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "sums to f(x) - f(0) on a linear score"
    cost: ClassVar[str] = "2"

    def _map(self, score: Score, x: Tensor) -> Map:
        values, gradient, classes = score.grad(x)
        return Map(gradient * x, self.quantity, score.target.unit, score=values, classes=classes)
