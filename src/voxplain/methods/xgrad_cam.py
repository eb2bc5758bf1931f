"""XGrad-CAM. Fu et al., BMVC 2020, arXiv:2008.02312, section 3."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.cam import GradientCam, over_space, weighted


@dataclass(frozen=True, kw_only=True)
class XgradCam(GradientCam):
    """Which places of a layer's feature map raise the score; a channel weighs its gradients averaged by activation.

    A channel whose activations sum to zero, such as a dead one, weighs nothing. Costs one forward and the backward to
    the layer.
    """

    name = "xgrad_cam"
    title: ClassVar[str] = "XGrad-CAM"
    citation: ClassVar[str] = "Fu et al., Axiom-based Grad-CAM, arXiv:2008.02312"
    law: ClassVar[str] = "sums (relu=False) to the score where ReLU layers without biases follow"
    cost: ClassVar[str] = "1, and the way back to the layer"
    unsigned: ClassVar[bool] = True

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        total = over_space(activation)
        share = over_space(gradient * activation) / torch.where(total == 0, 1.0, total)
        return weighted(activation, torch.where(total == 0, 0.0, share))
