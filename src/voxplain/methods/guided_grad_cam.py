"""Guided Grad-CAM. Selvaraju et al., ICCV 2017, arXiv:1610.02391, section 3.2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from torch import Tensor

from voxplain.errors import VoxplainError
from voxplain.methods.base import Map
from voxplain.methods.cam import Cam, over_space, weighted
from voxplain.ops.enlarge import enlarged
from voxplain.score.activation_rules import GUIDED
from voxplain.score.found import Graded, Tapped
from voxplain.score.layers import Tap
from voxplain.score.meeting import together
from voxplain.score.score import Score
from voxplain.types import Access, Quantity


@dataclass(frozen=True, kw_only=True)
class GuidedGradCam(Cam):
    """Fine structures where Grad-CAM sees evidence: guided backpropagation times Grad-CAM enlarged to the input.

    Signed, one map a channel. Both factors come along as parts; they belong to the same score of the same class and
    region, read from one forward. Costs that forward, one backward to the input and one to the layer.
    """

    name = "guided_grad_cam"
    title: ClassVar[str] = "Guided Grad-CAM"
    citation: ClassVar[str] = "Selvaraju et al., Grad-CAM, arXiv:1610.02391"
    access: ClassVar[Access] = Access.RULES
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "is zero wherever Grad-CAM or guided backpropagation is"
    cost: ClassVar[str] = "2, and the way back to the layer"

    relu: bool = True
    """Cut negative sums of the Grad-CAM factor, as the paper does."""

    def _map(self, score: Score, x: Tensor) -> Map:
        layers, notes = self._layers(score, x)
        tapped, guided = _both(score, x, layers)
        first, *others = [self._product(score, x, tap, guided, notes) for tap in tapped.taps]
        return replace(first, siblings=tuple(others))

    def _product(self, score: Score, x: Tensor, tap: Tap, guided: Graded, notes: Sequence[str]) -> Map:
        cam = weighted(tap.activation, over_space(tap.gradient) / tap.gradient[0, 0].numel())
        wide = enlarged(self._cut(cam), tap.cells.start, tap.cells.step, x.shape[2:]).to(x.device)
        return Map(
            guided.gradient * wide,
            self.quantity,
            f"{score.target.unit} (weighted activations) times {score.target.unit} per input unit",
            layer=tap.layer,
            parts={"grad_cam": wide, "guided_backprop": guided.gradient},
            score=guided.values,
            classes=guided.classes,
            notes=(*notes, *self._notes(tap, cam)),
            derivative=True,
        )


def _both(score: Score, x: Tensor, layers: tuple[str, ...]) -> tuple[Tapped, Graded]:
    """The tapped layers and the guided gradient, from one forward that chooses class and region for both."""
    for name in layers:
        score.model.layer(name)  # both questions would complain

    def tap(bound: Score) -> Tapped | Graded:
        return bound.tap(x, layers)

    def guide(bound: Score) -> Tapped | Graded:
        return bound.with_rules(GUIDED).grad(x, beside=layers)

    tapped, guided = together([(score, tap), (score, guide)])
    for found in (tapped, guided):
        if isinstance(found, VoxplainError):
            raise found
    return cast(Tapped, tapped), cast(Graded, guided)
