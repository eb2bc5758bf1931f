"""Gated Grad-CAM, as an Xception study of brain tumours computed it: Grad-CAM whose gradients pass two gates."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.cam import GradientCam, over_space, weighted
from voxplain.types import Quantity


@dataclass(frozen=True, kw_only=True)
class GatedGradCam(GradientCam):
    """Grad-CAM with the gradient kept only where it and the activation are positive; the sum is not cut.

    Weights are never negative, so that values below zero come from negative activations, as before a ReLU.
    Costs one forward and the backward to the layer.
    """

    name = "gated_grad_cam"
    title: ClassVar[str] = "Gated Grad-CAM"
    citation: ClassVar[str] = (
        "Grad-CAM (arXiv:1610.02391) with gradients gated as in guided backpropagation (arXiv:1412.6806) at the layer"
    )
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "equals Grad-CAM where all activations and gradients of the layer are positive"
    cost: ClassVar[str] = "1, and the way back to the layer"

    relu: bool = False
    """Cut negative sums; the study keeps them."""

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        passed = gradient.relu() * (activation > 0)
        return weighted(activation, over_space(passed) / passed[0, 0].numel())
