"""What readers said of maps, as a page with a table and JSON beside it; the page loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxplain.data.writing import json_text, written_beside
from voxplain.report.feedback_figures import draw_ratings
from voxplain.report.pages import Picture, environment, pictured
from voxplain.study.feedback import CAUSABILITY_CITATION, read_key
from voxplain.study.feedback_answers import Collected, collected, write_csv
from voxplain.study.feedback_summary import summary
from voxplain.study.feedback_words import (
    agreement_words,
    attention_words,
    estimate_words,
    item_words,
    missing_words,
    reading_words,
    size_words,
)

PAGE = "feedback.html"
FOLDER = "feedback"
"""Below the figures."""


@dataclass(frozen=True)
class Written:
    """What collected answers became."""

    page: Path
    summary: Mapping[str, Any]


def collect(answers: Sequence[str | Path], keys: Sequence[str | Path], out: str | Path) -> Written:
    """Read the answers to forms of one run by their keys, and `write` what they add up to into the folder `out`.

    Raises FileError and InputError as `study.feedback_answers.collected` does, before anything is written.
    """
    return write(collected([Path(one) for one in answers], [read_key(Path(one)) for one in keys]), out)


def write(found: Collected, out: str | Path) -> Written:
    """Write `feedback.html`, `feedback.csv`, `feedback.json` and figures into a folder; returns page and summary."""
    folder, told = Path(out), summary(found)
    rated = [one for one in told["items"] if one["means"]]
    write_csv(folder / "feedback.csv", found.told)
    with written_beside(folder / "feedback.json") as beside:
        beside.write_text(json_text(told, indent=1) + "\n", encoding="utf-8")
    context = {
        "size": size_words(told),
        "found": told,
        "missing": missing_words(found.missing),
        "picture": _picture(folder, rated),
        "items": [{**one, "rows": [_row(mean) for mean in one["means"]], "said": item_words(one)} for one in rated],
        "agreement": [*agreement_words(told)],
        "readings": [reading_words(one) for one in told["readings"]],
        "attention": [attention_words(one) for one in told["attention"]],
        "citation": CAUSABILITY_CITATION,
    }
    page = folder / PAGE
    with written_beside(page) as beside:
        beside.write_text(environment().get_template(PAGE).render(context), encoding="utf-8")
    return Written(page, told)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    rank = "" if one["mean_rank"] is None else f"{one['mean_rank']:.2f}"
    return {**one, "told": estimate_words(one), "rank": rank}


def _picture(folder: Path, items: list[Mapping[str, Any]]) -> Picture | None:
    if not items:
        return None
    words = "how often each method got which rating; the numbers stand in the tables below"
    return pictured(folder, FOLDER, "ratings", draw_ratings(items, title="Ratings by readers"), words)
