"""Backward rules that change activations only: guided backpropagation and the deconvolutional network.

Springenberg et al., arXiv:1412.6806, figure 1; Zeiler and Fergus, arXiv:1311.2901, section 2.1. Both are defined for
ReLU. For the other rectifiers (PReLU, leaky ReLU, ELU, GELU, SiLU ...) our definitions, which give the papers' on ReLU:
guided backpropagation hands on the derivative where what comes back is positive AND the unit fired (its output is
positive); the deconvolutional network hands on what comes back where it is positive, whatever the unit did.
"""

from torch import Tensor

from voxplain.score.operation import Operation
from voxplain.score.rules import Pass, Rules


def guided(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """The derivative, for positive signals through units that fired."""
    return operation.derivative([grad * ((grad > 0) & (operation.output > 0))])


def deconvolved(operation: Operation, grad: Tensor, met: Pass) -> list[Tensor | None]:
    """Positive signals as they are; only the first input (PReLU's slope is none) is on the way to the image."""
    return [grad.clamp(min=0), *[None] * (len(operation.inputs) - 1)]


GUIDED = Rules("guided_backprop", {"rectifier": guided})
"""Guided backpropagation."""

DECONVOLVED = Rules("deconvnet", {"rectifier": deconvolved})
"""The deconvolutional network."""
