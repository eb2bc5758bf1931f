"""The gradient at a layer. Simonyan et al., 2013, arXiv:1312.6034, section 3, with an inner layer as the image."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map
from voxplain.methods.cam import OfLayers
from voxplain.score.score import Score


@dataclass(frozen=True, kw_only=True)
class LayerGradient(OfLayers):
    """How steeply the score changes with a layer's activations at each place: magnitudes summed over channels.

    It says where the score listens and not what it hears there: a place that holds nothing may have a steep gradient.
    Costs one forward and the backward to the layer.
    """

    name = "layer_gradient"
    title: ClassVar[str] = "Gradient at a layer"
    citation: ClassVar[str] = "Simonyan et al., Deep inside convolutional networks, arXiv:1312.6034"
    law: ClassVar[str] = "is zero where no channel of the layer has a say in the score"
    cost: ClassVar[str] = "1, and the way back to the layer"

    def _map(self, score: Score, x: Tensor) -> Map:
        layers, notes = self._layers(score, x)
        tapped = score.tap(x, layers)
        return self._maps(score, tapped, [tap.gradient.abs().sum(dim=1, keepdim=True) for tap in tapped.taps], notes)

    def _unit(self, score: Score) -> str:
        return f"{score.target.unit} per activation"
