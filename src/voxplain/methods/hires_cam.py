"""HiResCAM. Draelos, Carin, 2020, arXiv:2011.08891, section 3."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.cam import GradientCam, weighted


@dataclass(frozen=True, kw_only=True)
class HiresCam(GradientCam):
    """Which places of a layer's feature map the score was made from: gradient times activation, place by place.

    Nothing is averaged over places, so that none is credited that the score did not use. Costs one forward and the
    backward to the layer.
    """

    name = "hires_cam"
    title: ClassVar[str] = "HiResCAM"
    citation: ClassVar[str] = "Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv:2011.08891"
    law: ClassVar[str] = "where what follows is linear (relu=False) it sums to the score less the bias"
    cost: ClassVar[str] = "1, and the way back to the layer"

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return weighted(activation, gradient)
