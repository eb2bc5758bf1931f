"""Which tensor of a model's output is meant: one of a tuple, list or dict, by key, index or dotted path."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from voxplain.errors import InputError, shortened


def pick(output: Any, path: str | None) -> Tensor:
    """The tensor at `path` ('0', 'logits', 'out.0'), or the only tensor there is.

    Raises `InputError` naming the choices where there are several and none was named.
    """
    choices = dict(tensors(output))
    if path is not None:
        if path in choices:
            return choices[path]
        raise InputError(f"the model has no output {path!r}; {_menu(choices)}")
    if len(choices) == 1:
        return next(iter(choices.values()))
    if not choices:
        raise InputError(f"the model must return a tensor, got {type(output).__name__}")
    raise InputError(f"the model returns {len(choices)} outputs; {_menu(choices)} with --output (output= in Python)")


def tensors(output: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside an output with its dotted path; the path of a bare tensor is ''."""
    if isinstance(output, Tensor):
        yield path, output
    for key, value in _parts(output):
        yield from tensors(value, f"{path}.{key}" if path else str(key))


def _parts(output: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif hasattr(output, "_fields"):  # a named tuple answers to its names
        yield from zip(output._fields, output, strict=True)
    elif isinstance(output, list | tuple):
        yield from enumerate(output)
    elif is_dataclass(output) and not isinstance(output, type):
        yield from ((spec.name, getattr(output, spec.name)) for spec in fields(output))


def _menu(choices: Mapping[str, Tensor]) -> str:
    named = [f"{name!r} {tuple(value.shape)}" for name, value in choices.items() if name]
    return f"choose one of {shortened(named)}" if named else "it returns one tensor, so leave the output out"
