"""Ablation-CAM. Desai, Ramaswamy, WACV 2020, doi:10.1109/WACV45572.2020.9093360."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map
from voxplain.methods.cam import Cam, over_space, weighted
from voxplain.score.ablated import ablated
from voxplain.score.affine import affine_from
from voxplain.score.layers import Tap
from voxplain.score.score import Score


@dataclass(frozen=True, kw_only=True)
class AblationCam(Cam):
    """Which places of a layer's feature map hold the score up: a channel weighs how far the score falls without it.

    The paper divides each fall by the score itself. That only rescales a sample's map and turns it upside down where
    the score is negative, so it is left out: weights are in units of the score. Where all that follows the layer is
    linear, such as pooling and a linear layer, the falls are read from the gradient and the cost is one forward;
    elsewhere it is 3 forwards and, for each channel that is not zero, what follows the layer (a whole forward where
    that is no longer, or the network cannot be followed). One channel a layer also takes the whole way, as a check.
    """

    name = "ablation_cam"
    title: ClassVar[str] = "Ablation-CAM"
    citation: ClassVar[str] = "Desai and Ramaswamy, Ablation-CAM, doi:10.1109/WACV45572.2020.9093360"
    law: ClassVar[str] = "before pooling and a linear layer the channels' weights sum to the score less the bias"
    cost: ClassVar[str] = "1 where all after the layer is linear, else 3 + channels x what follows the layer"

    def _map(self, score: Score, x: Tensor) -> Map:
        layers, notes = self._layers(score, x)
        linear = [name for name in layers if affine_from(score, x, name)]
        if len(linear) < len(layers):
            _, score = score.freeze(x)
        tapped = score.tap(x, layers, back=bool(linear))
        told = [
            f"all after layer {name!r} is linear: what each channel adds was read from its gradient" for name in linear
        ]
        found = [self._falls(score, x, tap, tapped.values, tap.layer in linear) for tap in tapped.taps]
        cams = [weighted(tap.activation, fall) for tap, (fall, _) in zip(tapped.taps, found, strict=True)]
        told += [sentence for _, sentences in found for sentence in sentences]
        return self._maps(score, tapped, cams, (*notes, *told))

    def _falls(self, score: Score, x: Tensor, tap: Tap, clean: Tensor, linear: bool) -> tuple[Tensor, tuple[str, ...]]:
        """Clean score less the score without each channel (batch, channel, 1 ...), and how it was found."""
        if linear:
            return over_space(tap.gradient * tap.activation), ()
        found = ablated(score, x, tap, clean)
        falls = clean[:, None] - found.values
        return falls.reshape(*falls.shape, *[1] * (x.ndim - 2)), found.notes
