"""Where a Keras layer stands in its model, and what the translations of all layers share."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class NotTranslated(Exception):
    """A layer, or an option of it, that the table does not know; its text goes behind 'layer ...'."""


@dataclass(frozen=True)
class Place:
    """Where a layer stands: how its inputs lie."""

    rank: int
    """Spatial axes of the model's images."""
    last: bool
    """True where the model's maps have their channels last."""
    shapes: tuple[tuple[int | None, ...], ...]
    """Shapes of the layer's inputs as Keras has them."""

    def is_map(self, ndim: int) -> bool:
        """True for a tensor that lies channels first here and channels last in Keras."""
        return self.last and ndim == self.rank + 2

    def axis(self, axis: int) -> int:
        """An axis of the first input, counted as it lies here."""
        ndim = len(self.shapes[0])
        axis %= ndim
        if not self.is_map(ndim) or axis == 0:
            return axis
        return 1 if axis == ndim - 1 else axis + 1

    @property
    def channels(self) -> int:
        """Channels of the first input."""
        found = self.shapes[0][-1 if self.last or len(self.shapes[0]) == 2 else 1]
        if found is None:
            raise NotTranslated("has an unknown number of channels")
        return found


def tensor(variable: Any) -> Tensor:
    """A copy of a Keras variable's numbers."""
    return torch.from_numpy(np.array(variable.numpy(), dtype=np.float32))


def chained(**parts: nn.Module | None) -> nn.Module:
    """The parts that are there, one after the other; a single one as it is."""
    there = {name: part for name, part in parts.items() if part is not None}
    return next(iter(there.values())) if len(there) == 1 else nn.Sequential(OrderedDict(there))


def activation(function: Any, axis: int) -> nn.Module | None:
    """The module of a Keras activation function over channels on `axis`, None for a linear one."""
    name = getattr(function, "__name__", type(function).__name__)
    if name in ("linear", "NoneType"):
        return None
    if name == "softmax":
        return nn.Softmax(dim=axis)
    if name not in ACTIVATIONS:
        raise NotTranslated(f"has the activation {name}")
    return ACTIVATIONS[name]()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "elu": nn.ELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_silu": nn.Hardswish,
    "tanh": nn.Tanh,
}


def filled(module: nn.Module, weight: Tensor, bias: Any) -> nn.Module:
    """A module with these numbers as its weight and bias."""
    module.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        module.bias = nn.Parameter(tensor(bias))
    return module
