"""The translation of a Keras model, accepted only where it says what Keras says, layer by layer."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from voxplain.score.keras_graph import Translation
from voxplain.score.keras_place import NotTranslated

AGREEMENT = 1e-5
"""Share of the largest value by which the answer may differ: rounding of float32, nothing more."""

AGREEMENT_INSIDE = 1e-4
"""The same of a layer on the way: gates of small values can hold more rounding than the answer keeps."""

UNKNOWN_SIDE = {2: 96, 3: 64}
"""Voxels tried along an axis whose size the model leaves open, by spatial axes."""

SMALL = 2**20
"""Places of an image up to which two samples are tried, so that one that leaks into another is seen."""

LOOKED_AT = 4096
"""Values of a layer's output that are compared, spread evenly over it."""


def translated(model: Any, sizes: Sequence[int | None], *, last: bool) -> nn.Module | str:
    """A network of torch modules that answers as the Keras model does, or why there is none.

    `sizes` are batch, channels and space of its input, None where open.
    """
    try:
        translation = Translation(len(sizes) - 2, last=last)
        network = translation.network(model).eval()
    except NotTranslated as error:
        return f"layer {error}"
    for weight in network.parameters():
        weight.requires_grad_(False)
    return _difference(model, network, translation, _trial(sizes)) or network


def _trial(sizes: Sequence[int | None]) -> Tensor:
    """A batch of noise, always the same; half of it negative, where rectifiers differ."""
    batch, channels, *space = sizes
    sides = [size or UNKNOWN_SIDE[len(space)] for size in space]
    shape = (batch or (2 if prod(sides) < SMALL else 1), channels or 1, *sides)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _difference(model: Any, network: nn.Module, made: Translation, x: Tensor) -> str:
    """Which layer answers otherwise than in Keras, in words; '' where none does."""
    import keras

    once = {step.module: step.layer for step in made.steps if step.layer is not None}
    expected: dict[str, tuple[Tensor, float]] = {}
    found: dict[str, tuple[Tensor, float]] = {}
    handles = [layer.register_forward_hook(_kept(expected, name)) for name, layer in once.items()]
    handles += [network.get_submodule(name).register_forward_hook(_kept(found, name, made)) for name in once]
    try:
        with keras.device("cpu"):
            model(x.movedim(1, -1) if made.last else x, training=False)
        network(x)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"its translation fails: {str(error).splitlines()[0]}"
    finally:
        for handle in handles:
            handle.remove()
    answer = made.steps[-1].module
    limits = {name: AGREEMENT if name == answer else AGREEMENT_INSIDE for name in once}
    apart = (name for name, limit in limits.items() if _differ(found[name], expected.get(name), limit))
    return next((f"layer {name!r} answers otherwise than in Keras" for name in apart), "")


def _kept(into: dict[str, tuple[Tensor, float]], name: str, made: Translation | None = None) -> Any:
    """A hook that keeps values of a layer's output in Keras's order, and its largest one."""

    def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
        values = output
        if made is not None and made.last and output.ndim == made.rank + 2:
            values = output.movedim(1, -1)
        step = max(1, values.numel() // LOOKED_AT)
        into[name] = values.flatten()[::step].clone(), float(values.abs().max())

    return hook


def _differ(found: tuple[Tensor, float], expected: tuple[Tensor, float] | None, limit: float) -> bool:
    if expected is None or found[0].shape != expected[0].shape:
        return True
    away = float((found[0] - expected[0]).abs().max())
    return not away <= limit * max(expected[1], found[1])
