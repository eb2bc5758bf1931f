"""Where the cells of a feature map lie in the input: receptive-field centres, followed operation by operation.

A convolution of kernel k, stride s, padding p and dilation d carries the first centre by ((k-1)d/2 - p) steps and
multiplies the step by s (Araujo, Norris, Sim, "Computing Receptive Fields of CNNs", Distill 2019, eq. 3 to 8).
Adaptive pooling and interpolation follow the half-pixel convention (outer edges align) unless corners are aligned.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary


@dataclass(frozen=True)
class Cells:
    """Centres of a layer's cells in the input: cell n of an axis lies at `start + n * step` voxels."""

    start: tuple[float, ...]
    step: tuple[float, ...]
    measured: bool = True
    """False where an operation was not understood and the cells are taken to tile the input evenly."""


def even_cells(size: Sequence[int], cells: Sequence[int]) -> Cells:
    """Cells that tile an input of `size` voxels edge to edge."""
    steps = tuple(whole / count for whole, count in zip(size, cells, strict=True))
    return Cells(tuple((step - 1) / 2 for step in steps), steps, measured=False)


@dataclass(frozen=True)
class _Place:
    """The cells of one tensor, and which of its dimensions are the spatial axes."""

    cells: Cells
    axes: tuple[int, ...]

    def sides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The lengths of a shape along the spatial axes; none of them where it has too few dimensions."""
        return tuple(shape[axis] for axis in self.axes) if max(self.axes) < len(shape) else ()


class CellTracker(TorchFunctionMode):
    """Follows the cells of every tensor from the input on, while a forward runs inside it."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        rank = x.ndim - 2
        self._usual = tuple(range(2, x.ndim))
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._known[x] = _Place(Cells((0.0,) * rank, (1.0,) * rank), self._usual)

    def of(self, tensor: Tensor) -> Cells | None:
        """The cells of a tensor (batch, channel, *space) that came by, or None where they are not known."""
        place: _Place | None = self._known.get(tensor)
        usual = place is not None and place.axes == self._usual and tensor.ndim == len(self._usual) + 2
        return place.cells if place is not None and usual else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and derive the cells of its results."""
        call = _Call(getattr(func, "__name__", "").split(".")[0].strip("_"), args, kwargs or {})
        sources = [(self._known[item], tuple(item.shape)) for item in call.tensors() if item in self._known]
        first = call.at(0, "input", None)
        first = (self._known[first], tuple(first.shape)) if isinstance(first, Tensor) and first in self._known else None
        out = func(*args, **(kwargs or {}))
        for result in out if isinstance(out, list | tuple) else [out]:
            if sources and isinstance(result, Tensor):
                place = self._carried(call, first, sources, tuple(result.shape))
                if place is None:
                    self._known.pop(result, None)
                else:
                    self._known[result] = place
        return out

    def _carried(
        self, call: "_Call", first: "_Source | None", sources: "list[_Source]", result: tuple[int, ...]
    ) -> _Place | None:
        if call.name in MOVERS:
            return None if first is None else MOVERS[call.name](call, *first, result)
        reader = next((read for start, read in READERS.items() if call.name.startswith(start)), None)
        if reader is not None:
            if first is None or first[0].axes != self._usual or len(result) != len(first[1]):
                return None
            return _Place(reader(first[0].cells, call, first[1], result), self._usual)
        return None if call.name.startswith(SHUFFLES) else _merged(sources, result)


@dataclass(frozen=True)
class _Call:
    """An operation as it was called."""

    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]

    def tensors(self) -> Iterator[Tensor]:
        """Its tensors, those inside a list included."""
        for value in (*self.args, *self.kwargs.values()):
            several = value if isinstance(value, list | tuple) else [value]
            yield from (item for item in several if isinstance(item, Tensor))

    def at(self, place: int, name: str, default: Any) -> Any:
        """The argument of that name or place."""
        return self.kwargs[name] if name in self.kwargs else (self.args[place] if len(self.args) > place else default)

    def rest(self, name: str) -> tuple[Any, ...]:
        """What follows the first argument, given one by one or as a list."""
        rest = self.kwargs.get(name, self.args[1:])
        return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else tuple(rest)


_Source = tuple[_Place, tuple[int, ...]]


def _merged(sources: list[_Source], result: tuple[int, ...]) -> _Place | None:
    """Where the result of an operation voxel by voxel lies: amid its sources on the same cells."""
    alike = [(place, shape) for place, shape in sources if len(shape) == len(result)]
    places = [place for place, shape in alike if place.sides(shape) == place.sides(result)]
    same = [place.cells for place in places if (place.axes, place.cells.step) == (places[0].axes, places[0].cells.step)]
    if not same:
        return None
    start = tuple(sum(starts) / len(same) for starts in zip(*(cells.start for cells in same), strict=True))
    return _Place(Cells(start, same[0].step, all(cells.measured for cells in same)), places[0].axes)


def _permuted(call: _Call, place: _Place, shape: tuple[int, ...], result: tuple[int, ...]) -> _Place:
    order = [int(dim) % len(shape) for dim in call.rest("dims")]
    return _Place(place.cells, tuple(order.index(axis) for axis in place.axes))


def _swapped(call: _Call, place: _Place, shape: tuple[int, ...], result: tuple[int, ...]) -> _Place:
    one, other = (int(call.at(n, f"dim{n - 1}", call.kwargs.get(f"axis{n - 1}"))) % len(shape) for n in (1, 2))
    return _Place(place.cells, tuple({one: other, other: one}.get(axis, axis) for axis in place.axes))


def _reshaped(call: _Call, place: _Place, shape: tuple[int, ...], result: tuple[int, ...]) -> _Place | None:
    """Axes stay known where they are the last ones and only what stands before them was split or joined."""
    rank = len(place.axes)
    last = place.axes == tuple(range(len(shape) - rank, len(shape)))
    if not last or shape[-rank:] != result[-rank:]:
        return None
    return _Place(place.cells, tuple(range(len(result) - rank, len(result))))


def _sliced(call: _Call, place: _Place, shape: tuple[int, ...], result: tuple[int, ...]) -> _Place | None:
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if Ellipsis in [item for item in index if not isinstance(item, Tensor)]:
        before = [item is Ellipsis for item in index].index(True)
        index = (*index[:before], *[slice(None)] * (len(shape) - len(index) + 1), *index[before + 1 :])
    if not all(isinstance(item, slice) for item in index):
        return None
    start, step = list(place.cells.start), list(place.cells.step)
    for n, axis in enumerate(place.axes):
        if axis < len(index):
            begin, _, hop = index[axis].indices(shape[axis])
            start[n], step[n] = start[n] + begin * step[n], step[n] * hop
    return _Place(Cells(tuple(start), tuple(step), place.cells.measured), place.axes)


def _linear(call: _Call, place: _Place, shape: tuple[int, ...], result: tuple[int, ...]) -> _Place | None:
    return None if len(shape) - 1 in place.axes else place


MOVERS = {
    "permute": _permuted,
    "transpose": _swapped,
    "swapaxes": _swapped,
    "swapdims": _swapped,
    "view": _reshaped,
    "reshape": _reshaped,
    "flatten": _reshaped,
    "unflatten": _reshaped,
    "getitem": _sliced,
    "linear": _linear,
}
"""Operations that may move the spatial axes to other dimensions, or cut pieces out."""

SHUFFLES = (
    "roll", "flip", "rot90", "unfold", "matmul", "rmatmul", "einsum", "tensordot", "bmm", "baddbmm", "grid_sample",
    "index_select", "gather", "take_along_dim", "sort", "msort", "argsort", "topk", "adjoint", "movedim", "moveaxis",
    "get", "fft_", "scaled_dot_product_attention", "as_strided",
)  # fmt: skip
"""Operations that may keep a shape by chance while moving voxels about: their results are not followed."""


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


def _convolution(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    kernel = tuple(call.at(1, "weight", None).shape[2:])
    padding, dilation = call.at(4, "padding", 0), call.at(5, "dilation", 1)
    if padding == "valid":
        padding = 0
    if padding == "same":  # torch pads the smaller half in front
        padding = tuple(int(d * (k - 1)) // 2 for k, d in zip(kernel, _each(dilation, len(kernel)), strict=True))
    slides = _spread if call.name == "convolution" and call.at(6, "transposed", False) else _slid
    return slides(cells, kernel, call.at(3, "stride", 1), padding, dilation)


def _transposed(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    kernel = tuple(call.at(1, "weight", None).shape[2:])
    return _spread(cells, kernel, call.at(3, "stride", 1), call.at(4, "padding", 0), call.at(7, "dilation", 1))


def _pooling(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    after = 1 if call.name.startswith("lp_") else 0  # there the norm comes before the kernel
    kernel, stride = call.at(1 + after, "kernel_size", 1), call.at(2 + after, "stride", None)
    largest = call.name.startswith("max_")
    padding = 0 if after else call.at(3, "padding", 0)
    return _slid(cells, kernel, stride or kernel, padding, call.at(4, "dilation", 1) if largest else 1)


def _resized(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    """Outer edges align: cell o of the result lies at (o + 0.5) * ratio - 0.5 of the source."""
    return _scaled(cells, [before / after for before, after in zip(shape[2:], result[2:], strict=True)])


def _scaled(cells: Cells, ratio: Sequence[float]) -> Cells:
    start = tuple(s + j * (r - 1) / 2 for s, j, r in zip(cells.start, cells.step, ratio, strict=True))
    return Cells(start, tuple(j * r for j, r in zip(cells.step, ratio, strict=True)), cells.measured)


def _interpolated(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
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


def _padded(cells: Cells, call: _Call, shape: tuple[int, ...], result: tuple[int, ...]) -> Cells:
    amounts = list(call.at(1, "pad", ()))
    front = [amounts[2 * n] if 2 * n < len(amounts) else 0 for n in range(len(cells.start))][::-1]
    start = tuple(s - j * amount for s, j, amount in zip(cells.start, cells.step, front, strict=True))
    return Cells(start, cells.step, cells.measured)


READERS = {
    "conv_transpose": _transposed,
    "conv": _convolution,
    "max_pool": _pooling,
    "avg_pool": _pooling,
    "lp_pool": _pooling,
    "adaptive_": _resized,
    "interpolate": _interpolated,
    "upsample": _interpolated,
    "pad": _padded,
    "constant_pad": _padded,
}
"""Name prefix of an operation -> how it moves cells; the first that fits wins."""
