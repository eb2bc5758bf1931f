"""What maps of layers share: the choice of layers, the pass that taps them, one map a layer, and why one is blank."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from voxplain.methods.base import Map, Method
from voxplain.score.found import Tapped
from voxplain.score.layers import Tap, chosen_layer
from voxplain.score.score import Score
from voxplain.types import Access, Quantity

BLANK = "blank: "
"""How a note begins that says why a layer's map is zero everywhere."""


@dataclass(frozen=True, kw_only=True)
class OfLayers(Method):
    """A map at a layer's own resolution; all layers that are asked for share one pass."""

    access: ClassVar[Access] = Access.LAYERS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    unsigned: ClassVar[bool] = False
    """True where the definition is meant for activations that are not negative, as after a ReLU."""

    layer: str | tuple[str, ...] | None = None
    """Layer name or list of names; left out: the last layer that still knows places, and it is said which."""

    def _check(self) -> None:
        self._require(self.layer != (), "layer", "a name or a list of names")

    def _layers(self, score: Score, x: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layers asked for, and what is to be said about their choice."""
        if self.layer is not None:
            return ((self.layer,) if isinstance(self.layer, str) else self.layer), ()
        chosen = chosen_layer(score.model, x, maps=score.target.name == "region")
        return (chosen.layer,), (chosen.words,)

    def _maps(self, score: Score, tapped: Tapped, found: Sequence[Tensor], notes: Sequence[str]) -> Map:
        """Maps (batch, 1, *cells) of the tapped layers: the first, with the others as its siblings."""
        first, *others = [self._of(score, tapped, number, one, notes) for number, one in enumerate(found)]
        return replace(first, siblings=tuple(others))

    def _of(self, score: Score, tapped: Tapped, number: int, values: Tensor, notes: Sequence[str]) -> Map:
        tap = tapped.taps[number]
        return Map(
            self._cut(values),
            self._quantity,
            self._unit(score),
            cells=tap.cells,
            layer=tap.layer,
            score=tapped.values,
            classes=tapped.classes,
            notes=(*notes, *self._notes(tap, values)),
        )

    def _cut(self, values: Tensor) -> Tensor:
        """What is kept of a layer's values."""
        return values

    @property
    def _quantity(self) -> Quantity:
        return self.quantity

    @abstractmethod
    def _unit(self, score: Score) -> str:
        """What one unit of a value is."""

    def _notes(self, tap: Tap, values: Tensor) -> tuple[str, ...]:
        """What is to be said about a layer's map, of which `values` (batch, 1, *cells) are not cut yet."""
        notes: tuple[str, ...] = ()
        if not tap.cells.measured:
            notes = (f"cells of layer {tap.layer!r} are taken to tile the input evenly",)
        if self.unsigned and bool((tap.activation < 0).any()):
            notes = (*notes, f"layer {tap.layer!r} has negative activations, for which {self.title} was not meant")
        blank = (~self._cut(values).flatten(1).any(dim=1)).nonzero().flatten().tolist()
        reasons = [_reason(tap.activation[row], tap.gradient[row : row + 1], values[row]) for row in blank[:1]]
        return (*notes, *(f"{BLANK}{reason}" for reason in reasons))


def _reason(activation: Tensor, gradient: Tensor, values: Tensor) -> str:
    """Why nothing is kept of one sample's values; the gradient (1, channel, *cells) is empty if not asked for."""
    if bool((values < 0).any()):
        return "the weighted sum of channels is nowhere above zero, and relu=True cuts the rest"
    if not activation.any():
        return "all activations are zero"
    silent = gradient.numel() > 0 and not gradient.any()
    return "the score's gradient is zero" if silent else "no place has both activation and weight"


@dataclass(frozen=True, kw_only=True)
class Cam(OfLayers):
    """The channels of a layer, weighted and summed."""

    relu: bool = True
    """Cut negative sums, as the paper does; false keeps evidence against."""

    def _cut(self, values: Tensor) -> Tensor:
        return values.relu() if self.relu else values

    @property
    def _quantity(self) -> Quantity:
        return Quantity.SALIENCY if self.relu else Quantity.RELEVANCE

    def _unit(self, score: Score) -> str:
        return f"{score.target.unit} (weighted activations)"


@dataclass(frozen=True, kw_only=True)
class GradientCam(Cam):
    """A relative that is a formula of a layer's activations and their gradients: all its layers share one pass."""

    @final
    def _map(self, score: Score, x: Tensor) -> Map:
        layers, notes = self._layers(score, x)
        tapped = score.tap(x, layers)
        return self._maps(score, tapped, [self._cam(tap.activation, tap.gradient) for tap in tapped.taps], notes)

    @abstractmethod
    def _cam(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """Activations and gradients (batch, channel, *cells) of a layer -> its map (batch, 1, *cells), not cut."""


def over_space(values: Tensor) -> Tensor:
    """The sum of each channel over its places (batch, channel, 1 ...), in float64 but for single rows."""
    rows = values.sum(dim=-1, keepdim=True)  # torch would make a copy of all places in float64
    return rows.sum(dim=tuple(range(2, values.ndim)), keepdim=True, dtype=torch.float64)


def weighted(activation: Tensor, weights: Tensor) -> Tensor:
    """The sum over channels (batch, 1, *cells) of activations times weights, one a channel or one a place."""
    weights = weights.to(activation)
    if weights[0, 0].numel() > 1:
        return (weights * activation).sum(dim=1, keepdim=True)
    summed = weights.flatten(1)[:, None] @ activation.flatten(2)  # as one product, without a product of each channel
    return summed.reshape(len(activation), 1, *activation.shape[2:])
