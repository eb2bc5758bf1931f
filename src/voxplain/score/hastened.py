"""Convolutions that torch computes far below the speed of a processor, and what runs them at full speed.

Torch sends a single small volume (or picture) past oneDNN to code of its own that is 3 to 10 times slower; here oneDNN
is called. And the way back through a first layer makes so few channels that vector units stay nearly empty; here blocks
of neighbouring voxels are the channels of one ordinary convolution (a sub-pixel convolution: Shi et al., CVPR 2016).
Measured on 2 cores, torch 2.15: 16 to 16 channels at 24^3 from 5.1 to 0.55 ms forward and 6.6 to 0.6 back; the way back
through the 7^3 layer of a 3D ResNet-18 at 64^3 from 462 to 75 ms, and through the first of a ResNet at 5 x 224^2 from
17 to 8 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import ceil, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

FEW = 4
"""Input channels up to which the way back is made of blocks."""

SMALL = 20480
"""Channels times the first two sides of a single sample up to which torch leaves oneDNN out, unless the kernel is wide
(`use_mkldnn` in its Convolution.cpp)."""

NARROW = 3
"""Width of such kernels along one of the last two axes."""

PLACES = 64
"""Voxels from which calling oneDNN pays."""

PLACES_BACK = 500
"""Voxels from which the way back pays, as it turns the kernels around at each call."""

LANES = 16
"""Channels that a vector unit computes at once; fewer take as long."""

SIDES = (1, 2, 4)
"""Sides of a block that are tried, in strides."""


class Taps(NamedTuple):
    """How the gradient at the inputs of a block along one axis reads those at the outputs."""

    block: int
    """Neighbouring inputs."""
    first: int
    """The first output that is read, counted from the block's own."""
    places: list[list[int]]
    """[input of the block][output read] -> place in the kernel; the kernel's length where there is none."""


def helps(module: nn.Module, x: Tensor) -> bool:
    """Whether a network has convolutions that may be hastened for batches like `x`."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and any(map(_ordinary, module.modules()))


def hasten(module: nn.Module) -> None:
    """Let the convolutions of a network (a copy of ours) run by the functions below."""
    for layer in module.modules():
        if _ordinary(layer):
            layer.forward = partial(_forward, layer)


def _ordinary(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d | nn.Conv3d):
        return False
    padded = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return padded and layer.groups == 1 and set(layer.dilation) == {1} and type(layer) in (nn.Conv2d, nn.Conv3d)


def _forward(layer: Any, x: Tensor) -> Tensor:
    function = conv2d if isinstance(layer, nn.Conv2d) else conv3d
    return function(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def conv2d(x: Tensor, weight: Tensor, *arguments: Any) -> Tensor:
    """As `torch.conv2d` with tuples for stride and padding; without dilation and groups."""
    return _convolution(conv2d, torch.conv2d, x, weight, *arguments)


def conv3d(x: Tensor, weight: Tensor, *arguments: Any) -> Tensor:
    """As `torch.conv3d` with tuples for stride and padding; without dilation and groups."""
    return _convolution(conv3d, torch.conv3d, x, weight, *arguments)


def _convolution(own: Callable[..., Tensor], plain: Callable[..., Tensor], *arguments: Any) -> Tensor:
    x, weight, bias, stride, padding = arguments[:5]
    if has_torch_function_variadic(x, weight):  # a tape of backward rules records one operation
        found: Tensor = handle_torch_function(own, (x, weight), *arguments)
        return found
    # Whoever watches single operations (costs, memory, windows) wants the plain one, and so does a compiler.
    watched = is_in_torch_dispatch_mode() or torch.compiler.is_compiling()
    if watched or x.device.type != "cpu" or x.dtype != torch.float32 or x.ndim != weight.ndim:
        return plain(*arguments)
    if not (torch.is_grad_enabled() and x.requires_grad):
        return forward(x, weight, bias, stride, padding)
    if not (_few(weight) or left_out(x, weight)):
        return plain(*arguments)
    hastened: Tensor = _Hastened.apply(x, weight, bias, stride, padding)
    return hastened


def _few(weight: Tensor) -> bool:
    return weight.shape[1] <= FEW and prod(weight.shape[2:]) > 1


def left_out(x: Tensor, weight: Tensor) -> bool:
    """True where torch would not call oneDNN for this input."""
    small = len(x) == 1 and prod(x.shape[1:4]) <= SMALL and min(weight.shape[-2:]) <= NARROW
    return small and prod(x.shape[2:]) >= PLACES and torch.backends.mkldnn.is_available()


class _Hastened(torch.autograd.Function):
    """The convolution whose way back to its input is a convolution, too; weights get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Sequence[int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.sides, ctx.geometry = x.shape[2:], geometry
        return forward(x, weight, bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        stride, padding = ctx.geometry
        turned = set(stride) == {1} and prod(ctx.sides) >= PLACES_BACK
        back = backward if turned or _few(weight) else _plain_backward
        return back(gradient, weight, ctx.sides, stride, padding), None, None, None, None


def _plain_backward(
    gradient: Tensor, weight: Tensor, sides: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """As `backward`, by torch: of the input only the shape is read."""
    x = gradient.new_empty((len(gradient), weight.shape[1], *sides))
    ones, zeros = [1] * len(sides), [0] * len(sides)
    only = [True, False, False]
    return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
        gradient, x, weight, None, stride, padding, ones, False, zeros, 1, only
    )[0]


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """The convolution (batch, out, *space) of x (batch, channel, *space)."""
    ones, zeros = [1] * len(stride), [0] * len(stride)
    if x.device.type == "cpu" and x.dtype == torch.float32 and left_out(x, weight):
        found: Tensor = torch.ops.aten.mkldnn_convolution(x, weight, bias, padding, stride, ones, 1)
    else:
        found = torch.ops.aten.convolution(x, weight, bias, stride, padding, ones, False, zeros, 1)
    return found


def backward(
    gradient: Tensor, weight: Tensor, sides: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """The gradient by the input (batch, channel, *sides), from that by the result (batch, out, *space)."""
    rank, channels = len(sides), weight.shape[1]
    taps = _cheapest(channels, tuple(weight.shape[2:]), tuple(stride), tuple(padding))
    blocks = [axis.block for axis in taps]
    counts = [ceil(side / block) for side, block in zip(sides, blocks, strict=True)]
    hops = [block // hop for block, hop in zip(blocks, stride, strict=True)]
    kernel = _kernel(weight, taps)
    margin, extra = _margins(gradient.shape[2:], kernel.shape[2:], counts, hops, [axis.first for axis in taps])
    found = forward(gradient, kernel, None, hops, margin)
    found = found[(slice(None), slice(None), *(slice(n, n + count) for n, count in zip(extra, counts, strict=True)))]
    found = found.reshape(len(gradient), channels, *blocks, *counts)
    order = [part for axis in range(rank) for part in (2 + rank + axis, 2 + axis)]
    whole = [count * block for count, block in zip(counts, blocks, strict=True)]
    found = found.permute(0, 1, *order).reshape(len(gradient), channels, *whole)
    return found[(slice(None), slice(None), *(slice(side) for side in sides))]


def _margins(
    have: Sequence[int], kernel: Sequence[int], counts: Sequence[int], hops: Sequence[int], first: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Zeros on both sides of an axis that let every block be read, and how many blocks they put in front."""
    margin, extra = [], []
    for side, size, count, hop, start in zip(have, kernel, counts, hops, first, strict=True):
        after = (count - 1) * hop + start + size - side
        more = max(0, ceil((max(after, 0) + start) / hop), ceil(start / hop))
        margin.append(more * hop - start)
        extra.append(more)
    return margin, extra


def _kernel(weight: Tensor, taps: Sequence[Taps]) -> Tensor:
    """Weights (channel x block, out, *read): every voxel of a block is a channel."""
    rank = len(taps)
    last = torch.channels_last if rank == 2 else torch.channels_last_3d
    layout = last if weight.is_contiguous(memory_format=last) else torch.contiguous_format
    if all(axis.block == 1 for axis in taps):  # one voxel a block: the kernel turned around
        return weight.flip(tuple(range(2, 2 + rank))).transpose(0, 1).contiguous(memory_format=layout)
    wide = functional.pad(weight, (0, 1) * rank)
    for axis, (_, _, places) in enumerate(taps):
        index = torch.tensor(places, device=weight.device)
        wide = wide.index_select(2 + 2 * axis, index.flatten()).unflatten(2 + 2 * axis, index.shape)
    order = (1, *range(2, 2 + 2 * rank, 2), 0, *range(3, 3 + 2 * rank, 2))
    blocks = wide.permute(order).flatten(0, rank)
    return blocks.contiguous(memory_format=layout)


def _cheapest(channels: int, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> list[Taps]:
    """Blocks along each axis that take the fewest multiply-adds a voxel, empty lanes counted."""
    options = [
        [_taps(length, hop, before, hop * side) for side in SIDES]
        for length, hop, before in zip(kernel, stride, padding, strict=True)
    ]

    def cost(taps: Iterable[Taps]) -> float:
        taps = list(taps)
        voxels = prod(axis.block for axis in taps)
        lanes = ceil(channels * voxels / LANES) * LANES
        return lanes * prod(len(axis.places[0]) for axis in taps) / voxels

    return list(min(product(*options), key=cost))


def _taps(length: int, stride: int, padding: int, block: int) -> Taps:
    """Input `block q + a` has place j of output o in it where block q + a = stride o - padding + j."""
    first = -((length - 1 - padding) // stride)
    last = (block - 1 + padding) // stride
    reads = range(first, last + 1)
    places = [[a + padding - stride * o for o in reads] for a in range(block)]
    return Taps(block, first, [[place if 0 <= place < length else length for place in row] for row in places])
