"""Grad-CAM++. Chattopadhyay et al., WACV 2018, arXiv:1710.11063, equations 5, 7 and 19."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from voxplain.methods.cam import GradientCam, over_space, weighted


@dataclass(frozen=True, kw_only=True)
class GradCamPp(GradientCam):
    """Which places of a layer's feature map raise the score; a channel's places need not be many to count.

    A channel weighs the sum of its positive gradients g, each times alpha = g^2 / (2 g^2 + g^3 * sum of activations).
    The fraction is reduced by g^2: it needs no constant in its denominator, and small gradients count as defined.
    Costs one forward and the backward to the layer.
    """

    name = "grad_cam_pp"
    title: ClassVar[str] = "Grad-CAM++"
    citation: ClassVar[str] = "Chattopadhyay et al., Grad-CAM++, arXiv:1710.11063"
    law: ClassVar[str] = "a channel's weight lies between 0 and half the sum of its positive gradients"
    cost: ClassVar[str] = "1, and the way back to the layer"
    unsigned: ClassVar[bool] = True

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        denominator = 2 + over_space(activation) * gradient.double()  # equation 19, reduced by g^2
        alpha = torch.where(denominator != 0, 1 / denominator, 0.0)
        return weighted(activation, over_space(alpha * gradient.relu()))
