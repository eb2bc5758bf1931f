"""Grad-CAM. Selvaraju et al., ICCV 2017, arXiv:1610.02391, equations 1 and 2."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.layers import Tap, automatic_layer
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class GradCam(Method):
    """Which places of a layer's feature map raise the score, at the layer's own resolution.

    Channels weighted by the mean gradient, summed, negative sums cut (unless `relu=False`); layers share a pass.
    Costs one forward and the backward to the layer.
    """

    name = "grad_cam"
    title: ClassVar[str] = "Grad-CAM"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, arXiv:1610.02391"
    access: ClassVar[Access] = Access.LAYERS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    law: ClassVar[str] = "before pooling and a linear layer (relu=False) it sums to the score less the bias"

    layer: str | tuple[str, ...] | None = None
    """Layer name or list of names; left out: the last layer that still knows places, and it is said which."""
    relu: bool = True
    """Cut negative sums, as the paper does; false keeps evidence against."""

    def _check(self) -> None:
        self._require(self.layer != (), "layer", "a name or a list of names")

    def _map(self, score: Score, x: Tensor) -> Map:
        notes: tuple[str, ...] = ()
        layers = (self.layer,) if isinstance(self.layer, str) else self.layer
        if layers is None:
            layers = (automatic_layer(score.model, x, maps=score.target.name == "region"),)
            notes = (f"layer {layers[0]!r} was chosen automatically",)
        values, taps, classes = score.tap(x, layers)
        first, *others = [self._cam(score, tap, values, classes, notes) for tap in taps]
        return replace(first, siblings=tuple(others))

    def _cam(self, score: Score, tap: Tap, values: Tensor, classes: Tensor, notes: tuple[str, ...]) -> Map:
        space = tuple(range(2, tap.gradient.ndim))
        weights = tap.gradient.mean(dim=space, keepdim=True)  # equation 1
        cam = (weights * tap.activation).sum(dim=1, keepdim=True)  # equation 2
        if not tap.cells.measured:
            notes = (*notes, f"cells of layer {tap.layer!r} are taken to tile the input evenly")
        return Map(
            cam.relu() if self.relu else cam,
            Quantity.SALIENCY if self.relu else Quantity.RELEVANCE,
            f"{score.target.unit} (weighted activations)",
            cells=tap.cells,
            layer=tap.layer,
            score=values,
            classes=classes,
            notes=notes,
        )
