"""The page of a comparison: how alike maps are, side by side with shared colour limits; it loads nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from voxplain.data.nifti import read_nifti
from voxplain.data.writing import written_beside
from voxplain.errors import FileError, InputError
from voxplain.report.contents import Run, read_run
from voxplain.report.evaluation_figures import draw_table
from voxplain.report.figures_matrix import matrix_from_run
from voxplain.report.figures_rows import draw_comparison, draw_methods
from voxplain.report.figures_runs import CaseMaps, case_maps, case_names
from voxplain.report.figures_view import Shown
from voxplain.report.pages import Picture, environment, pictured
from voxplain.study.compare import agreement_file, comparison_name
from voxplain.study.compare_words import KINDS, SHORT, pair_words, prediction_words
from voxplain.study.evaluate_words import p_words
from voxplain.study.plan import file_name
from voxplain.types import Quantity

TEMPLATE = "comparison.html"

COLUMNS = 4
"""Pictures in a row of methods."""

MOST_SIDE = 3
"""Cases with right and with wrong predictions that are drawn beside each other."""

Table = Mapping[str, Any]
Draw = Callable[[str, Figure, str], Picture]
"""A figure's name, the figure, and what it shows -> the figure as the page shows it."""


@dataclass(frozen=True)
class Block:
    """What was held against what, for one target."""

    title: str
    lines: Sequence[str]
    pictures: Sequence[Picture]


def write(run_folder: str | Path, against: str | Path | None = None, *, cases: int = 4) -> Path:
    """Write the page of a comparison into `report/` of a run folder, and the figures it shows; returns the page.

    It is called as `study.compare.comparison_name` says. The maps of so many `cases` are drawn side by side. Raises
    `FileError` where nothing was compared.
    """
    folder, name = Path(run_folder), comparison_name(run_folder, against)
    found = _found(folder, name)
    run, other = read_run(folder), None if against is None else read_run(Path(against))
    draw = partial(pictured, folder, name)
    blocks = [*_pairs(draw, folder, run, found, cases)]
    blocks += [*_models(draw, run, other, found, cases)] if other is not None else []
    blocks += [*_predictions(draw, folder, run, found)]
    context = {
        "name": folder.resolve().name,
        "files": name,
        "measures": [(SHORT[name], words) for name, words in found["measures"].items()],
        "blocks": blocks,
        "notes": found["notes"],
    }
    path = folder / "report" / f"{name}.html"
    with written_beside(path) as beside:
        beside.write_text(environment().get_template(TEMPLATE).render(context), encoding="utf-8")
    return path


def _found(folder: Path, name: str) -> Table:
    try:
        return dict(json.loads((folder / f"{name}.json").read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise FileError(f"{str(folder)!r} has no readable {name}.json; make it with: voxplain compare") from error


def _pairs(draw: Draw, folder: Path, run: Run, found: Table, cases: int) -> Iterator[Block]:
    """Methods against methods and layers against layers."""
    for kind in ("methods", "layers"):
        own = [one for one in found["pairs"] if one["kind"] == kind]
        for target in dict.fromkeys(one["target"] for one in own):
            pairs = [one for one in own if one["target"] == target]
            pictures = [*_matrices(draw, kind, target, pairs)]
            for name in case_names(run)[:cases]:
                pictures += _case(draw, folder, run, kind, name, target)
            yield Block(f"{KINDS[kind].capitalize()}: {target}", [*map(pair_words, pairs)], pictures)


def _matrices(draw: Draw, kind: str, target: str, pairs: Sequence[Table]) -> Iterator[Picture]:
    names = list(dict.fromkeys(one[side] for one in pairs for side in ("first", "second")))
    for measure, short in SHORT.items():
        table = np.full((len(names), len(names)), np.nan)
        np.fill_diagonal(table, 1.0)
        for one in pairs:
            place = names.index(one["first"]), names.index(one["second"])
            table[place] = table[place[::-1]] = np.nan if one[measure] is None else one[measure]["value"]
        told = "mean over patients; intervals stand in the list"
        picture = draw_table(table, names, names, title=f"{short}: {KINDS[kind]}", told=told, limits=(-1, 1))
        yield draw(f"{kind}-{file_name(target)}-{measure}", picture, f"{short} of all pairs")


def _case(draw: Draw, folder: Path, run: Run, kind: str, name: str, target: str) -> Iterator[Picture]:
    """The maps of one case side by side; of methods with where they agree, of layers with shared colour limits."""
    try:
        found = case_maps(run, name, target=target)
    except InputError:
        return  # a case of another target
    title = f"{name}: {found.maps[0].target_words or target}"
    if kind == "methods":
        picture = draw_methods(found.image, [*_first_layers(found), *_agreement(folder, name, target)], shared=True,
                               mask=found.mask, columns=COLUMNS, title=title)  # fmt: skip
    else:
        rows = {method: [Shown.of(one, one.layer) for one in found.of_method(method)] for method in _layered(found)}
        width = min(map(len, rows.values()))
        picture = draw_comparison(found.image, {key: one[:width] for key, one in rows.items()}, title=title)
    yield draw(f"{kind}-{file_name(name)}-{file_name(target)}", picture, f"{kind} of case {name}")


def _first_layers(found: CaseMaps) -> list[Shown]:
    first = {one.method: one for one in reversed(found.maps)}
    return [Shown.of(first[name]) for name in dict.fromkeys(one.method for one in found.maps)]


def _layered(found: CaseMaps) -> list[str]:
    names = [one.method.partition("(")[0] for one in found.maps]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _agreement(folder: Path, case: str, target: str) -> Iterator[Shown]:
    file = agreement_file(folder, case, target)
    if file.is_file() and file.resolve().is_relative_to(folder.resolve()):
        yield Shown("agreement", read_nifti(file).values[0], Quantity.MASK, "share of the methods that point here")


def _models(draw: Draw, run: Run, other: Run, found: Table, cases: int) -> Iterator[Block]:
    """The same method of both models: what the numbers say, and the maps with the limits of a row shared."""
    told, own = found["against"], [one for one in found["pairs"] if one["kind"] == "models"]
    lines = [f"First {told['first']}, second {told['second']}.", *map(pair_words, own)]
    for one in told["metrics"]:
        ends = "" if one["low"] is None else f" (95 % {one['low']:.3g} to {one['high']:.3g})"
        difference = f"{one['metric']} of {one['method']}: first less second {one['difference']:.3g}{ends}"
        lines.append(f"{difference}, p {p_words(one['p_holm'])}")
    pictures = [one for name in case_names(run)[:cases] for one in _both(draw, run, other, name)]
    yield Block("The two models", lines, pictures)


def _both(draw: Draw, run: Run, other: Run, name: str) -> Iterator[Picture]:
    if name not in case_names(other):
        return
    ours = case_maps(run, name)
    try:
        theirs = case_maps(other, name, target=ours.maps[0].target)
    except InputError:
        return
    rows = {}
    for one in _first_layers(ours):
        same = [there for there in _first_layers(theirs) if there.name.partition(",")[0] == one.name.partition(",")[0]]
        if same:
            rows[one.name] = [replace(one, name="first model"), replace(same[0], name="second model")]
    if rows:
        said = [f"{side}: {one.predicted or 'no class'}" for side, one in (("first", ours), ("second", theirs))]
        title = f"{name}, left the first model, right the second; predicted {', '.join(said)}"
        words = f"maps of both models for case {name}"
        yield draw(f"models-{file_name(name)}", draw_comparison(ours.image, rows, title=title), words)


def _predictions(draw: Draw, folder: Path, run: Run, found: Table) -> Iterator[Block]:
    """Right against wrong predictions."""
    if not found["predictions"]:
        return
    chosen: list[str] = []
    for side in (True, False):
        chosen += [name for name in case_names(run) if found["right"].get(name) is side][:MOST_SIDE]
    picture: Figure = matrix_from_run(folder, chosen, title="right predictions, then wrong ones (red)", shared=True)
    shown = [draw("right-and-wrong", picture, "maps of right and of wrong predictions")]
    yield Block("Right against wrong predictions", [*map(prediction_words, found["predictions"])], shown)
