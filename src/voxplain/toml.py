"""Plain tables as TOML text; the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def toml(table: Mapping[str, Any]) -> str:
    """A table of plain values, tables and lists of tables as TOML text."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and not _tables(value)}
    blocks = [_rows(plain)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            blocks.append(f"[{key}]\n{_rows(value)}")
        elif _tables(value):
            blocks += [f"[[{key}]]\n{_rows(item)}" for item in value]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _rows(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)  # TOML knows inf and nan where JSON does not
    return json.dumps(value, ensure_ascii=False)  # JSON's words for text, whole numbers and truth are TOML's too
