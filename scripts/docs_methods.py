"""Writes docs/methods.md from the tables of methods and targets; `--check` only says whether it is up to date."""

import inspect
import sys
from pathlib import Path

from voxplain.methods import METHODS, Method
from voxplain.score.target import TARGETS, Target
from voxplain.spec import schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
INTRODUCTION = """# Methods and targets

Written by `make docs` from the tables; `voxplain methods` and `voxplain targets` print the same.

The cost is in forwards of one image; a backward to the input costs as much as a forward.

| method | needs | its numbers are | law | forwards |
|---|---|---|---|---|
"""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; the exit code."""
    text = page()
    if "--check" in arguments:
        fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print("methods page: up to date" if fresh else "docs/methods.md must match the tables; run make docs")
        return 0 if fresh else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """The whole page."""
    rows = "".join(
        f"| [`{name}`](#{name}) | {cls.access.words} | {cls.quantity} | {cls.law} | {cls.cost} |\n"
        for name, cls in sorted(METHODS.items())
    )
    methods = "\n".join(method_entry(name, cls) for name, cls in sorted(METHODS.items()))
    targets = "\n".join(entry(name, cls) for name, cls in TARGETS.items())
    return f"{INTRODUCTION}{rows}\n{methods}\n# Targets\n\n{targets}"


def method_entry(name: str, cls: type[Method]) -> str:
    """A method: what it says, its options, where it comes from."""
    return f"{entry(name, cls)}\n{cls.title}: {cls.citation}.\n"


def entry(name: str, cls: type[Method] | type[Target]) -> str:
    """The class's own text and a table of its options."""
    text = f"## {name}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n"
    options = schema(cls)
    if not options:
        return text
    rows = "".join(
        f"| `{option['name']}` | {option['type']} | {shown(option)} | {option['help']} |\n" for option in options
    )
    return f"{text}\n| option | is | default | |\n|---|---|---|---|\n{rows}"


def shown(option: dict[str, object]) -> str:
    """The default as one would type it."""
    if option["required"]:
        return "must be given"
    return "" if option["default"] is None else f"`{option['default']!r}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
