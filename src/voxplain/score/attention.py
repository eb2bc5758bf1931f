"""The attention of a token network: which tokens each token of each layer takes its values from.

Caught as operations, so that fused attention, attention spelled out in products and attention inside a module are all
seen: a product is attention where rows of tokens are multiplied by weights that stand for the same tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from voxplain.errors import InputError
from voxplain.score.call import Call
from voxplain.score.cells import CellTracker, Place
from voxplain.score.score import Score
from voxplain.score.watched import watched

SHARES = 1e-3
"""How far the weights of a token may sum from 1 and still be shares of attention (half precision rounds so far)."""

Step = Callable[[Tensor | None, Tensor], Tensor]
"""What was found in the layers before (None at the first) and the weights of the next layer (batch, head, token, token)
-> what is found now (batch, ...)."""


@dataclass
class Attention:
    """What was found in the attention layers of a batch."""

    found: Tensor
    """The last result of the steps (batch, ...)."""
    place: Place
    """Which tokens stand for which cells."""
    layers: int


@dataclass
class _Forward:
    """What one forward pass gave so far."""

    found: Tensor | None = None
    place: Place | None = None
    layers: int = 0


@dataclass
class _Log:
    """The passes of one question, in order."""

    passes: list[_Forward] = field(default_factory=list)


def attention(score: Score, x: Tensor, step: Step) -> tuple[Attention, Tensor, Score]:
    """What `step` finds in all attention layers, with the scores of the batch and the frozen score: one forward.

    Raises `InputError` where the network has no attention among tokens of the whole image.
    """
    log = _Log()

    @contextmanager
    def watch(batch: Tensor) -> Iterator[None]:
        tracker, forward = CellTracker(batch), _Forward()
        with tracker, _Catcher(tracker, forward, step):
            yield
        log.passes.append(forward)

    values, frozen = watched(score, watch, "reading attention").freeze(x)
    first = log.passes[0]
    if first.place is None:
        raise InputError(
            "the model must attend among tokens of the whole image, and no such attention was found (networks of "
            "convolutions have none, shifted windows see a part each); use grad_cam or integrated_gradients"
        )
    found = torch.cat([part.found for part in log.passes if part.found is not None])[: len(x)]
    frozen.model = score.model
    return Attention(found.to(x.device), first.place, first.layers), values, frozen


class _Catcher(TorchFunctionMode):
    """Sees every operation before the tracker does, and hands the weights of attention to the step."""

    def __init__(self, tracker: CellTracker, forward: _Forward, step: Step) -> None:
        super().__init__()
        self._tracker, self._forward, self._step = tracker, forward, step

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation; where it attends, tell its weights."""
        call, kwargs = Call.of(func, args, kwargs), kwargs or {}
        if call.name == "multi_head_attention_forward":
            return self._inside(func, args, kwargs)
        if call.name == "scaled_dot_product_attention":
            self._fused(call)
        elif call.name in ("matmul", "bmm", "einsum"):
            self._product(call)
        elif call.name == "softmax":
            self._refuse_windows(call)
        return func(*args, **kwargs)

    def _inside(self, func: Any, args: Any, kwargs: Any) -> Any:
        """The module's attention arrives as one operation: it is asked for the weights of each head as well."""
        wanted = kwargs.get("need_weights", True), kwargs.get("average_attn_weights", True)
        out, weights = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
        query = args[0] if args else kwargs["query"]
        place = self._tracker.known(query)
        if place is None or not place.grid or place.batch is None:
            raise InputError(_windows(weights))
        self._found(weights, place)
        if not wanted[0]:
            return out, None
        return out, weights.mean(dim=1) if wanted[1] else weights

    def _fused(self, call: Call) -> None:
        query, key = call.at(0, "query", None), call.at(1, "key", None)
        place = self._tracker.place(query)
        if place is None or not place.grid:
            raise InputError(_windows(query))
        scale = call.at(6, "scale", None)
        logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        mask = call.at(3, "attn_mask", None)
        if call.at(5, "is_causal", False):
            mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
        self._found(functional.softmax(logits, dim=-1), place)

    def _product(self, call: Call) -> None:
        """A product of weights (..., token, token) with values (..., token, width)."""
        weights, values = list(call.tensors())[:2]
        place, source = self._tracker.place(weights), self._tracker.known(values)
        if place is None or source is None or not place.grid or not source.grid:
            return
        if call.name == "einsum":
            letters = str(call.args[0]).replace(" ", "").replace("->", ",").split(",")
            attends = letters[0][-1] == letters[1][source.axes[0]] and letters[0][-1] not in letters[2]
        else:
            attends = source.axes == (values.ndim - 2,)
        if attends and place.axes == (weights.ndim - 2,):
            self._found(weights, place)

    def _refuse_windows(self, call: Call) -> None:
        """Weights of the tokens of a window among each other: the whole image cannot be rolled out any more."""
        logits = call.first
        if logits is None or logits.ndim < 3 or logits.shape[-1] != logits.shape[-2] or logits.shape[-1] == 1:
            return
        if self._tracker.known(logits) is None and call.at(1, "dim", -1) in (-1, logits.ndim - 1):
            raise InputError(_windows(logits))

    def _found(self, weights: Tensor, place: Place) -> None:
        forward, weights = self._forward, weights.detach()
        before = forward.place
        if weights.shape[-1] != weights.shape[-2] or weights.shape[-1] != place.tokens:
            raise InputError(
                f"every token must attend to all tokens, but one layer gives weights {tuple(weights.shape)} "
                f"for {place.tokens} tokens; use grad_cam or integrated_gradients"
            )
        if before is not None and (before.grid, before.extra) != (place.grid, place.extra):
            raise InputError(
                f"all layers must attend among the same tokens, but their number goes from {before.tokens} to "
                f"{place.tokens}; use grad_cam or integrated_gradients"
            )
        if bool((weights < -SHARES).any()) or bool(((weights.sum(dim=-1) - 1).abs() > SHARES).any()):
            raise InputError("the weights of an attention must be shares that sum to 1, and in one layer they do not")
        weights = weights.flatten(1, -3) if weights.ndim > 3 else weights[:, None]
        forward.found = self._step(forward.found, weights)
        forward.place, forward.layers = place, forward.layers + 1


def _windows(weights: Tensor) -> str:
    return (
        f"the model attends within windows or to tokens that could not be followed (a tensor {tuple(weights.shape)}), "
        "so attention cannot be rolled out over the whole image; use grad_cam or integrated_gradients"
    )
