"""Recipes as files: those shipped with the package and a user's own, in two sizes, with single options changed."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxplain.errors import FileError, OptionError, unknown
from voxplain.training.recipe import Recipe

FOLDER = Path(__file__).parent / "recipes"

SIZES = ("small", "paper")
"""small: minutes on two cores; paper: the sources' own sizes."""

TABLES = ("data", "paper")
"""Tables of a recipe that change it: on data that are given (at size small), and at size paper."""


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(
    source: str, size: str = "small", settings: Mapping[str, Any] | None = None, *, with_data: bool = False
) -> Recipe:
    """The recipe of a name or TOML file, in a size, with `settings` on top: {'epochs': 3, 'prepare': {'scale': 1.0}}.

    Its table [paper] is what the size paper changes, its table [data] what given data change at size small. Raises
    `FileError` for an unreadable file, `OptionError` for unknown names, sizes and options.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    table = _table(source)
    extra = {name: table.pop(name, {}) for name in TABLES}
    if size == "paper" and not extra["paper"]:
        raise OptionError(f"recipe {source!r} has no table [paper]; leave --size out")
    chosen = "paper" if size == "paper" else "data"
    if size == "paper" or with_data:
        table = merged(table, _without(extra[chosen]))
    return Recipe.of(merged(table, settings or {}))


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """Options such as 'epochs=3' or 'prepare.size=[64, 64]' as one table; later ones win."""
    table: dict[str, Any] = {}
    for text in texts:
        table = merged(table, _setting(text), keep_none=True)
    return table


def _table(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.suffix != ".toml":
        if source not in recipe_names():
            raise unknown("recipe", source, recipe_names())
        path = FOLDER / f"{source}.toml"
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"cannot read recipe {path.name!r}: {error.strerror}") from error
    except ValueError as error:
        raise FileError(f"recipe {path.name!r} must be a TOML file, got an error at: {error}") from error


def merged(table: Mapping[str, Any], over: Mapping[str, Any], *, keep_none: bool = False) -> dict[str, Any]:
    """`over` on top of `table`, table by table; None takes an option away, or is kept to do so later."""
    both = dict(table)
    for key, value in over.items():
        inside = both.get(key)
        if isinstance(inside, Mapping) and isinstance(value, Mapping):
            both[key] = merged(inside, value, keep_none=keep_none)
        else:
            both[key] = value
    return both if keep_none else {key: value for key, value in both.items() if value is not None}


def _without(table: Mapping[str, Any]) -> dict[str, Any]:
    """A file's table with None, which TOML has no word for, where it says 'none'."""
    return {
        key: _without(value) if isinstance(value, Mapping) else None if value == "none" else value
        for key, value in table.items()
    }


def _setting(setting: str) -> dict[str, Any]:
    """'prepare.size=[64, 64]' as {'prepare': {'size': [64, 64]}}."""
    key, equals, raw = setting.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise OptionError(f"--set must read like key=value, got {setting!r}")
    table: dict[str, Any] = {parts[-1]: _value(raw.strip())}
    for part in reversed(parts[:-1]):
        table = {part: table}
    return table


def _value(raw: str) -> Any:
    """TOML where it is TOML; 'none' takes an option away; anything else is text."""
    if raw.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[raw.lower()]
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
