"""The page of an audit: a verdict per check, what it rests on, and which methods to trust; it loads nothing."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxplain.data.writing import written_beside
from voxplain.errors import FileError
from voxplain.report.audit_figures import draw_clusters, draw_falls, draw_findings
from voxplain.report.display import number
from voxplain.report.pages import Picture, environment, pictured
from voxplain.study.audit import RESULT
from voxplain.study.audit_verdict import Finding, Verdict, interval_words

PAGE = "audit.html"
FOLDER = "audit"
"""Below the figures."""

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One check on the page."""

    anchor: str
    verdict: Verdict
    number: str
    """The finding that decides, with its interval."""
    rows: Sequence[tuple[Finding, str]]
    figures: Sequence[Picture]


def write(folder: str | Path) -> Path:
    """Write `report/audit.html` and the figures it shows, from `audit.json`; returns the page.

    Raises `FileError` where there is no finished audit.
    """
    folder = Path(folder)
    found = _found(folder)
    verdicts = [Verdict.from_table(one) for one in found["verdicts"]]
    context = {
        "name": folder.resolve().name,
        "model": _model(folder),
        "sections": [_section(folder, one) for one in verdicts],
        "advice": found["recommendation"],
        "answers": [(name, _accuracy(one)) for name, one in found["answers"].items()],
        "failed": found["failed"],
    }
    path = folder / "report" / PAGE
    with written_beside(path) as beside:
        beside.write_text(environment().get_template(PAGE).render(context), encoding="utf-8")
    return path


def _found(folder: Path) -> Table:
    try:
        return dict(json.loads((folder / RESULT).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise FileError(f"{str(folder)!r} has no readable {RESULT}; make it with: voxplain audit") from error


def _model(folder: Path) -> str:
    try:
        told = tomllib.loads((folder / "plan.toml").read_text("utf-8"))
        return Path(str(told["model"]["name"])).name
    except (OSError, ValueError, KeyError):
        return "the model"


def _section(folder: Path, verdict: Verdict) -> Section:
    anchor = verdict.check.replace(" ", "-")
    lead = verdict.leading
    rows = [(one, interval_words(one, number)) for one in verdict.findings]
    figures = [pictured(folder, FOLDER, f"{anchor}-{kind}", *rest) for kind, *rest in _figures(verdict)]
    told = "" if lead is None else f"{lead.name}: {interval_words(lead, number)}"
    return Section(anchor, verdict, told, rows, figures)


def _figures(verdict: Verdict) -> Iterator[tuple[str, Any, str]]:
    picture = draw_findings(verdict)
    if picture is not None and len(verdict.findings) > 1 and verdict.quantity:
        yield "findings", picture, f"{verdict.quantity}, with 95 % intervals"
    if verdict.check == "wiping":
        falls = draw_falls(verdict)
        if falls is not None:
            yield "cases", falls, "the fall of every case's score"
    for place, one in enumerate(verdict.findings):
        if "embedding" in one.numbers:
            yield f"map-{place}", draw_clusters(one.name, one.numbers), f"clusters of the maps by {one.name}"


def _accuracy(one: Table) -> str:
    ends = "no interval" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return f"{one['right']} of {one['cases']} right: {one['value']:.3f} ({ends}), {one['patients']} patients"
