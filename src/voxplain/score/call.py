"""An operation as it was called, for the modes that watch a forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Call:
    """The name and the arguments of one operation."""

    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> "Call":
        """The call of `func`; overloads, in-place and dunder spellings share a plain name."""
        return cls(getattr(func, "__name__", "").split(".")[0].strip("_"), args, kwargs or {})

    def tensors(self) -> Iterator[Tensor]:
        """Its tensors, those inside a list included."""
        for value in (*self.args, *self.kwargs.values()):
            several = value if isinstance(value, list | tuple) else [value]
            yield from (item for item in several if isinstance(item, Tensor))

    @property
    def first(self) -> Tensor | None:
        """The tensor it works on."""
        named = (self.kwargs[key] for key in ("input", "query") if key in self.kwargs)
        found: Tensor | None = next(named, None) if not self.args else None
        return next(self.tensors(), None) if found is None else found

    def at(self, place: int, name: str, default: Any) -> Any:
        """The argument of that name or place."""
        return self.kwargs[name] if name in self.kwargs else (self.args[place] if len(self.args) > place else default)

    def rest(self, name: str) -> tuple[Any, ...]:
        """What follows the first argument, given one by one or as a list."""
        rest = self.kwargs.get(name, self.args[1:])
        return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], list | tuple) else tuple(rest)
