"""One operation of a forward pass that was written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from voxplain.score.operation import replaced, tensors_in


@dataclass(frozen=True)
class Ref:
    """Where a followed value stood among the arguments of an operation."""

    number: int


@dataclass(eq=False)
class Step:
    """One operation; in-place forms stand as those that return a new tensor."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    inputs: tuple[int, ...]
    """Numbers of the followed values it reads, in the order of its arguments."""
    shapes: tuple[tuple[int, ...], ...]
    """Their clean shapes."""
    outputs: tuple[int, ...] = ()
    """Numbers of the values it gives."""
    result_shapes: tuple[tuple[int, ...], ...] = ()
    single: bool = True
    """True where it returns one tensor and not several."""
    shows: bool = False
    """True where a result is another view of an input."""

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """The argument of that place or name."""
        return self.arguments[place] if len(self.arguments) > place else self.options.get(name, default)

    def run(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Its results for other values of the followed inputs, in the order of `inputs`."""
        held = dict(zip(self.inputs, values, strict=True))
        place = lambda ref: held[ref.number]  # noqa: E731
        given = self.function(*replaced(self.arguments, Ref, place), **replaced(dict(self.options), Ref, place))
        return [given] if self.single else list(tensors_in(given))
