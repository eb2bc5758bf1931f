"""Rows of tokens and maps with their channels last, folded to (batch, channel, *space) and put back.

Tokens without a place (class, distillation, register) are left out; what was added to a token, such as its position
embedding, stays with it.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from voxplain.score.places import Place

EVEN = 1.5
"""Axes whose voxels a cell spans differ by less than this where dimensions are the spatial ones."""


def folded_shape(shape: Sequence[int], place: Place) -> tuple[int, ...]:
    """(batch, channel, *space) of a tensor of this shape, once folded."""
    sides = place.grid or place.sides(shape)
    channels = [side for dim, side in enumerate(shape) if dim not in (0, *place.axes)]
    return (shape[0], prod(channels), *sides)


def folded(tensor: Tensor, place: Place) -> Tensor:
    """The values of a tensor (batch, ...) as (batch, channel, *space); further dimensions count as channels."""
    return _spatial(tensor, place).flatten(1, tensor.ndim - 1 - len(place.axes))


def refilled(tensor: Tensor, values: Tensor, place: Place) -> Tensor:
    """A copy of a tensor, in its own layout, whose places hold `values` (batch, channel, *space) instead."""
    if values is tensor:
        return tensor.clone()
    copy = tensor.clone()
    view = _spatial(copy, place)
    view.copy_(values.reshape(view.shape))
    return copy


def _spatial(tensor: Tensor, place: Place) -> Tensor:
    """A view (batch, channels ..., *space) of the places of a tensor."""
    axes = place.axes
    if place.grid:
        (axis,) = axes
        tensor = tensor.narrow(axis, place.extra[0], prod(place.grid)).unflatten(axis, place.grid)
        axes = tuple(range(axis, axis + len(place.grid)))
    channels = [dim for dim in range(1, tensor.ndim) if dim not in axes]
    order = (0, *channels, *axes)
    return tensor if order == tuple(range(tensor.ndim)) else tensor.permute(order)


def channels_last(shape: Sequence[int], size: Sequence[int]) -> bool:
    """True where (batch, *space, channel) fits an input of `size` voxels but (batch, channel, *space) does not."""
    if len(shape) != len(size) + 2:
        return False
    longer = shape[-1] > size[-1] and all(side <= whole for side, whole in zip(shape[1:-1], size, strict=True))
    return longer or (_even(shape[1:-1], size) and not _even(shape[2:], size))


def _even(sides: Sequence[int], size: Sequence[int]) -> bool:
    spans = [whole / max(side, 1) for whole, side in zip(size, sides, strict=True)]
    return max(spans) < EVEN * min(spans)
