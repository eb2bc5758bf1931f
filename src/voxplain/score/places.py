"""Where the values of a tensor lie in the input: its cells, and the dimensions of the tensor that count them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod


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
class Place:
    """The cells of one tensor, and which of its dimensions count them."""

    cells: Cells
    axes: tuple[int, ...]
    """The dimension of each spatial axis; a single one where it holds a row of tokens."""
    batch: int | None = 0
    """The dimension of the samples; None where it was mixed with others."""
    grid: tuple[int, ...] = ()
    """Cells an axis, where one dimension holds them row by row as tokens; empty elsewhere."""
    extra: tuple[int, int] = (0, 0)
    """Tokens without a place (class, distillation, register) before and after those of the grid."""

    @property
    def tokens(self) -> int:
        """Length of the dimension that holds a row of tokens, those without a place included."""
        return prod(self.grid) + sum(self.extra)

    def sides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The lengths of a shape along the spatial axes; none of them where it has too few dimensions."""
        return tuple(shape[axis] for axis in self.axes) if max(self.axes) < len(shape) else ()
