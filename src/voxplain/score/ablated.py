"""Scores with one channel of a layer set to zero: the network runs on from that layer, or whole on shared weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from voxplain.errors import MemoryShort
from voxplain.score.dry import real_visits, visits
from voxplain.score.execution import TF32
from voxplain.score.layers import Tap, apart
from voxplain.score.memory import SHARE_OF_AVAILABLE, available_bytes, settle
from voxplain.score.model import COMPLAINTS, Model
from voxplain.score.output import pick
from voxplain.score.places import Place
from voxplain.score.score import Score
from voxplain.score.stand_in import StandIn
from voxplain.score.suffix import Suffix, recorded
from voxplain.score.tokens import folded, refilled
from voxplain.score.windows_trace import Unfollowed

EXACT = {torch.float64: 1e-9, torch.float32: 1e-4}
"""How far the channel that is looked at may lie from a whole forward, as a share of its score (at least of one): far
more than rounding, far less than a part of the way that was not followed."""


@dataclass(frozen=True, eq=False)
class Ablated:
    """Scores (batch, channel), float64, each without one channel, and how they were found."""

    values: Tensor
    notes: tuple[str, ...] = ()


def ablated(score: Score, x: Tensor, tap: Tap, values: Tensor) -> Ablated:
    """Scores of a frozen score with each channel of the tapped layer set to zero in turn.

    A channel that already is zero everywhere leaves the clean score, given as `values`. Of each other, what follows the
    layer is computed. `ledger.forwards` counts each of these channels as one sample sent forward, though it takes only
    the share of a forward that the notes tell; the recording of each sample, and one channel a layer that is looked at
    through the whole network, count too. Where that would not be fewer forwards each channel takes a whole one, and the
    notes tell; so it is with a network that cannot be followed, and the ledger says why.
    """
    return _Ablation(score, x, tap, values).scores()


class _Ablation:
    """One question about the channels of a layer."""

    def __init__(self, score: Score, x: Tensor, tap: Tap, clean: Tensor) -> None:
        model = score.model.network(x[:1].to(score.model.device, score.model.dtype), (tap.layer,), "rules")
        self._score, self._x, self._layer, self._clean = score, x, tap.layer, clean
        self._model = apart(model)  # in full precision, on modules of its own
        self._place = _place(score.model, x, tap.layer)
        self._pairs = (tap.activation != 0).flatten(2).any(dim=2).nonzero().cpu()
        self._found = clean[:, None].repeat(1, tap.activation.shape[1])
        self._notes: tuple[str, ...] = ()
        self._settled = False

    def scores(self) -> Ablated:
        """The clean score of channels that are zero, and of each other what comes without it."""
        if len(self._pairs) and not self._played():
            self._whole(self._pairs)
        return Ablated(self._found, self._notes)

    def _played(self) -> bool:
        """Play what follows the layer for every sample; False where the whole network is to run."""
        rows = self._pairs[:, 0].unique().tolist()
        if self._model.fixed_batch is not None or not self._pays(len(rows)):
            return False
        try:
            for row in rows:
                suffix = self._recorded(row)
                if not (self._settled or self._pays(len(rows) - 1, suffix.share)):
                    return False
                self._play(suffix, self._pairs[self._pairs[:, 0] == row])
        except (Unfollowed, MemoryShort, *COMPLAINTS) as reason:
            said = (str(reason).splitlines() or [""])[0][:200]
            sentence = f"channels of layer {self._layer!r} went through the whole network: {said}"
            self._score.ledger.fallbacks += [sentence] * (sentence not in self._score.ledger.fallbacks)
            self._notes = ()
            return False
        return True

    def _pays(self, recordings: int, share: float = 0.0) -> bool:
        """Whether recordings to come, one look and the share of a forward for each channel take less than wholes.

        On a processor a played channel mostly took 0.95 to 1.2 times its share of a whole one's time.
        """
        count = len(self._pairs)
        if recordings + 1 + count * share < count:
            return True
        why = f"what follows layer {self._layer!r} is {share:.2g} of it" if share else f"only {count} had to"
        self._notes = (f"each channel went through the whole network, as {why}",)
        return False

    def _allowed(self) -> int:
        """Bytes for a recording, and as many for what is played from it."""
        budget, device = self._score.budget, self._model.device
        return int(SHARE_OF_AVAILABLE * available_bytes(device) if budget is None else budget) // 2

    def _recorded(self, row: int) -> Suffix:
        """What follows the layer in the forward of one sample."""
        model = self._model
        clean = self._x[row : row + 1].to(model.device, model.dtype, memory_format=model.order)
        self._score.ledger.forwards += 1
        return recorded(model, self._layer, clean, self._allowed())

    def _play(self, suffix: Suffix, pairs: Tensor) -> None:
        """The channels of one sample."""
        player, channels = _Player(self._model, suffix, self._place), pairs[:, 1]
        first = not self._settled
        if first:
            self._settle(suffix, channels, self._allowed())
        self._stream(cast(Model, player), pairs, lambda index: channels[index].to(self._x.device))
        if first:
            self._look(pairs)
            self._notes = (f"each channel ran on from layer {self._layer!r}: {suffix.share:.2g} of a forward",)

    def _settle(self, suffix: Suffix, channels: Tensor, allowed: int) -> None:
        """Plan how many channels go on at once."""
        chunk, ledger = suffix.chunk(allowed), self._score.ledger
        if not chunk:
            raise Unfollowed("what follows the layer does not fit the memory allowed")
        settle(ledger, self._model.module, channels, chunk)
        ledger.chunks["suffix"] = min(chunk, self._score.chunk or chunk)
        self._settled = True

    def _look(self, pairs: Tensor) -> None:
        """Compare the channel that changed the score most with the whole network; raises where they differ."""
        rows, channels = pairs.unbind(1)
        played = self._found[rows, channels]
        falls = (played - self._clean[rows]).abs().nan_to_num()
        number = int(falls.argmax())
        self._whole(pairs[number : number + 1])
        whole = self._found[rows, channels][number]
        self._found[rows[number], channels[number]] = played[number]
        if self._score.rehearsal:  # answers are made up
            return
        off = float((whole - played[number]).abs() / whole.abs().clamp_min(1))
        coarse = self._model.device.type == "cuda" and torch.backends.cudnn.allow_tf32
        if not off <= max(EXACT.get(self._model.dtype, torch.inf), TF32 if coarse else 0):
            raise Unfollowed(f"a channel that was looked at came out {off:.1g} away from a whole forward")

    def _whole(self, pairs: Tensor) -> None:
        """The whole network once for each of the pairs (n, 2) of a row and a channel."""
        with _hooked(self._model, self._layer, self._place) as hooked:

            def make(index: Tensor) -> Tensor:
                rows, hooked.channels = pairs[index].unbind(1)
                return self._x[rows]

            self._stream(self._model, pairs, make)

    def _stream(self, model: Model, pairs: Tensor, make: Any) -> None:
        """Note the scores of the pairs, for which `make` builds batches of `model` from their numbers."""
        asking = copy.copy(self._score)
        asking.model = model
        like = self._x if model is self._model else pairs[:, 1]
        for piece in asking.stream(len(pairs), lambda index: (make(index), pairs[index, 0]), like=like):
            rows, channels = pairs[piece.samples].unbind(1)
            self._found[rows, channels] = piece.values.to(self._found.device)


class _Player(StandIn):
    """Stands in for a model: takes channels of a layer, gives the network's output without each."""

    def __init__(self, model: Model, suffix: Suffix, place: Place | None) -> None:
        super().__init__(model)
        self._suffix, self._place = suffix, place

    def __call__(self, channels: Tensor) -> Tensor:
        """The output (n, ...) without each of these channels (n,)."""
        return self._suffix.output(_without(self._suffix.copies(len(channels)), channels, self._place))


def _place(model: Model, x: Tensor, layer: str) -> Place | None:
    """How a layer's output is folded to (batch, channel, *space); None where it is so already."""
    sample, named = model.filled(x[:1]), {layer: model.layer(layer)}
    seen = visits(model.module, sample, named, lambda output: pick(output, model.output))
    seen = real_visits(model.run, sample, named) if seen is None else seen
    return seen[0].place if seen else None


def _without(output: Tensor, channels: Tensor, place: Place | None) -> Tensor:
    """A layer's output (n, ...) with one channel (n,) of each sample set to zero."""
    values = (output if place is None else folded(output, place)).clone()
    rows = torch.arange(len(channels), device=output.device)  # a fixed batch was filled up behind them
    values[rows, channels.to(output.device)] = 0
    return values if place is None else refilled(output, values, place)


@dataclass
class _Hooked:
    """Which channel of each sample of the next batch is set to zero."""

    channels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))


@contextmanager
def _hooked(model: Model, layer: str, place: Place | None) -> Iterator[_Hooked]:
    """While it lasts, the layer gives its output without the channels that are named."""
    hooked = _Hooked()

    def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> object:
        if not isinstance(output, tuple):
            return _without(output, hooked.channels, place)
        rest = (_without(output[0], hooked.channels, place), *output[1:])
        return type(output)(*rest) if hasattr(output, "_fields") else rest  # named tuples keep their names

    handle = model.layer(layer).register_forward_hook(hook)
    try:
        yield hooked
    finally:
        handle.remove()
