"""Gradient (vanilla saliency). Simonyan, Vedaldi, Zisserman, ICLR Workshop 2014, arXiv:1312.6034, section 3."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class Gradient(Method):
    """How much the score changes for a small change of each voxel, signed; 2 forwards of cost.

    Units of the score per unit of the network's input. Law: on a linear score it equals the weights.
    """

    name = "gradient"
    title: ClassVar[str] = "Gradient"
    citation: ClassVar[str] = "Simonyan et al., Deep inside convolutional networks, arXiv:1312.6034"
    access: ClassVar[Access] = Access.GRADIENT
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "equals the weights of a linear score"
    cost: ClassVar[str] = "2"

    def _map(self, score: Score, x: Tensor) -> Map:
        values, gradient, classes = score.grad(x)
        unit = f"{score.target.unit} per input unit"
        return Map(gradient, self.quantity, unit, score=values, classes=classes, derivative=True)
