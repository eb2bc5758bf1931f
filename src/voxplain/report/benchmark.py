"""The page of a benchmark: the leaderboard, what it rests on, and what it does not say; it loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voxplain.data.writing import written_beside
from voxplain.errors import FileError
from voxplain.report.benchmark_figures import draw_planted, draw_ranks, draw_shares, draw_skill, draw_standings
from voxplain.report.pages import Picture, environment, pictured
from voxplain.study.benchmark import BOARD
from voxplain.study.benchmark_networks import TASKS
from voxplain.study.benchmark_words import finding_words, network_words, refused_words, share_words, stability_words

PAGE = "benchmark.html"
FOLDER = "benchmark"
"""Below the figures."""

Table = Mapping[str, Any]


def write(folder: str | Path) -> Path:
    """Write `report/benchmark.html` and the figures it shows, from `leaderboard.json`; returns the page.

    Raises `FileError` where there is no finished benchmark.
    """
    folder = Path(folder)
    result = _read(folder)
    tasks = [TASKS[name] for name in result["request"]["phantoms"]]
    shares = [task for task in tasks if any(task.name in row["shares"] for row in result["standings"])]
    context = {
        "name": folder.resolve().name,
        "result": result,
        "tasks": tasks,
        "planted": pictured(folder, FOLDER, "planted", draw_planted(tasks), "heads with and without the feature"),
        "pictures": [*_pictures(folder, result)],
        "swaps": [(one, network_words(one)) for one in result["networks"]],
        "refused": [refused_words(row) for row in result["standings"] if row["refused"]],
        "cliques": _cliques(result),
        "stability": [*stability_words(result["stability"])],
        "finding": [*finding_words(result["diffuse_finding"])],
        "shares": [(task, [*share_words(result["standings"], task.name)], _shared(folder, result, task.name))
                   for task in shares],
    }  # fmt: skip
    path = folder / "report" / PAGE
    with written_beside(path) as beside:
        beside.write_text(environment().get_template(PAGE).render(context), encoding="utf-8")
    return path


def _read(folder: Path) -> Table:
    try:
        return dict(json.loads((folder / BOARD).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise FileError(f"{str(folder)!r} has no readable {BOARD}; make it with: voxplain benchmark") from error


def _pictures(folder: Path, result: Table) -> Iterator[Picture]:
    if not result["standings"]:
        return
    yield pictured(folder, FOLDER, "standings", draw_standings(result), "skill and mean rank of every method")
    yield pictured(folder, FOLDER, "skill", draw_skill(result), "skill of every method on every phantom")
    ranks = draw_ranks(result)
    if ranks is not None:
        yield pictured(folder, FOLDER, "ranks", ranks, "mean ranks, with bars that join methods that do not differ")


def _shared(folder: Path, result: Table, phantom: str) -> Picture | None:
    drawn = draw_shares(result, phantom)
    words = f"where maps of {phantom} lie"
    return None if drawn is None else pictured(folder, FOLDER, f"shares-{phantom}", drawn, words)


def _cliques(result: Table) -> Sequence[Sequence[str]]:
    """Groups of methods of which no two differ."""
    ranking = result["ranking"]
    return [] if ranking is None else [list(map(str, one)) for one in ranking["cliques"]]
