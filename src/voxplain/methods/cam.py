"""What the relatives of class activation maps share: the layers, the pass that taps them, and one map a layer."""

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


@dataclass(frozen=True, kw_only=True)
class Cam(Method):
    """A map at a layer's own resolution: its channels, weighted and summed."""

    access: ClassVar[Access] = Access.LAYERS
    quantity: ClassVar[Quantity] = Quantity.SALIENCY
    unsigned: ClassVar[bool] = False
    """True where the definition is meant for activations that are not negative, as after a ReLU."""

    layer: str | tuple[str, ...] | None = None
    """Layer name or list of names; left out: the last layer that still knows places, and it is said which."""
    relu: bool = True
    """Cut negative sums, as the paper does; false keeps evidence against."""

    def _check(self) -> None:
        self._require(self.layer != (), "layer", "a name or a list of names")

    def _layers(self, score: Score, x: Tensor) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layers asked for, and what is to be said about their choice."""
        if self.layer is not None:
            return ((self.layer,) if isinstance(self.layer, str) else self.layer), ()
        chosen = chosen_layer(score.model, x, maps=score.target.name == "region")
        return (chosen.layer,), (chosen.words,)

    def _maps(self, score: Score, tapped: Tapped, cams: Sequence[Tensor], notes: Sequence[str]) -> Map:
        """Maps (batch, 1, *cells) of the tapped layers: the first, with the others as its siblings."""
        first, *others = [self._of(score, tapped, number, cam, notes) for number, cam in enumerate(cams)]
        return replace(first, siblings=tuple(others))

    def _of(self, score: Score, tapped: Tapped, number: int, cam: Tensor, notes: Sequence[str]) -> Map:
        tap = tapped.taps[number]
        return Map(
            cam.relu() if self.relu else cam,
            Quantity.SALIENCY if self.relu else Quantity.RELEVANCE,
            self._unit(score),
            cells=tap.cells,
            layer=tap.layer,
            score=tapped.values,
            classes=tapped.classes,
            notes=(*notes, *self._notes(tap)),
        )

    def _unit(self, score: Score) -> str:
        """What one unit of a value is."""
        return f"{score.target.unit} (weighted activations)"

    def _notes(self, tap: Tap) -> tuple[str, ...]:
        """What is to be said about a layer's map."""
        notes: tuple[str, ...] = ()
        if not tap.cells.measured:
            notes = (f"cells of layer {tap.layer!r} are taken to tile the input evenly",)
        if self.unsigned and bool((tap.activation < 0).any()):
            notes = (*notes, f"layer {tap.layer!r} has negative activations, for which {self.title} was not meant")
        return notes


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
    """The sum of each channel over its places (batch, channel, 1 ...), in float64."""
    return values.sum(dim=tuple(range(2, values.ndim)), keepdim=True, dtype=torch.float64)


def weighted(activation: Tensor, weights: Tensor) -> Tensor:
    """The sum over channels (batch, 1, *cells) of activations times weights, one a channel or one a place."""
    return (weights.to(activation) * activation).sum(dim=1, keepdim=True)
