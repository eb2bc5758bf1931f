"""The page of a run folder: one HTML file that holds everything it shows and loads nothing, and JSON beside it."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError
from voxplain.report.atlas import Atlas
from voxplain.report.cards import CaseCard, MapCard
from voxplain.report.casework import Desk, case_card
from voxplain.report.citing import citations
from voxplain.report.contents import Run, read_run
from voxplain.report.display import blend, scale
from voxplain.report.document import document
from voxplain.report.drawing import Stock
from voxplain.report.facts import Facts, in_common
from voxplain.report.measured import Measure, read_measures
from voxplain.report.pages import environment
from voxplain.report.panels import BAR_GREY
from voxplain.report.scorecard import CITATION, scorecard
from voxplain.report.summary import alerts, counts, tally
from voxplain.report.volumes import Block, volumes_block
from voxplain.types import Quantity

MOST_FIGURES = 40
"""Runs of more maps get no pictures in `figures/`: drawing those takes twenty times as long as the page."""

MOST_WORKERS = 4
"""Cases that are worked on at the same time; each holds its image and one map in memory."""

BESIDE = (("evaluation", "Every metric with tests and figures"), ("comparison", "Maps held against each other"))
"""Pages that may lie beside this one, and what they show; behind a hyphen stands what a comparison was made with."""


@dataclass(frozen=True)
class Written:
    """What a report left in the run folder."""

    page: Path
    json: Path
    missing: tuple[str, ...]
    """What should be in the folder but is not, or cannot be read, in sentences."""


def write(run_folder: str | Path, *, atlas: Atlas | None = None) -> Path:
    """Write `report/index.html` and `report/report.json` of a run folder; returns the page's path.

    Draws every map into `figures/`, too, where there are no more than `MOST_FIGURES`. Reads only the run folder; an
    `atlas` names the structures where maps are strongest. What is missing or broken is said on the page; only a folder
    that is missing, holds nothing to report, or cannot be written to is an error (FileError).
    """
    return write_all(run_folder, atlas=atlas).page


def write_all(run_folder: str | Path, *, atlas: Atlas | None = None) -> Written:
    """As `write`, and tells where page and JSON are and what was missing."""
    run = read_run(Path(run_folder))
    if run.empty:
        told = f" ({'; '.join(run.missing)})" if run.missing else ""
        raise FileError(f"run folder {run.folder.name!r} must hold a case or a map to report on, got neither{told}")
    missing = list(run.missing)
    measures = read_measures(run.folder, missing)
    cases, problems, volumes = _made(run, atlas, measures)
    missing = list(dict.fromkeys([*missing, *problems]))
    context = _context(run, cases, measures, missing, volumes)
    report = run.folder / "report"
    _write(report / "index.html", environment().get_template("page.html").render(context))
    _write(report / "report.json", json_text(document(context), indent=1) + "\n")
    return Written(report / "index.html", report / "report.json", tuple(missing))


def _made(run: Run, atlas: Atlas | None, measures: Sequence[Measure]) -> tuple[list[CaseCard], list[str], Block]:
    """The cards of all cases, what could not be read for them, and the interactive images."""
    keeps = sum(entry.path is not None for case in run.cases for entry in case.maps) <= MOST_FIGURES
    pictures = _pictures(run)
    desks = [
        Desk(run, Stock(pictures, f"case-{place}"), atlas, keeps, measures) for place in range(1, len(run.cases) + 1)
    ]
    # Reading and packing leave Python's lock free, so threads help; matplotlib's settings belong to one thread.
    with ThreadPoolExecutor(1 if keeps else min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
        volumes = pool.submit(volumes_block, run)
        cards = list(pool.map(case_card, desks, run.cases, range(len(run.cases))))
    return cards, [problem for desk in desks for problem in desk.problems], volumes.result()


def _write(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _pictures(run: Run) -> int:
    """How many pictures the page will hold, as many as its planes and small pictures."""
    count = 0
    for case in run.cases:
        maps = sum(entry.path is not None for entry in case.maps)
        planes = 1 if case.image is None or case.image.grid.is_2d else 6
        count += 2 + maps * (planes + (planes > 1))
    return count


def _context(
    run: Run, cases: Sequence[CaseCard], measures: Sequence[Measure], missing: Sequence[str], volumes: Block
) -> dict[str, Any]:
    """Everything the template is given."""
    cards = [card for case in cases for card in case.drawn]
    common = in_common(card.provenance for card in cards) if len(cards) > 1 else []
    return {
        "name": run.folder.resolve().name,
        "counts": counts(cases),
        "missing": missing,
        "warnings": alerts(cases),
        "cases": [_without(case, common) for case in cases],
        "labelled": any(case.label for case in cases),
        "masked": any(card.share is not None for card in cards),
        "anatomy": any(card.spot.anatomy for card in cards),
        "common": common,
        "plan": run.plan,
        "legend": {"signed": _gradient(Quantity.RELEVANCE), "unsigned": _gradient(Quantity.SALIENCY)},
        "volumes": volumes.markup,
        "policy": volumes.policy,
        "measures": [one for one in measures if not one.case],
        "beside": [*_beside(run.folder / "report")],
        "per_case": any(one.case for one in measures),
        "scorecard": scorecard(tally(cases), measures),
        "citations": _citations(cards, measures),
    }


def _beside(folder: Path) -> Iterator[tuple[str, str]]:
    """Pages of a report's folder and what they show."""
    for name, words in BESIDE:
        for path in sorted(folder.glob(f"{name}*.html")):
            other = path.stem.removeprefix(name).removeprefix("-")
            yield path.name, f"{words}, and against {other}" if other else words


def _citations(cards: Sequence[MapCard], measures: Sequence[Measure]) -> list[tuple[str, str]]:
    methods, metrics = (card.method for card in cards), (one.metric for one in measures)
    guidelines = ("Clinical XAI Guidelines", CITATION)
    return [*citations(dict.fromkeys(methods), dict.fromkeys(metrics)), guidelines]


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
