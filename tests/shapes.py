"""The checker the import hook applies to every function of the package: shapes only, in the annotations' own words."""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def only_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its jaxtyping annotations checked at every call.

    All others are the type checker's affair: a wrong kind must reach our own error, and beartype cannot read `Self`.
    The hook hands over throw-away functions made for the check, so changing their annotations touches nobody's code.
    """
    hints = {name: hint for name, hint in function.__annotations__.items() if _holds_a_shape(hint)}
    function.__annotations__ = hints
    return beartype(function) if hints else function


def _holds_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_holds_a_shape(part) for part in get_args(hint))
