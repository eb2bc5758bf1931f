"""Score-CAM. Wang et al., CVPR Workshops 2020, arXiv:1910.01279, definitions 2 and 3, algorithm 1."""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from voxplain.errors import OptionError
from voxplain.methods.base import Map
from voxplain.methods.cam import Cam, weighted
from voxplain.ops.enlarge import enlarged
from voxplain.score.layers import Tap
from voxplain.score.score import Score
from voxplain.score.target import ClassScore, Margin, Probability, Region

Weights = Literal["probability", "softmax", "increase"]

ROUNDING = 8
"""A channel whose values differ by no more than this many roundings of its largest one is constant."""


@dataclass(frozen=True, kw_only=True)
class ScoreCam(Cam):
    """Which places of a layer's feature map the score needs: a channel weighs the score of the image seen through it.

    Each channel, enlarged to the input and scaled to 0..1, multiplies the image, and the model judges what remains. A
    constant channel is no such window and weighs nothing. No gradient enters the map. Costs 2 forwards and one a
    channel that is not constant ('increase': one more).
    """

    name = "score_cam"
    title: ClassVar[str] = "Score-CAM"
    citation: ClassVar[str] = "Wang et al., Score-CAM, arXiv:1910.01279"
    law: ClassVar[str] = "a channel's weight does not change when its activations are shifted or multiplied"
    cost: ClassVar[str] = "2 + channels"

    weights: Weights | None = None
    """What weighs: the class's probability (left out: this, if there is one), softmax over channels, or increase."""

    def _map(self, score: Score, x: Tensor) -> Map:
        layers, notes = self._layers(score, x)
        _, frozen = score.freeze(x)
        tapped = frozen.tap(x, layers, back=False)
        reader, kind = self._reader(frozen)
        empty = reader(torch.zeros_like(x)) if kind == "increase" else torch.zeros(len(x), dtype=torch.float64)
        cams = []
        for tap in tapped.taps:
            alive = _varies(tap.activation)
            scores = _seen_through(reader, x, tap, alive)
            weights = _softmax(scores, alive) if kind == "softmax" else scores - empty.to(scores.device)[:, None]
            shape = (*weights.shape, *[1] * (x.ndim - 2))
            cams.append(weighted(tap.activation, torch.where(alive, weights, 0.0).reshape(shape)))
        return self._maps(score, tapped, cams, (*notes, f"weights by {kind}"))

    def _reader(self, score: Score) -> tuple[Score, Weights]:
        """The score of the images seen through the channels, and what weights are made of it."""
        target, likely = score.target, copy.copy(score)
        if isinstance(target, ClassScore | Probability | Margin):
            likely.target = Probability(target.index)
        elif isinstance(target, Region):
            likely.target = replace(target, of="probability")
        sure = score.model.head != "regression" and likely.target.name in ("probability", "region")
        if self.weights == "probability" and not sure:
            raise OptionError("score_cam: weights must be 'softmax' or 'increase' for an output without probabilities")
        kind = self.weights or ("probability" if sure else "increase")
        return (likely if kind == "probability" else score), kind

    def _unit(self, score: Score) -> str:
        return "weighted activations"

    def _notes(self, tap: Tap, values: Tensor) -> tuple[str, ...]:
        constant = int((~_varies(tap.activation)).sum(dim=1).max())
        if not constant:
            return super()._notes(tap, values)
        told = f"up to {constant} of {tap.activation.shape[1]} channels of layer {tap.layer!r} are constant"
        return (*super()._notes(tap, values), f"{told} and weigh nothing")


def _varies(activation: Tensor) -> Tensor:
    """Which channels (batch, channel) differ from place to place."""
    values = activation.flatten(2)
    span = values.amax(dim=2) - values.amin(dim=2)
    return span > ROUNDING * torch.finfo(values.dtype).eps * values.abs().amax(dim=2)


def _seen_through(score: Score, x: Tensor, tap: Tap, alive: Tensor) -> Tensor:
    """Scores (batch, channel), float64, of the image times each channel that varies; 0 elsewhere."""
    scores = torch.zeros(alive.shape, dtype=torch.float64, device=alive.device)
    pairs = alive.nonzero().cpu()

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        rows, channels = pairs[index].unbind(1)
        coarse = tap.activation[rows, channels][:, None]
        masks = _scaled(enlarged(coarse, tap.cells.start, tap.cells.step, x.shape[2:]))
        return x[rows] * masks.to(x), rows

    if len(pairs):
        for piece in score.stream(len(pairs), make, like=x):
            rows, channels = pairs[piece.samples].unbind(1)
            scores[rows, channels] = piece.values.to(scores.device)
    return scores


def _scaled(masks: Tensor) -> Tensor:
    """Each mask (n, 1, *space) from its least value at 0 to its largest at 1."""
    space = tuple(range(2, masks.ndim))
    least, span = masks.amin(dim=space, keepdim=True), masks.amax(dim=space, keepdim=True)
    span = span - least
    return torch.where(span > 0, (masks - least) / torch.where(span > 0, span, 1.0), 0.0)


def _softmax(scores: Tensor, alive: Tensor) -> Tensor:
    """Softmax over the channels that vary, 0 for the others."""
    found = scores.where(alive, -torch.inf).softmax(dim=1)
    return torch.where(alive, found, 0.0)
