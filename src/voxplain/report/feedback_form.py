"""The form that readers fill in: one HTML file with the pictures of a run, its maps blinded, and the key beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import torch
from markupsafe import Markup

from voxplain.data.image import Image
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError
from voxplain.report.contents import mapping, read_run
from voxplain.report.drawing import Stock, draw_tile
from voxplain.report.feedback_cases import Asked, arms, chosen_maps, key_case, patients, question
from voxplain.report.figures_runs import CaseMaps, case_names
from voxplain.report.figures_view import Shown, checked, laid, view
from voxplain.report.pages import environment
from voxplain.report.sheet import Ground
from voxplain.study.evaluate_maps import control
from voxplain.study.feedback import (
    ANSWERS,
    CAUSABILITY,
    ITEMS,
    LEVELS,
    Key,
    KeyCase,
    Question,
    run_hash,
    shuffled,
    write_key,
)
from voxplain.types import Quantity

PAGE = "feedback_form.html"

SIDE = 460.0
"""Units of a picture's longer side."""


@dataclass(frozen=True)
class MapPart:
    """One map of a case as the form shows it."""

    letter: str
    picture: Markup
    words: str
    """How its colours are read; the same for all maps of a kind."""


@dataclass(frozen=True)
class CasePart:
    """One case of the form."""

    number: int
    picture: Markup
    words: str
    """Which slice, window and sides."""
    says: str
    """The model's answer."""
    target: str
    """What the maps explain."""
    maps: tuple[MapPart, ...]


def write(run_folder: str | Path, out: str | Path, asked: Asked | None = None) -> tuple[Path, Path]:
    """Write the form and, beside it, its key (`form.key.json` for `form.html`); returns both paths.

    The form holds no method's name, no identifier of a case and nothing of a patient but the pictures. Raises FileError
    for a folder without cases and maps, InputError for methods, targets or planes that it does not have.
    """
    asked, page = asked or Asked(), Path(out)
    if page.suffix.lower() != ".html":
        raise FileError(f"form must be a file ending in .html, got {page.name!r}")
    run = read_run(Path(run_folder))
    names, source, people = case_names(run)[: asked.cases], run_hash(run.folder), patients(run)
    if not names:
        raise FileError(f"run folder {run.folder.name!r} must hold a case with an image and a map, got none")
    put = question(chosen_maps(run, names[0], asked), asked)
    pictures = sum(2 + len(case.maps) for case in run.cases if case.identifier in names)
    cases: list[KeyCase] = []
    parts: list[CasePart] = []
    for name in shuffled(names, source, asked.seed):
        found = chosen_maps(run, name, asked)
        _check_alike(names[0], found, put, asked)
        cases.append(key_case(found, people[name], put, asked, source))
        parts.append(_part(found, cases[-1], len(cases), asked, pictures))
    told = json_text([source, asdict(asked), asdict(put), [asdict(one) for one in cases]])
    form = hashlib.sha256(told.encode()).hexdigest()[:16]
    key = Key(form, source, put, asked.sham, asked.causability, tuple(cases))
    with written_beside(page) as beside:
        beside.write_text(_page(key, parts), encoding="utf-8")
    beside_it = page.with_name(f"{page.stem}.key.json")
    write_key(beside_it, key)
    return page, beside_it


def _check_alike(first: str, found: CaseMaps, put: Question, asked: Asked) -> None:
    if question(found, asked) != put:
        raise InputError(
            f"cases {first!r} and {found.identifier!r} must be read alike, but their models answer differently; "
            "pass --question and --answers for all"
        )


def _part(found: CaseMaps, case: KeyCase, number: int, asked: Asked, pictures: int) -> CasePart:
    """The pictures of a case: the image alone, and every map on the same slice."""
    shown = {arm: checked(found.image, Shown.of(one, "")) for arm, one in zip(arms(found), found.maps, strict=True)}
    # The sham has no say in where to look, and the mask neither: its place would be the answer.
    on = view(found.image, [*shown.values()], plane=asked.plane, channel=asked.channel)
    if asked.sham:
        shown[asked.sham] = _sham(found.image, found.identifier, asked.sham)
    words = f"Case {number}, the image alone"
    return CasePart(
        number,
        draw_tile(on.panel, None, words, Stock(pictures, f"case-{number}"), side=SIDE),
        " ".join(on.words),
        str(mapping(found.facts.get("prediction")).get("words") or "no answer was recorded"),
        found.maps[0].target_words or found.maps[0].target,
        tuple(_drawn(on, shown[arm], number, letter, pictures) for letter, arm in case.maps.items()),
    )


def _drawn(on: Ground, shown: Shown, number: int, letter: str, pictures: int) -> MapPart:
    panel = replace(on.panel, pixels=laid(on, shown.values, shown.scale))
    words = f"Case {number}, map {letter} over the image"
    # A stock of its own: colour bars of a picture that is hidden would not be drawn in another one.
    picture = draw_tile(panel, shown.scale, words, Stock(pictures, f"case-{number}-{letter}"), side=SIDE)
    return MapPart(letter, picture, _reading(shown))


def _reading(shown: Shown) -> str:
    if shown.scale.blank:
        return "This map has nothing to show: no colour is laid over the image."
    if not shown.quantity.signed:
        return "Dark violet is weak, yellow is strong. The map does not say for or against."
    if shown.derivative:
        return "Red to orange: a brighter place would raise the model's score; blue: it would lower it."
    return "Red to orange speaks for what was explained, blue against it."


def _sham(image: Image, case: str, name: str) -> Shown:
    """A map that no network was asked for."""
    values = image.values[..., 0] if image.grid.is_2d else image.values
    made = control(name, case)(torch.from_numpy(values)[None])[0, 0].numpy()
    return checked(image, Shown("", made, Quantity.SALIENCY))


def _page(key: Key, parts: Sequence[CasePart]) -> str:
    script = _script()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    context = {
        "policy": policy,
        "script": Markup(script),  # noqa: S704  our own file, which the policy names by its hash
        "schema": ANSWERS,
        "form": key.form,
        "question": key.question,
        "cases": parts,
        "items": ITEMS,
        "causability": CAUSABILITY if key.causability else (),
        "levels": range(1, LEVELS + 1),
    }
    return environment().get_template(PAGE).render(context)


@cache
def _script() -> str:
    return files("voxplain.report").joinpath("templates", "feedback_form.js").read_text(encoding="utf-8")
