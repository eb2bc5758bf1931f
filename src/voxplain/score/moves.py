"""How operations move the dimensions that count cells: permuting, reshaping, cutting, products, attention.

Reshaping keeps the order of values, so a dimension lives on where its length and the product of those after it do.
Dimensions that merge become a row of tokens; one that is split keeps the coarser part, the finer one is a channel.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from voxplain.score.call import Call
from voxplain.score.places import Cells, Place

Shape = tuple[int, ...]


def _permuted(call: Call, place: Place, shape: Shape, result: Shape) -> Place:
    return _reordered(place, [int(dim) % len(shape) for dim in call.rest("dims")])


def _reordered(place: Place, order: Sequence[int]) -> Place:
    """The place after dimension `order[n]` became dimension n."""
    batch = None if place.batch is None else order.index(place.batch)
    return replace(place, axes=tuple(order.index(axis) for axis in place.axes), batch=batch)


def _swapped(call: Call, place: Place, shape: Shape, result: Shape) -> Place:
    one, other = (int(call.at(n, f"dim{n - 1}", call.kwargs.get(f"axis{n - 1}"))) % len(shape) for n in (1, 2))
    order = list(range(len(shape)))
    order[one], order[other] = other, one
    return _reordered(place, order)


def _moved(call: Call, place: Place, shape: Shape, result: Shape) -> Place:
    given = (call.at(1, "source", 0), call.at(2, "destination", 0))
    sources, goals = (
        [int(dim) % len(shape) for dim in (part if isinstance(part, Sequence) else [part])] for part in given
    )
    order = [dim for dim in range(len(shape)) if dim not in sources]
    for goal, source in sorted(zip(goals, sources, strict=True)):
        order.insert(goal, source)
    return _reordered(place, order)


def _dims(given: Any, rank: int) -> list[int]:
    """One dimension or several, counted from the front."""
    return [int(dim) % rank for dim in (given if isinstance(given, Sequence) else [given])]


def _reshaped(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    batch = None if place.batch is None else _survivor(shape, place.batch, result, range(len(result)))
    if not place.grid:
        return _regrouped(replace(place, batch=batch), shape, result)
    (axis,) = place.axes
    kept = _survivor(shape, axis, result, range(len(result))[::-1])
    if kept is not None:
        return replace(place, axes=(kept,), batch=batch)
    if any(place.extra):
        return None
    axes = tuple(range(axis, axis + len(place.grid)))
    return _regrouped(Place(place.cells, axes, batch), (*shape[:axis], *place.grid, *shape[axis + 1 :]), result)


def _survivor(shape: Shape, axis: int, result: Shape, among: Sequence[int]) -> int | None:
    """The first dimension of a reshaped tensor `among` some that counts what `axis` counted before."""
    wanted = (shape[axis], prod(shape[axis + 1 :]))
    return next((dim for dim in among if (result[dim], prod(result[dim + 1 :])) == wanted), None)


def _regrouped(place: Place, shape: Shape, result: Shape) -> Place | None:
    """The place after a reshape of dimensions that count one axis each; `place.batch` is the new one already."""
    found: dict[int, tuple[int, int]] = {}
    limit = len(result)
    for axis in sorted(place.axes, reverse=True):
        kept = _survivor(shape, axis, result, range(limit)[::-1])
        found[axis] = (kept, 1) if kept is not None else _split(shape, axis, result, limit)
        limit = found[axis][0]
        if limit < 0:
            return _rowed(place, shape, result)
    axes, factors = zip(*(found[axis] for axis in place.axes), strict=True)
    return Place(_coarsened(place.cells, factors), axes, place.batch)


def _split(shape: Shape, axis: int, result: Shape, limit: int) -> tuple[int, int]:
    """The dimension of the coarser part of `axis` and the length of the finer one; -1 where it was not split in two."""
    after = prod(shape[axis + 1 :])
    for fine in range(1, limit):
        if prod(result[fine + 1 :]) == after and result[fine - 1] * result[fine] == shape[axis]:
            return fine - 1, result[fine]
    return -1, 1


def _coarsened(cells: Cells, factors: Sequence[int]) -> Cells:
    start = tuple(s + j * (f - 1) / 2 for s, j, f in zip(cells.start, cells.step, factors, strict=True))
    return Cells(start, tuple(j * f for j, f in zip(cells.step, factors, strict=True)), cells.measured)


def _rowed(place: Place, shape: Shape, result: Shape) -> Place | None:
    """The row of tokens that neighbouring dimensions were merged into."""
    first, last = place.axes[0], place.axes[-1]
    if place.axes != tuple(range(first, last + 1)):
        return None
    merged = (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])
    row = _survivor(merged, first, result, range(len(result))[::-1])
    return None if row is None else Place(place.cells, (row,), place.batch, shape[first : last + 1])


def _sliced(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    if not all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in index):
        return None
    if Ellipsis in index:
        before = index.index(Ellipsis)
        counted = sum(item is not None for item in index) - 1
        index = (*index[:before], *[slice(None)] * (len(shape) - counted), *index[before + 1 :])
    return _indexed(place, shape, index)


def _indexed(place: Place, shape: Shape, index: Sequence[Any]) -> Place | None:
    """The place after numbers, slices and new dimensions (None) were taken, one a dimension."""
    goes: dict[int, int] = {}
    dim = out = 0
    for item in index:
        if item is None or isinstance(item, slice):
            if item is not None:
                goes[dim] = out
                found = _cut(place, shape, dim, item)
                if found is None:
                    return None
                place = found
            out += 1
        dim += item is not None
    goes.update(zip(range(dim, len(shape)), range(out, out + len(shape) - dim), strict=True))
    if not all(axis in goes for axis in place.axes):
        return None
    batch = None if place.batch is None else goes.get(place.batch)
    return replace(place, axes=tuple(goes[axis] for axis in place.axes), batch=batch)


def _cut(place: Place, shape: Shape, dim: int, part: slice) -> Place | None:
    """The place after a slice of one dimension; None where it cuts into a row of tokens."""
    begin, end, hop = part.indices(shape[dim])
    if dim == place.batch and (begin, hop) != (0, 1):
        return replace(place, batch=None)
    if dim not in place.axes:
        return place
    if not place.grid:
        n, cells = place.axes.index(dim), place.cells
        start = cells.start[n] + begin * cells.step[n]
        starts, steps = (*cells.start[:n], start, *cells.start[n + 1 :]), list(cells.step)
        steps[n] *= hop
        return replace(place, cells=Cells(starts, tuple(steps), cells.measured))
    extra = (place.extra[0] - begin, end - place.extra[0] - prod(place.grid))
    return None if hop != 1 or min(extra) < 0 else replace(place, extra=extra)


def _whole(shape: Shape) -> list[Any]:
    return [slice(None)] * len(shape)


def _selected(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    index = _whole(shape)
    index[int(call.at(1, "dim", 0)) % len(shape)] = 0
    return _indexed(place, shape, index)


def _narrowed(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    index, start = _whole(shape), call.at(2, "start", 0)
    index[int(call.at(1, "dim", 0)) % len(shape)] = slice(start, start + call.at(3, "length", 0))
    return _indexed(place, shape, index)


def _unsqueezed(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    index = _whole(shape)
    index.insert(int(call.at(1, "dim", 0)) % (len(shape) + 1), None)
    return _indexed(place, shape, index)


def _squeezed(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    dims = _dims(call.at(1, "dim", range(len(shape))), len(shape))
    return _indexed(place, shape, [0 if n in dims and side == 1 else slice(None) for n, side in enumerate(shape)])


def _padded(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    """Padding in front moves the first cell out; it is told from the last dimension on."""
    amounts = [int(amount) for amount in call.at(1, "pad", ())]
    fronts = [amounts[2 * n] if 2 * n < len(amounts) else 0 for n in range(len(shape))][::-1]
    if place.grid:
        return place if shape[place.axes[0]] == result[place.axes[0]] and fronts[place.axes[0]] == 0 else None
    moved = zip(place.cells.start, place.cells.step, place.axes, strict=True)
    start = tuple(s - j * fronts[axis] for s, j, axis in moved)
    return replace(place, cells=Cells(start, place.cells.step, place.cells.measured))


def _multiplied(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    """Rows of a product are those of its first factor: a query keeps its place, whatever it attends to."""
    return None if len(shape) - 1 in place.axes or len(result) != len(shape) else place


def _contracted(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    """As for products, by the letters of the first factor."""
    factors, _, goal = str(call.args[0]).replace(" ", "").partition("->")
    letters = factors.split(",")[0]
    if "." in factors or not all(letters[axis] in goal for axis in place.axes):
        return None
    batch = None if place.batch is None or letters[place.batch] not in goal else goal.index(letters[place.batch])
    return replace(place, axes=tuple(goal.index(letters[axis]) for axis in place.axes), batch=batch)


def _attended(call: Call, place: Place, shape: Shape, result: Shape) -> Place | None:
    return place if result == shape else None


MOVERS = {
    "permute": _permuted,
    "transpose": _swapped,
    "swapaxes": _swapped,
    "swapdims": _swapped,
    "movedim": _moved,
    "moveaxis": _moved,
    "view": _reshaped,
    "reshape": _reshaped,
    "flatten": _reshaped,
    "unflatten": _reshaped,
    "getitem": _sliced,
    "select": _selected,
    "unbind": _selected,
    "narrow": _narrowed,
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    "pad": _padded,
    "constant_pad_nd": _padded,
    "linear": _multiplied,
    "matmul": _multiplied,
    "bmm": _multiplied,
    "einsum": _contracted,
    "scaled_dot_product_attention": _multiplied,
    "multi_head_attention_forward": _attended,
}
"""Operations that may move the cells to other dimensions, or cut pieces out."""


def lengthened(places: Sequence[tuple[Place | None, Shape]], dim: int) -> Place | None:
    """The row of tokens that tensors give when joined along it: one holds places, the others stand before and after."""
    rows = [n for n, (place, _) in enumerate(places) if place is not None]
    if len(rows) != 1:
        return None
    place, shape = places[rows[0]]
    if place is None or not place.grid or place.axes != (dim % len(shape),):
        return None
    lengths = [sides[dim] for _, sides in places]
    before, after = sum(lengths[: rows[0]]), sum(lengths[rows[0] + 1 :])
    return replace(place, extra=(place.extra[0] + before, place.extra[1] + after))
