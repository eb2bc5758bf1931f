"""`voxplain methods | targets | models | metrics | phantoms`: what there is, with options and help, as text or JSON."""

import argparse
import inspect
import json
from collections.abc import Callable
from typing import Any


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of one listing."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(chosen: argparse.Namespace) -> int:
    """Print the listing."""
    entries = LISTINGS[chosen.command]()
    if chosen.json:
        print(json.dumps(entries, indent=1))
    else:
        print("\n".join(map(_paragraph, entries)))
    return 0


def _methods() -> list[dict[str, Any]]:
    from voxplain.methods import table

    return [
        {
            **_entry(name, cls),
            "title": cls.title,
            "access": cls.access.words,
            "needs_reference": cls.needs_reference,
            "quantity": str(cls.quantity),
            "law": cls.law,
            "forwards": cls.cost,
            "citation": cls.citation,
        }
        for name, cls in table().items()
    ]


def _targets() -> list[dict[str, Any]]:
    from voxplain.score.target import TARGETS

    return [{**_entry(name, cls), "unit": cls.unit_words} for name, cls in TARGETS.items()]


def _metrics() -> list[dict[str, Any]]:
    from voxplain.metrics import table

    return [
        {
            **_entry(name, cls),
            "title": cls.title,
            "needs": str(cls.need),
            "better": cls.better,
            "bounds": list(cls.bounds),
            "range": _range(*cls.bounds),
            "citation": cls.citation,
        }
        for name, cls in table().items()
    ]


def _range(least: float | None, most: float | None) -> str:
    """Bounds in words."""
    if least is None or most is None:
        return "any number" if least is None else f"at least {least:g}"
    return f"{least:g} to {most:g}"


def _phantoms() -> list[dict[str, Any]]:
    from voxplain.phantoms import table

    return [{**_entry(name, cls), "title": cls.title, "mask": list(cls.mask_labels)} for name, cls in table().items()]


def _models() -> list[dict[str, Any]]:
    from voxplain.score.networks import NETWORKS
    from voxplain.score.shipped import facts, shipped

    named = [
        {"name": name, "says": _first_line(build), "options": _parameters(build)} for name, build in NETWORKS.items()
    ]
    return [*named, *(_trained(name, facts(name)) for name in shipped())]


def _trained(name: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A network that comes with weights: what it does, how well on the phantoms of its test set, and its command."""
    told = {key: facts[key] for key in ("task", "network", "class_names", "scores", "command")}
    says = f"Trained on phantoms alone, to try things out, never for patients: {facts['recipe']['title']}."
    return {"name": name, "says": says, "options": [], "trained": True, **told}


LISTINGS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "methods": _methods,
    "targets": _targets,
    "models": _models,
    "metrics": _metrics,
    "phantoms": _phantoms,
}


TOLD = (
    "access", "quantity", "law", "forwards", "needs", "better", "range", "unit", "citation", "task", "network",
    "class_names", "scores", "command",
)  # fmt: skip
"""What a paragraph says of an entry besides its first line and its options."""


def _entry(name: str, cls: type) -> dict[str, Any]:
    from voxplain.spec import schema

    return {"name": name, "says": _first_line(cls), "options": schema(cls)}


def _parameters(build: Callable[..., Any]) -> list[dict[str, Any]]:
    return [
        {"name": one.name, "default": None if one.default is one.empty else one.default, "help": ""}
        for one in inspect.signature(build).parameters.values()
    ]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _words(value: Any) -> str:
    """Lists by commas, tables as names and numbers."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {one:.4g}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _paragraph(entry: dict[str, Any]) -> str:
    told = [f"{key.replace('_', ' ')}: {_words(entry[key])}" for key in TOLD if entry.get(key)]
    options = [f"    {one['name']}={one['default']!r}  {one['help']}".rstrip() for one in entry["options"]]
    return "\n".join([entry["name"], f"  {entry['says']}", *(f"  {line}" for line in told), *options, ""])
