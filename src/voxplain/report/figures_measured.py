"""The numbers of a run folder's rows as figures: a distribution of each method, and which methods differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from voxplain.errors import InputError, unknown
from voxplain.report.contents import MapEntry, Run, read_run
from voxplain.report.figures import Picture
from voxplain.report.figures_statistics import draw_critical_difference, draw_distributions
from voxplain.study.ranking import Test, ranking

Better = Literal["higher", "lower", ""]

MEASURES: dict[str, tuple[str, str, Better]] = {
    "share_in_mask": ("share of the evidence inside the mask", "", "higher"),
    "seconds": ("time of a map", "s", "lower"),
    "forwards": ("forward passes of a map", "", "lower"),
    "backwards": ("backward passes of a map", "", "lower"),
    "score": ("score that was explained", "", ""),
}
"""Columns of a run's rows that are known: in words, unit, which direction is good; '' where none is."""


def numbers_of_run(folder: Path | Run, measure: str, *, target: str | None = None) -> dict[str, list[float]]:
    """One number a case for each method (and layer) of a run: {method: (case,)}, NaN where a row has none.

    Of a case with maps of several targets those of `target` count, or of its first. Raises InputError for a measure
    that no row has a number of.
    """
    run = folder if isinstance(folder, Run) else read_run(folder)
    cases = [list(_rows(case.maps, target)) for case in run.cases]
    names = list(dict.fromkeys(_name(row) for rows in cases for row in rows))
    found = {name: [_number(rows, name, measure) for rows in cases if rows] for name in names}
    if not any(np.isfinite(values).any() for values in found.values()):
        known = sorted({key for rows in cases for row in rows for key, value in row.row.items() if _is_number(value)})
        raise unknown("measure", measure, known)
    return found


def _rows(maps: tuple[MapEntry, ...], target: str | None) -> Iterator[MapEntry]:
    """The finished rows of a case for one target."""
    done = [row for row in maps if row.text("status") == "done"]
    wanted = target if target is not None else (done[0].text("target") if done else "")
    return (row for row in done if row.text("target") == wanted)


def _name(row: MapEntry) -> str:
    return ", ".join(part for part in (row.text("method"), row.text("layer")) if part)


def _number(rows: list[MapEntry], name: str, measure: str) -> float:
    """The first finished number of a method."""
    values = [row.row[measure] for row in rows if _name(row) == name and _is_number(row.row.get(measure))]
    return float(values[0]) if values else float("nan")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distributions_from_run(
    folder: Path, measure: str = "share_in_mask", *, target: str | None = None, **options: Any
) -> Picture:
    """A row a method, a dot a case, of a column of the run's rows; chance is the median share of the mask."""
    run = read_run(folder)
    values = numbers_of_run(run, measure, target=target)
    quantity, unit, better = MEASURES.get(measure, (measure.replace("_", " "), "", ""))
    told: dict[str, Any] = {"quantity": quantity, "unit": unit, "better": better}
    if measure == "share_in_mask":
        told["chance"] = float(np.nanmedian(np.concatenate(list(numbers_of_run(run, "mask_share").values()))))
    return draw_distributions(values, **{**told, **options})


def ranks_from_run(
    folder: Path,
    measure: str = "share_in_mask",
    *,
    better: Better = "",
    test: Test = "wilcoxon_holm",
    alpha: float = 0.05,
    target: str | None = None,
    title: str = "",
) -> Picture:
    """The critical-difference diagram of a run's methods by a column of its rows; cases without a number are left out.

    Raises InputError where neither the measure nor `better` says which direction is good.
    """
    quantity, _, known = MEASURES.get(measure, (measure.replace("_", " "), "", ""))
    direction = better or known
    if not direction:
        raise InputError(f"better must be 'higher' or 'lower' to rank methods by {measure!r}")
    found = ranking(numbers_of_run(folder, measure, target=target), better=direction, test=test, alpha=alpha)
    heading = title or f"{quantity[0].upper()}{quantity[1:]}, {direction} is better"
    return draw_critical_difference(found, title=heading)
