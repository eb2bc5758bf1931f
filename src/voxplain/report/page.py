"""The page of a run folder: one HTML file that holds everything it shows and loads nothing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.colors import to_hex

from voxplain.data.certificate import MODEL
from voxplain.data.writing import written_beside
from voxplain.report.cards import CaseCard, case_card
from voxplain.report.contents import CaseEntry, Run, read_run
from voxplain.report.display import blend, scale
from voxplain.report.embed import SHEET_SHARE
from voxplain.report.facts import Facts, in_common, percent
from voxplain.report.panels import BAR_GREY
from voxplain.types import Quantity


@dataclass(frozen=True)
class Alert:
    """One line of the warnings on top."""

    label: str
    where: str
    text: str
    anchor: str = ""
    loud: bool = True


def write(run_folder: str | Path) -> Path:
    """Draw every map of a run folder into `figures/` and write `report/index.html`; returns the page's path.

    Reads only the run folder. What is missing or broken in it is said on the page; only a folder that is missing or
    cannot be written to is an error (FileError).
    """
    run = read_run(Path(run_folder))
    pictures = sum(_pictures(case) for case in run.cases)
    cases = [case_card(run, case, place, pictures) for place, case in enumerate(run.cases, start=1)]
    html = _environment().get_template("page.html").render(_context(run, cases))
    path = run.folder / "report" / "index.html"
    with written_beside(path) as beside:
        beside.write_text(html, encoding="utf-8")
    return path


def _pictures(case: CaseEntry) -> int:
    """How many pictures of a map's size a case puts on the page."""
    maps = Counter(entry.path.parent for entry in case.maps if entry.path is not None)
    return sum(count + (SHEET_SHARE if count > 1 else 0) for count in maps.values())


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("voxplain.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment


def _context(run: Run, cases: Sequence[CaseCard]) -> dict[str, Any]:
    """Everything the template is given."""
    cards = [card for case in cases for card in case.maps if card.picture]
    common = in_common(card.provenance for card in cards) if len(cards) > 1 else []
    return {
        "name": run.folder.resolve().name,
        "counts": _counts(cases),
        "warnings": [
            *_failures(cases),
            *(Alert("Missing", "", text) for text in run.missing),
            *_model_notices(cases),
            *_notices(cases),
        ],
        "cases": [_without(case, common) for case in cases],
        "labelled": any(case.label for case in cases),
        "methods": list(dict.fromkeys(card.method for card in cards)),
        "masked": any(card.share is not None for card in cards),
        "common": common,
        "plan": run.plan,
        "legend": {"signed": _gradient(Quantity.RELEVANCE), "unsigned": _gradient(Quantity.SALIENCY)},
    }


def _counts(cases: Sequence[CaseCard]) -> str:
    maps = [card for case in cases for card in case.maps]
    drawn = sum(card.picture is not None for card in maps)
    parts = [_plural(len(cases), "case"), _plural(drawn, "map")]
    parts += [f"{len(maps) - drawn} without a map"] if drawn < len(maps) else []
    left_out = sum(len(case.left_out) for case in cases)
    parts += [f"{left_out} left out"] if left_out else []
    return ", ".join(parts)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _failures(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    for case in cases:
        for card in case.maps:
            where = f"{case.identifier}: {card.method}"
            if card.problem:
                yield Alert("No map", where, card.problem, card.anchor)
            if card.failures:
                told = "; ".join(f"{check.name}: {check.sentence}" for check in card.failures)
                yield Alert("Check failed", where, told, card.anchor)


def _model_notices(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    """What was noticed about the model, such as random weights: it holds for every map and every prediction."""
    checks = (check for case in cases for card in case.maps for check in card.checks if check.name == MODEL)
    for sentence in dict.fromkeys(check.sentence for check in checks):
        yield Alert("Model", "", sentence, loud=False)


def _notices(cases: Sequence[CaseCard]) -> Iterator[Alert]:
    """What was noticed while reading, once a sentence: the same notice on all cases is one line."""
    found: dict[str, list[CaseCard]] = {}
    for case in cases:
        for notice in case.notices:
            found.setdefault(notice, []).append(case)
    for notice, concerned in found.items():
        first, rest = concerned[0], len(concerned) - 1
        where = first.identifier + (f" and {_plural(rest, 'more case')}" if rest else "")
        yield Alert("Notice", where, notice, first.anchor, loud=False)


def _without(case: CaseCard, common: Facts) -> CaseCard:
    """The case with the provenance that all maps share left to the end of the page."""
    maps = [replace(card, provenance=[pair for pair in card.provenance if pair not in common]) for card in case.maps]
    return replace(case, maps=maps)


def _gradient(quantity: Quantity) -> str:
    """The colours of a quantity as they look on dark tissue, for the legend."""
    values = np.linspace(-1 if quantity.signed else 0, 1, 17, dtype=np.float32)
    colours = blend(np.full(values.shape, BAR_GREY, dtype=np.float32), scale(values, quantity)(values))
    stops = ", ".join(to_hex(colour) for colour in colours.tolist())
    return f"linear-gradient(90deg, {stops})"
