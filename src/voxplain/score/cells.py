"""Where the cells of a feature map lie in the input: receptive-field centres, followed operation by operation.

What slides over cells (convolution, pooling) is in `slides`, what moves the dimensions that count them in `moves`.
"""

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from voxplain.score.call import Call
from voxplain.score.moves import MOVERS, Shape, lengthened
from voxplain.score.places import Cells, Place, even_cells
from voxplain.score.slides import READERS

__all__ = ["CellTracker", "Cells", "Place", "even_cells"]

SHUFFLES = (
    "roll", "flip", "rot90", "unfold", "rmatmul", "tensordot", "baddbmm", "grid_sample", "index_select", "gather",
    "take_along_dim", "sort", "msort", "argsort", "topk", "adjoint", "get", "fft_", "as_strided",
)  # fmt: skip
"""Operations that may keep a shape by chance while moving voxels about: their results are not followed."""

JOINS = ("cat", "concat", "concatenate")


class CellTracker(TorchFunctionMode):
    """Follows the cells of every tensor from the input on, while a forward runs inside it."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        rank = x.ndim - 2
        self._usual = tuple(range(2, x.ndim))
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._known[x] = Place(Cells((0.0,) * rank, (1.0,) * rank), self._usual)

    def of(self, tensor: Tensor) -> Cells | None:
        """The cells of a tensor (batch, channel, *space) that came by, or None where they are not known."""
        place = self.place(tensor)
        return place.cells if place is not None and place.axes == self._usual else None

    def known(self, tensor: Tensor) -> Place | None:
        """Where the values of a tensor lie, wherever its samples and channels stand."""
        place: Place | None = self._known.get(tensor)
        return place

    def place(self, tensor: Tensor) -> Place | None:
        """As `known`, if the first dimension is the batch and one or more are channels."""
        place = self.known(tensor)
        if place is None or tensor.ndim < len(place.axes) + 2:
            return None
        if place.axes == self._usual:
            return place if tensor.ndim == len(self._usual) + 2 else None
        return place if place.batch == 0 else None

    def keep(self, tensor: Tensor, place: Place | None) -> None:
        """Tell where the values of a tensor lie; None where that is not known."""
        if place is None:
            self._known.pop(tensor, None)
        else:
            self._known[tensor] = place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and derive the cells of its results."""
        call = Call.of(func, args, kwargs)
        sources = [(self.known(item), tuple(item.shape)) for item in call.tensors()]
        first = call.first
        told = None if first is None else (self.known(first), tuple(first.shape))
        out = func(*args, **(kwargs or {}))
        for result in out if isinstance(out, list | tuple) else [out]:
            if isinstance(result, Tensor) and any(place is not None for place, _ in sources):
                self.keep(result, self._carried(call, told, sources, tuple(result.shape)))
        return out

    def _carried(self, call: Call, first: "_Source | None", sources: "list[_Source]", result: Shape) -> Place | None:
        place, shape = first or (None, ())
        if call.name in JOINS and (row := lengthened(sources, int(call.at(1, "dim", call.kwargs.get("axis", 0))))):
            return row
        if call.name in MOVERS:
            return None if place is None else MOVERS[call.name](call, place, shape, result)
        reader = next((read for start, read in READERS.items() if call.name.startswith(start)), None)
        if reader is not None:
            if place is None or place.axes != self._usual or len(result) != len(shape):
                return None
            return Place(reader(place.cells, call, shape, result), self._usual, place.batch)
        return None if call.name.startswith(SHUFFLES) else _merged(sources, result)


_Source = tuple[Place | None, Shape]


def _merged(sources: list[_Source], result: Shape) -> Place | None:
    """Where the result of an operation voxel by voxel lies: amid its sources on the same cells."""
    alike = [(place, shape) for place, shape in sources if place is not None and len(shape) == len(result)]
    places = [place for place, shape in alike if place.sides(shape) == place.sides(result)]
    same = [place for place in places if _counted(place) == _counted(places[0])]
    if not same:
        return None
    # Paths that drifted (kernels padded on one side) meet one that did not: what is learnt there follows the latter.
    still = [place for place in same if _tiles_evenly(place.cells)] or same
    start = tuple(sum(starts) / len(still) for starts in zip(*(place.cells.start for place in still), strict=True))
    cells = Cells(start, same[0].cells.step, all(place.cells.measured for place in same))
    return Place(cells, same[0].axes, same[0].batch, same[0].grid, same[0].extra)


def _tiles_evenly(cells: Cells) -> bool:
    """Whether the first cell lies as the first of cells that cover the input without a gap."""
    return all(start == (step - 1) / 2 for start, step in zip(cells.start, cells.step, strict=True))


def _counted(place: Place) -> tuple[Any, ...]:
    return place.axes, place.cells.step, place.grid, place.extra
