"""An operation with weights as the linear map it is, so that rules can ask it for other weights or other inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from voxplain.score.operation import Operation, Slot, replaced
from voxplain.score.operation_kinds import CONVOLUTIONS

Change = Callable[[Tensor], Tensor]
"""What a rule makes of the weights, such as their positive part."""


def whole(weight: Tensor) -> Tensor:
    """The weights as they are."""
    return weight


def positive(weight: Tensor) -> Tensor:
    """Their positive part."""
    return weight.clamp(min=0)


def negative(weight: Tensor) -> Tensor:
    """Their negative part."""
    return weight.clamp(max=0)


class Branch(NamedTuple):
    """One product of the map: what went in, the changed weights' result, and the graph between them."""

    x: Tensor
    result: Tensor

    def back(self, grad: Tensor) -> Tensor:
        """Gradient by the input for a gradient by the result: one backward product, as often as wanted."""
        (found,) = torch.autograd.grad(self.result, self.x, grad, retain_graph=True)
        return found

    def share(self, grad: Tensor) -> Tensor:
        """Gradient times input: what each input has of the result."""
        return self.x.detach() * self.back(grad)


@dataclass(frozen=True)
class LinearMap:
    """z = W x + b of one operation, a batch norm or bias that reads it alone merged into W and b."""

    operation: Operation

    @property
    def x(self) -> Tensor:
        """Its input."""
        return self.operation.inputs[0]

    @cached_property
    def merged(self) -> Operation | None:
        """The batch norm or bias merged into the map."""
        return self.operation.folded

    @property
    def z(self) -> Tensor:
        """Its result with the bias, as the forward gave it."""
        return self.operation.output if self.merged is None else self.merged.output

    @cached_property
    def scale(self) -> Tensor | None:
        """What a merged norm multiplies each channel by (channel,), None without one."""
        return None if self.merged is None or self.merged.kind != "norm" else norm_scale(self.merged)[0]

    @cached_property
    def bias(self) -> Tensor | None:
        """What is added to every place, ready to be added to `z`; None where nothing is."""
        own = self._own_bias()
        if self.merged is None:
            return own
        if self.merged.kind == "shift":
            added = next(value for value in self.merged.arguments if isinstance(value, Tensor))
            return added if own is None else own + added
        scale, shift = (self._by_channel(part) for part in norm_scale(self.merged))
        return shift if own is None else own * scale + shift

    @cached_property
    def nonnegative(self) -> bool:
        """True where no input is below zero, as after a ReLU: half of the products are then nothing."""
        return bool(self.x.amin() >= 0)

    def branch(self, x: Tensor, change: Change = whole) -> Branch:
        """The map without its bias, of another input and changed weights: one forward product."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            return Branch(leaf, self._call(leaf, change))

    def pull(self, grad: Tensor) -> Tensor:
        """Gradient by the input through the weights as they are: the forward's own graph, no forward product."""
        if self.scale is not None:
            grad = grad * self._by_channel(self.scale)
        (found,) = self.operation.derivative([grad])
        return torch.zeros_like(self.x) if found is None else found

    def ones(self) -> Tensor:
        """An input of ones, zeros where padding stands; one sample where the first axis is one of samples."""
        one_sample = self._biased and self.x.ndim == self._weight.ndim
        source = self.operation.sources[0]
        if source is None or source.name not in PADDING or not self.operation.direct[0]:
            return torch.ones_like(self.x[:1] if one_sample else self.x)
        real = source.inputs[0][:1] if one_sample else source.inputs[0]
        return source.run(torch.ones_like(real)) - source.run(torch.zeros_like(real))

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = self.operation.argument(1, "weight")
        return weight

    @property
    def _biased(self) -> bool:
        return self.operation.name in WEIGHTED

    def _own_bias(self) -> Tensor | None:
        if self._biased:
            bias = self.operation.argument(2, "bias")
            return None if bias is None else self._by_channel(bias)
        if self.operation.name in ADDED:
            added: Tensor = self.operation.argument(0, "input") * self.operation.options.get("beta", 1)
            return added
        return None

    def _by_channel(self, values: Tensor) -> Tensor:
        """(channel,) shaped to be combined with the result."""
        spatial = 0 if self.operation.name not in CONVOLUTIONS else self._weight.ndim - 2
        return values.reshape(-1, *[1] * spatial)

    def _scaled(self, weight: Tensor) -> Tensor:
        """The weights with the merged norm in them."""
        if self.scale is None:
            return weight
        if not self._transposed:
            return weight * self.scale.reshape(-1, *[1] * (weight.ndim - 1))
        groups = self.scale.numel() // weight.shape[1]  # transposed: (in, out / groups, *kernel)
        split = weight.reshape(groups, -1, *weight.shape[1:])
        return (split * self.scale.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)

    @property
    def _transposed(self) -> bool:
        operation = self.operation
        if operation.name in ("convolution", "_convolution"):
            return bool(operation.argument(6, "transposed"))
        return operation.name.startswith("conv_transpose")

    def _call(self, x: Tensor, change: Change) -> Tensor:
        arguments, options = list(self.operation.arguments), dict(self.operation.options)
        if self._biased:
            weight = change(self._scaled(self._weight))
            for place, name, value in ((1, "weight", weight), (2, "bias", None)):
                if len(arguments) > place:
                    arguments[place] = value
                else:
                    options[name] = value
        else:
            start = 1 if self.operation.name in ADDED else 0
            arguments = [*arguments[:start], *replaced(arguments[start:], Tensor, change)]
            options = replaced(options, Tensor, change)
        here = lambda _: x  # noqa: E731
        result: Tensor = self.operation.function(
            *replaced(tuple(arguments), Slot, here), **replaced(options, Slot, here)
        )
        added = self._own_bias() if self.operation.name in ADDED else None
        return result if added is None else result - added


PADDING = ("pad", "constant_pad_nd")

WEIGHTED = (*CONVOLUTIONS, "linear")
"""Operations called with (input, weight, bias); the others are products of matrices."""

ADDED = ("addmm", "baddbmm", "addmv")
"""Products that add their first argument."""


def norm_scale(norm: Operation) -> tuple[Tensor, Tensor]:
    """What a batch norm in evaluation multiplies each channel by and adds to it, both (channel,)."""
    weight, bias = norm.argument(1, "weight"), norm.argument(2, "bias")
    mean, variance = norm.argument(3, "running_mean"), norm.argument(4, "running_var")
    place = 6 if norm.name.endswith("no_training") else 7
    scale = torch.rsqrt(variance + norm.argument(place, "eps", 1e-5))
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias
