"""Options given as one number or one number a spatial axis."""

from typing import TypeVar

from voxplain.errors import OptionError

Number = TypeVar("Number", int, float)


def listed(value: Number | tuple[Number, ...] | None) -> tuple[Number, ...]:
    """The numbers given; none where the option was left out."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def per_axis(value: Number | tuple[Number, ...], rank: int, option: str) -> tuple[Number, ...]:
    """One number an axis; `option` is how the error names it, such as 'rise: cells'."""
    numbers = listed(value)
    numbers = numbers * rank if len(numbers) == 1 else numbers
    if len(numbers) != rank:
        raise OptionError(f"{option} must have 1 or {rank} numbers for this image, got {len(numbers)}")
    return numbers
