"""Deconvolutional network. Zeiler and Fergus, ECCV 2014, arXiv:1311.2901, section 2.1."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.activation_rules import DECONVOLVED
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class Deconvnet(Method):
    """The gradient with every ReLU applied to what comes back instead of to what went in; 2 forwards of cost.

    Shows the input pattern from which the score would be rebuilt; it depends little on the class. Units of the score
    per input unit, signed. Functional, in-place and reused activations are covered; PReLU, leaky ReLU, ELU, GELU and
    SiLU are treated as ReLU.
    """

    name = "deconvnet"
    title: ClassVar[str] = "Deconvolutional network"
    citation: ClassVar[str] = "Zeiler and Fergus, Visualizing and understanding convolutional networks, arXiv:1311.2901"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "equals the gradient on a network without activations"
    cost: ClassVar[str] = "2"

    def _map(self, score: Score, x: Tensor) -> Map:
        values, gradient, classes = score.with_rules(DECONVOLVED).grad(x)
        unit = f"{score.target.unit} per input unit"
        return Map(gradient, self.quantity, unit, score=values, classes=classes, derivative=True)
