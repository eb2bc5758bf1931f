"""Where the cells of a feature map lie in the input: receptive-field centres, followed operation by operation.

A convolution of kernel k, stride s, padding p and dilation d carries the first centre by ((k-1)d/2 - p) steps and
multiplies the step by s (Araujo, Norris, Sim, "Computing Receptive Fields of CNNs", Distill 2019, eq. 3 to 8).
Interpolation and adaptive pooling follow the half-pixel convention: outer edges align.
"""

from collections.abc import Callable, Sequence
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


class CellTracker(TorchFunctionMode):
    """Follows the cells of every tensor from the input on, while a forward runs inside it."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self._rank = x.ndim - 2
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._known[x] = Cells((0.0,) * self._rank, (1.0,) * self._rank)

    def of(self, tensor: Tensor) -> Cells | None:
        """The cells of a tensor that came by, or None where they are not known."""
        cells: Cells | None = self._known.get(tensor)
        return cells

    def adopt(self, tensor: Tensor, cells: Cells | None) -> None:
        """Say that `tensor` (a clone, say) has these cells."""
        if cells is not None:
            self._known[tensor] = cells

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and derive the cells of its result."""
        kwargs = kwargs or {}
        source = self._source(args)
        before = None if source is None else (self.of(source), tuple(source.shape))
        out = func(*args, **kwargs)
        if before is None or before[0] is None:
            return out
        result = out[0] if isinstance(out, tuple) and out else out
        if isinstance(result, Tensor) and result.ndim == len(before[1]):
            self.adopt(result, self._carried(func, args, kwargs, before[0], before[1], result))
        return out

    def _source(self, args: Sequence[Any]) -> Tensor | None:
        flat = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else [arg])]
        tracked = [item for item in flat if isinstance(item, Tensor) and item in self._known]
        return next(iter(tracked), None)

    def _carried(
        self, func: Any, args: Any, kwargs: Any, cells: Cells, shape: tuple[int, ...], result: Tensor
    ) -> Cells | None:
        name = getattr(func, "__name__", "").split(".")[0]
        for start, reader in READERS.items():
            if name.startswith(start):
                return reader(cells, args, kwargs, shape, result)
        if tuple(result.shape[2:]) == shape[2:] and name not in SHUFFLES:
            return cells
        return None


SHUFFLES = ("permute", "transpose", "reshape", "view", "flatten", "roll", "__getitem__", "unfold", "matmul", "linear")
"""Operations that may keep a shape by chance while moving voxels about: their results are not followed."""

Reader = Callable[[Cells, Any, Any, tuple[int, ...], Tensor], Cells | None]


def _option(args: Any, kwargs: Any, place: int, name: str, default: Any) -> Any:
    return kwargs[name] if name in kwargs else (args[place] if len(args) > place else default)


def _each(value: Any, rank: int) -> tuple[float, ...]:
    if isinstance(value, int | float):
        return (float(value),) * rank
    values = tuple(float(item) for item in value)
    return values * rank if len(values) == 1 else values


def _slid(cells: Cells, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Cells:
    """Cells after a window of `kernel` voxels slides by `stride`."""
    rank = len(cells.start)
    parts = (_each(part, rank) for part in (kernel, stride, padding, dilation))
    start, step = [], []
    for s, j, k, hop, p, d in zip(cells.start, cells.step, *parts, strict=True):
        start.append(s + j * ((k - 1) * d / 2 - p))
        step.append(j * hop)
    return Cells(tuple(start), tuple(step), cells.measured)


def _convolution(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    kernel = tuple(_option(args, kwargs, 1, "weight", None).shape[2:])
    stride = _option(args, kwargs, 3, "stride", 1)
    padding = _option(args, kwargs, 4, "padding", 0)
    dilation = _option(args, kwargs, 5, "dilation", 1)
    if padding == "valid":
        padding = 0
    if padding == "same":  # torch pads the smaller half in front
        padding = tuple(int(d * (k - 1)) // 2 for k, d in zip(kernel, _each(dilation, len(kernel)), strict=True))
    return _slid(cells, kernel, stride, padding, dilation)


def _transposed(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    rank = len(cells.start)
    kernel = tuple(_option(args, kwargs, 1, "weight", None).shape[2:])
    stride = _each(_option(args, kwargs, 3, "stride", 1), rank)
    padding = _each(_option(args, kwargs, 4, "padding", 0), rank)
    dilation = _each(_option(args, kwargs, 7, "dilation", 1), rank)
    step = tuple(j / hop for j, hop in zip(cells.step, stride, strict=True))
    start = tuple(
        s + j * (p - (k - 1) * d / 2)
        for s, j, p, k, d in zip(cells.start, step, padding, kernel, dilation, strict=True)
    )
    return Cells(start, step, cells.measured)


def _pooling(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    kernel = _option(args, kwargs, 1, "kernel_size", 1)
    stride = _option(args, kwargs, 2, "stride", None)
    padding = _option(args, kwargs, 3, "padding", 0)
    return _slid(cells, kernel, kernel if stride in (None, [], ()) else stride, padding, 1)


def _max_pooling(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    kernel = _option(args, kwargs, 1, "kernel_size", 1)
    stride = _option(args, kwargs, 2, "stride", None)
    padding = _option(args, kwargs, 3, "padding", 0)
    dilation = _option(args, kwargs, 4, "dilation", 1)
    return _slid(cells, kernel, kernel if stride in (None, [], ()) else stride, padding, dilation)


def _resized(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    """Outer edges align: cell o of the result lies at (o + 0.5) * ratio - 0.5 of the source."""
    ratio = [before / after for before, after in zip(shape[2:], result.shape[2:], strict=True)]
    start = tuple(s + j * (r - 1) / 2 for s, j, r in zip(cells.start, cells.step, ratio, strict=True))
    return Cells(start, tuple(j * r for j, r in zip(cells.step, ratio, strict=True)), cells.measured)


def _padded(cells: Cells, args: Any, kwargs: Any, shape: tuple[int, ...], result: Tensor) -> Cells:
    amounts = list(_option(args, kwargs, 1, "pad", ()))
    front = [amounts[2 * n] if 2 * n < len(amounts) else 0 for n in range(len(cells.start))][::-1]
    start = tuple(s - j * amount for s, j, amount in zip(cells.start, cells.step, front, strict=True))
    return Cells(start, cells.step, cells.measured)


READERS: dict[str, Reader] = {
    "conv_transpose": _transposed,
    "conv": _convolution,
    "max_pool": _max_pooling,
    "avg_pool": _pooling,
    "lp_pool": _pooling,
    "adaptive_": _resized,
    "interpolate": _resized,
    "upsample": _resized,
    "pad": _padded,
}
"""Name prefix of an operation -> how it moves cells; the first that fits wins."""
