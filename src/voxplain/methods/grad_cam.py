"""Grad-CAM. Selvaraju et al., ICCV 2017, arXiv:1610.02391, equations 1 and 2."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.cam import GradientCam, over_space, weighted


@dataclass(frozen=True, kw_only=True)
class GradCam(GradientCam):
    """Which places of a layer's feature map raise the score, at the layer's own resolution.

    Channels weighted by the mean gradient, summed, negative sums cut (unless `relu=False`); layers share a pass.
    Costs one forward and the backward to the layer.
    """

    name = "grad_cam"
    title: ClassVar[str] = "Grad-CAM"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, arXiv:1610.02391"
    law: ClassVar[str] = "before pooling and a linear layer (relu=False) it sums to the score less the bias"
    cost: ClassVar[str] = "1, and the way back to the layer"

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        places = gradient[0, 0].numel()
        return weighted(activation, over_space(gradient) / places)
