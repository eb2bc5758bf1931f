"""The page of an evaluation: every metric with its numbers, intervals, tests and figures; it loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from voxplain.data.writing import written_beside
from voxplain.errors import FileError
from voxplain.report.display import number
from voxplain.report.evaluation_figures import Lines, draw_agreement, draw_ranks, gathered_curves, mean_curves
from voxplain.report.figures_statistics import draw_critical_difference, draw_curves, draw_distributions
from voxplain.report.pages import Picture, environment, pictured
from voxplain.study.evaluate_asked import FACTS
from voxplain.study.evaluate_rows import MetricRows
from voxplain.study.evaluate_summary import Gathered, gathered
from voxplain.study.evaluate_words import beside_words, disagreement_words, opposed, test_words
from voxplain.study.plan import file_name
from voxplain.study.ranking import Ranking

PAGE = "evaluation.html"
FOLDER = "evaluation"
"""Below the run's figures."""

FEWEST_METRICS = 2
"""A table of ranks or of agreement takes at least so many metrics."""

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One metric of one target."""

    anchor: str
    name: str
    target: str
    title: str
    facts: Table
    rows: Sequence[Table]
    """Of its table: method, control, value, interval, chance, cases, rank, and why numbers are missing."""
    tests: str
    beside: Sequence[str]
    """Methods that differ from controls, and those that do not, in sentences."""
    figures: Sequence[Picture]


def write(run_folder: str | Path) -> Path:
    """Write `report/evaluation.html` and the figures it shows, from the metrics of a run folder; returns the page.

    Raises `FileError` where nothing was measured.
    """
    folder = Path(run_folder)
    found = _summary(folder)
    numbers, lines = gathered(MetricRows(folder).rows()), gathered_curves(MetricRows(folder).rows())
    sections = [_section(folder, group, found, numbers, lines) for group in found["groups"]]
    context = {
        "name": folder.resolve().name,
        "interval": found["interval"],
        "tests": found["tests"],
        "sections": [one for one in sections if one.name not in FACTS],
        "costs": [one for one in sections if one.name in FACTS],
        "overview": [*_overview(folder, found)],
        "against": [disagreement_words(one) for one in opposed(found["disagreement"])],
        "pairs": len(found["disagreement"]),
    }
    path = folder / "report" / PAGE
    with written_beside(path) as beside:
        beside.write_text(environment().get_template(PAGE).render(context), encoding="utf-8")
    return path


def _summary(folder: Path) -> Table:
    file = folder / "summary.json"
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise FileError(f"{str(folder)!r} has no readable summary.json; make it with: voxplain evaluate") from error


def _section(folder: Path, group: Table, found: Table, numbers: Gathered, lines: Lines) -> Section:
    metric, target = str(group["metric"]), str(group["target"])
    facts = dict(found["metrics"].get(metric, {}))
    title = str(facts.get("title", metric))
    anchor = file_name(f"{metric}-{target}")
    return Section(
        anchor=anchor,
        name=metric,
        target=target,
        title=title,
        facts=facts,
        rows=[_row(one) for one in _sorted(group["means"], str(facts.get("better", "")))],
        tests=test_words(group),
        beside=[*beside_words(group)],
        figures=[pictured(folder, FOLDER, f"{anchor}-{kind}", picture, words) for kind, picture, words in
                 _figures(group, facts, numbers, lines)],
    )  # fmt: skip


def _sorted(means: Sequence[Table], better: str) -> list[Table]:
    """Methods from the best to the worst, then the controls."""
    sign = -1 if better == "higher" else 1
    return sorted(means, key=lambda one: (one["control"], one["value"] is None, sign * (one["value"] or 0)))


def _row(one: Table) -> Table:
    ends = f"{number(one['low'])} to {number(one['high'])}" if one["low"] is not None else one["interval"]
    people = f"{one['n']} ({one['patients']} patients)" if one["patients"] != one["n"] else str(one["n"])
    return {
        "method": one["method"],
        "control": one["control"],
        "value": "no number" if one["value"] is None else number(one["value"]),
        "interval": "" if one["value"] is None else ends,
        "chance": "" if one["chance"] is None else number(one["chance"]),
        "cases": people,
        "rank": "" if one["mean_rank"] is None else f"{one['mean_rank']:.2f}",
        "missing": [f"{count} without: {reason}" for reason, count in one["reasons"].items()],
    }


def _figures(group: Table, facts: Table, numbers: Gathered, lines: Lines) -> Iterator[tuple[str, Figure, str]]:
    """The figures of a metric: name, picture, and what it shows in a line."""
    metric, target = str(group["metric"]), str(group["target"])
    title, own = str(facts.get("title", metric)), numbers.groups.get((target, metric), {})
    cases = list(dict.fromkeys(case for one in own.values() for case in one.values))
    order = [str(one["method"]) for one in _sorted(group["means"], str(facts.get("better", "")))]
    values = {_name(name, own[name].control): [own[name].values.get(case, np.nan) for case in cases] for name in order}
    if cases:
        chances = [value for one in own.values() for value in one.chances.values()]
        unit = FACTS[metric].unit if metric in FACTS else ""
        yield (
            "cases",
            draw_distributions(values, quantity=metric, unit=unit, better=facts.get("better", ""),
                               chance=float(np.median(chances)) if chances else None, title=title),
            "every case; * stands at a control; chance is the median over cases",
        )  # fmt: skip
    ranking = group["ranking"]
    if ranking is not None and metric not in FACTS:
        told = {**ranking, "cliques": tuple(map(tuple, ranking["cliques"]))}
        yield "ranks", draw_critical_difference(Ranking(**told), title=title), "mean ranks over patients"
    for (of_target, of_metric, name), curves in lines.items():
        drawn = mean_curves(curves) if (of_target, of_metric) == (target, metric) else []
        if drawn:
            along, words = next(iter(curves.values())).along, "95 % by bootstrap over patients"
            picture = draw_curves(drawn, x_label=along, y_label=_height(metric, name), interval=words,
                                  title=f"{title}: {name}")  # fmt: skip
            yield f"curve-{file_name(name)}", picture, f"mean over patients, {name}"


def _height(metric: str, name: str) -> str:
    """What a curve counts upwards: its name where that is a quantity, else the model's score."""
    return name if name in ("correlation", "similarity") else "score of the explained target"


def _name(method: str, control: bool) -> str:
    return f"{method} *" if control else method


def _overview(folder: Path, found: Table) -> Iterator[Picture]:
    """All metrics at once, for each target that has several."""
    for target in dict.fromkeys(one["target"] for one in found["groups"]):
        groups = [
            one for one in found["groups"]
            if one["target"] == target and one["ranking"] is not None and one["metric"] not in FACTS
        ]  # fmt: skip
        if len(groups) >= FEWEST_METRICS:
            picture = draw_ranks(groups, title=f"Mean ranks by every metric: {target}")
            yield pictured(folder, FOLDER, f"ranks-{file_name(target)}", picture, "mean ranks of methods by metrics")
        pairs = [one for one in found["disagreement"] if one["target"] == target]
        if pairs:
            picture = draw_agreement(pairs, title=f"How alike metrics order the methods: {target}")
            yield pictured(folder, FOLDER, f"agreement-{file_name(target)}", picture, "agreement of metrics")
