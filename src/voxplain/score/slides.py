"""How convolution, pooling and interpolation move the cells of a feature map (batch, channel, *space).

A convolution of kernel k, stride s, padding p and dilation d carries the first centre by ((k-1)d/2 - p) steps and
multiplies the step by s (Araujo, Norris, Sim, "Computing Receptive Fields of CNNs", Distill 2019, eq. 3 to 8).
Adaptive pooling and interpolation follow the half-pixel convention (outer edges align) unless corners are aligned.
"""

from collections.abc import Sequence
from typing import Any

from voxplain.score.call import Call
from voxplain.score.places import Cells


def _each(value: Any, rank: int) -> tuple[float, ...]:
    if isinstance(value, int | float):
        return (float(value),) * rank
    values = tuple(float(item) for item in value)
    return values * rank if len(values) == 1 else values


def _slid(cells: Cells, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Cells:
    """Cells after a window of `kernel` voxels slides by `stride`."""
    parts = (_each(part, len(cells.start)) for part in (kernel, stride, padding, dilation))
    start, step = [], []
    for s, j, k, hop, p, d in zip(cells.start, cells.step, *parts, strict=True):
        start.append(s + j * ((k - 1) * d / 2 - p))
        step.append(j * hop)
    return Cells(tuple(start), tuple(step), cells.measured)


def _spread(cells: Cells, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Cells:
    """Cells after a transposed convolution."""
    hops, *parts = (_each(part, len(cells.start)) for part in (stride, kernel, padding, dilation))
    step = tuple(j / hop for j, hop in zip(cells.step, hops, strict=True))
    start = (s + j * (p - (k - 1) * d / 2) for s, j, k, p, d in zip(cells.start, step, *parts, strict=True))
    return Cells(tuple(start), step, cells.measured)


def _convolution(cells: Cells, call: Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    kernel = tuple(call.at(1, "weight", None).shape[2:])
    padding, dilation = call.at(4, "padding", 0), call.at(5, "dilation", 1)
    if padding == "valid":
        padding = 0
    if padding == "same":  # torch pads the smaller half in front
        padding = tuple(int(d * (k - 1)) // 2 for k, d in zip(kernel, _each(dilation, len(kernel)), strict=True))
    slides = _spread if call.name == "convolution" and call.at(6, "transposed", False) else _slid
    return slides(cells, kernel, call.at(3, "stride", 1), padding, dilation)


def _transposed(cells: Cells, call: Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    kernel = tuple(call.at(1, "weight", None).shape[2:])
    return _spread(cells, kernel, call.at(3, "stride", 1), call.at(4, "padding", 0), call.at(7, "dilation", 1))


def _pooling(cells: Cells, call: Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    after = 1 if call.name.startswith("lp_") else 0  # there the norm comes before the kernel
    kernel, stride = call.at(1 + after, "kernel_size", 1), call.at(2 + after, "stride", None)
    largest = call.name.startswith("max_")
    padding = 0 if after else call.at(3, "padding", 0)
    return _slid(cells, kernel, stride or kernel, padding, call.at(4, "dilation", 1) if largest else 1)


def _resized(cells: Cells, call: Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    """Outer edges align: cell o of the result lies at (o + 0.5) * ratio - 0.5 of the source."""
    return _scaled(cells, [before / after for before, after in zip(shape[2:], result[2:], strict=True)])


def _scaled(cells: Cells, ratio: Sequence[float]) -> Cells:
    start = tuple(s + j * (r - 1) / 2 for s, j, r in zip(cells.start, cells.step, ratio, strict=True))
    return Cells(start, tuple(j * r for j, r in zip(cells.step, ratio, strict=True)), cells.measured)


def _interpolated(cells: Cells, call: Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    """By the factor where one is given: torch computes places from it, also where it does not divide the sides."""
    aten = call.name.startswith("upsample")
    corners = call.at(2, "align_corners", None) if aten else call.at(4, "align_corners", None)
    if corners is True:
        steps = zip(cells.step, shape[2:], result[2:], strict=True)
        return Cells(cells.start, tuple(j * (a - 1) / max(b - 1, 1) for j, a, b in steps), cells.measured)
    factor = None if aten else call.at(2, "scale_factor", None)
    if factor is None or call.at(5, "recompute_scale_factor", None):
        return _resized(cells, call, shape, result)
    return _scaled(cells, [1 / one for one in _each(factor, len(cells.start))])


READERS = {
    "conv_transpose": _transposed,
    "conv": _convolution,
    "max_pool": _pooling,
    "avg_pool": _pooling,
    "lp_pool": _pooling,
    "adaptive_": _resized,
    "interpolate": _interpolated,
    "upsample": _interpolated,
}
"""Name prefix of an operation -> how it moves cells; the first that fits wins."""
