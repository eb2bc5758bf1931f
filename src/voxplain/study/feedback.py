"""What readers are asked about maps, in which blinded order, and the key that says what the letters stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal

import numpy as np

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.study.statistics import Better

KEY, ANSWERS = "voxplain-feedback-key/1", "voxplain-feedback-answers/1"
"""Names and versions of the two files; a version grows when an entry changes its meaning."""

LEVELS = 5
"""Every item is answered from 1 to 5."""

CAUSABILITY_CITATION = (
    "Holzinger, Carrington, Müller, Measuring the quality of explanations: the System Causability Scale, "
    "KI - Künstliche Intelligenz 34, 2020, in words of our own"
)

When = Literal["before", "after"]


@dataclass(frozen=True)
class Item:
    """One statement about a map."""

    name: str
    words: str
    better: Better = "higher"
    ends: tuple[str, str] = ("strongly disagree", "strongly agree")
    """What 1 and 5 mean."""


ITEMS = (
    Item("location", "What the map marks is a plausible reason for the model's answer."),
    Item("completeness", "The map marks everything that matters."),
    Item("clarity", "The map is clear and easy to read."),
    Item("distraction", "Irrelevant regions in the map distract me.", "lower"),
    Item("agreement", "The map agrees with my own reading."),
    Item("trust", "Having seen this map, I trust the model's answer less or more.", ends=("much less", "much more")),
    Item("usefulness", "This map would help me to write the report."),
)

CAUSABILITY = (
    Item("factors", "The images held all causes that I know to matter, in enough detail."),
    Item("understood", "I understood the explanations in the context of my work."),
    Item("detail", "I could change how much detail was shown."),
    Item("support", "I needed no help to understand the explanations."),
    Item("causality", "The explanations helped me to understand causes."),
    Item("knowledge", "I could use the explanations together with what I know."),
    Item("consistency", "I found no contradictions between explanations."),
    Item("learning", "Most people would learn quickly to understand the explanations."),
    Item("references", "I needed no further references in the explanations, such as guidelines."),
    Item("efficiency", "I was given the explanations in time and without detours."),
)
"""The ten items of the System Causability Scale in its order; all are worded so that 5 is good."""


@dataclass(frozen=True)
class Question:
    """What readers say about an image themselves."""

    words: str
    answers: tuple[str, ...]
    """What they choose from; empty where they give a number."""


@dataclass(frozen=True)
class KeyCase:
    """One case of a form, as only the study's owner may see it."""

    case: str
    """Its identifier in the run folder."""
    patient: str
    model: float | None
    """The model's answer: the place among the question's answers, or its number; None where it is none of them."""
    truth: float | None
    """The same of the case's label."""
    maps: Mapping[str, str]
    """Letter -> method, in the order in which they are shown."""


@dataclass(frozen=True)
class Key:
    """What the numbers and letters of one form stand for."""

    form: str
    """The form's identifier, which its answers name."""
    run: str
    """Hash of the run that was rated: forms of one run may be collected together."""
    question: Question
    sham: str
    """The control shown among the maps, '' for none."""
    causability: bool
    """Whether the form ends with the System Causability Scale."""
    cases: tuple[KeyCase, ...]
    """In the order in which they are shown; the form counts them from 1."""


def run_hash(folder: Path) -> str:
    """SHA-256 of a run's plan and rows."""
    digest = sha256()
    for name in ("plan.toml", "rows.jsonl"):
        file = folder / name
        digest.update(file.read_bytes() if file.is_file() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def shuffled(things: Sequence[str], *told: object) -> tuple[str, ...]:
    """The things in an order that follows from what is `told`: a seed and whatever else sets this order apart."""
    seed = int.from_bytes(sha256(repr(told).encode()).digest()[:8], "big")
    order = np.random.default_rng(seed).permutation(len(things))
    return tuple(things[place] for place in order)


def lettered(methods: Sequence[str], *told: object) -> dict[str, str]:
    """Letter -> method for the methods of a case in `shuffled` order; raises InputError for more than 26."""
    if len(methods) > len(ascii_uppercase):
        raise InputError(f"maps of a case must be at most {len(ascii_uppercase)} for a reader, got {len(methods)}")
    return dict(zip(ascii_uppercase, shuffled(methods, *told), strict=False))


def write_key(path: Path, key: Key) -> None:
    """Write the key as JSON."""
    with written_beside(path) as beside:
        beside.write_text(json_text({"schema": KEY, **asdict(key)}, indent=1) + "\n", encoding="utf-8")


def read_key(path: Path) -> Key:
    """A key as `write_key` left it; raises FileError where the file is missing or none."""
    told = read_told(path, KEY, "key")
    try:
        question = Question(told["question"]["words"], tuple(told["question"]["answers"]))
        cases = tuple(KeyCase(**one) for one in told["cases"])
        return Key(**{**told, "question": question, "cases": cases})
    except (KeyError, TypeError) as error:
        raise FileError(f"key {path.name!r} must be as voxplain feedback form wrote it, got: {error}") from error


def read_told(path: Path, schema: str, what: str) -> dict[str, Any]:
    """A JSON object of a schema, without the schema's name; raises FileError for anything else."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileError(f"{what} {path.name!r} must be a readable JSON file, got: {why}") from error
    if not isinstance(told, dict) or told.get("schema") != schema:
        got = told.get("schema") if isinstance(told, dict) else type(told).__name__
        raise FileError(f"{what} {path.name!r} must be of {schema}, got {got!r}")
    return {name: value for name, value in told.items() if name != "schema"}
