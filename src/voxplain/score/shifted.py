"""A network for inputs shifted by a constant, whose first layer takes the shift back. Kindermans et al. 2019."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxplain.errors import InputError
from voxplain.score.model import Model
from voxplain.score.randomised import layer_order

Layer = nn.Linear | nn.Conv2d | nn.Conv3d

AGREEMENT = 1e-3
"""The answers for shifted inputs may differ from the clean ones by this share of their size: in float32, values that a
shift made larger lose some digits; a network that reads the input a second time gives another answer altogether."""


class Filled(nn.Module):
    """Pads with a value other than zero."""

    def __init__(self, beyond: tuple[int, ...], value: float) -> None:
        super().__init__()
        self.beyond, self.value = beyond, value

    def forward(self, x: Tensor) -> Tensor:
        """The padded batch."""
        return functional.pad(x, self.beyond, value=self.value)


def shifted(model: Model, x: Tensor, shift: float) -> Model:
    """A copy of the model that says about `x + shift` what the model says about `x`.

    The first convolution or linear layer has the shift's share taken off its bias, and pads with the shift in place of
    zeros. Raises `InputError` where that does not give the same answers.
    """
    name = layer_order(model, x)[-1]
    known: dict[int, object] = {}
    module = copy.deepcopy(model.module, known)
    layer = module.get_submodule(name)
    if not isinstance(layer, Layer):
        raise InputError(f"the first layer must be a convolution or linear to take back a shift, got {name!r}")
    compensated = _compensated(layer, shift)
    if not name:
        module = compensated
    else:
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, compensated)
    known[id(model.module.get_submodule(name))] = compensated
    layers = {key: cast(nn.Module, known[id(part)]) for key, part in model.layers.items()}
    twin = model.with_module(module, layers)
    _check(model, twin, x, shift)
    return twin


def _compensated(layer: Layer, shift: float) -> nn.Module:
    """The layer for shifted inputs."""
    twin = copy.deepcopy(layer)
    offset = shift * layer.weight.double().flatten(1).sum(dim=1)
    bias = -offset if layer.bias is None else layer.bias.double() - offset
    twin.bias = nn.Parameter(bias.to(layer.weight), requires_grad=False)
    if isinstance(twin, nn.Linear) or twin.padding_mode != "zeros":
        return twin
    beyond = tuple(twin._reversed_padding_repeated_twice)  # noqa: SLF001 - also what padding='same' stands for
    twin.padding = (0,) * (len(beyond) // 2)
    return nn.Sequential(Filled(beyond, shift), twin) if any(beyond) else twin


def _check(model: Model, twin: Model, x: Tensor, shift: float) -> None:
    sample = model.filled(x[:1].to(model.device, model.dtype))
    with torch.no_grad():
        clean, moved = model(sample), twin(sample + shift)
    if float((moved - clean).abs().max()) > AGREEMENT * max(float(clean.abs().max()), torch.finfo(clean.dtype).tiny):
        raise InputError("a shift of the input cannot be taken back in the first layer of this network")
