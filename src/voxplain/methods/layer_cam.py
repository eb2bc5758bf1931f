"""LayerCAM. Jiang et al., IEEE Transactions on Image Processing 30, 2021, doi:10.1109/TIP.2021.3089943."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.cam import GradientCam, weighted


@dataclass(frozen=True, kw_only=True)
class LayerCam(GradientCam):
    """Which places of a layer's feature map raise the score: each weighs its own positive gradient.

    Made for layers of every depth, the early and fine ones too. Costs one forward and the backward to the layer.
    """

    name = "layer_cam"
    title: ClassVar[str] = "LayerCAM"
    citation: ClassVar[str] = "Jiang et al., LayerCAM, doi:10.1109/TIP.2021.3089943"
    law: ClassVar[str] = "equals HiResCAM where no gradient is negative"
    cost: ClassVar[str] = "1, and the way back to the layer"

    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return weighted(activation, gradient.relu())
