"""Guided backpropagation. Springenberg et al., ICLR Workshop 2015, arXiv:1412.6806, section 3.4 and figure 1."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.activation_rules import GUIDED
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(Method):
    """The gradient with every ReLU handing back positive signals only, and only where it fired; 2 forwards of cost.

    Shows which edges and textures the units on the way to the score answered to; it depends little on the class.
    Units of the score per input unit, signed. Functional, in-place and reused activations are covered. On PReLU, leaky
    ReLU, ELU, GELU and SiLU it hands back their derivative where the signal and the unit's output are positive.
    """

    name = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    citation: ClassVar[str] = "Springenberg et al., Striving for simplicity, arXiv:1412.6806"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "equals the gradient on a network without activations"
    cost: ClassVar[str] = "2"

    def _map(self, score: Score, x: Tensor) -> Map:
        values, gradient, classes = score.with_rules(GUIDED).grad(x)
        unit = f"{score.target.unit} per input unit"
        return Map(gradient, self.quantity, unit, score=values, classes=classes, derivative=True)
