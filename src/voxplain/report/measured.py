"""Metrics of a run as its folder holds them: a value with its interval, or why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxplain.report.display import number
from voxplain.report.reading import Table, read_csv, read_rows

FILES = ("metrics.jsonl", "metrics.csv")
"""Where metrics may stand; the first that is there is read."""

SUMMARY = "summary.csv"
"""Means over cases with their intervals."""

BOUNDS = (("low", "high"), ("ci_low", "ci_high"), ("lower", "upper"))
"""What the ends of an interval may be called."""


@dataclass(frozen=True)
class Measure:
    """One number of a metric, of one case or over cases."""

    metric: str
    method: str
    case: str
    """The case it belongs to; '' for a number over cases."""
    target: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    """Coverage of the interval, 0 to 1."""
    n: int | None
    """How many cases the number is made of."""
    chance: float | None
    reason: str
    """Why there is no value; '' where there is one."""

    @property
    def value_words(self) -> str:
        """The value, or that the metric does not apply."""
        return number(self.value) if self.value is not None else f"not applicable: {self.reason or 'no reason given'}"

    @property
    def interval_words(self) -> str:
        """The interval, '' where there is none."""
        if self.low is None or self.high is None:
            return ""
        level = "" if self.level == 0.95 else f" ({100 * self.level:g} %)"
        return f"{number(self.low)} to {number(self.high)}{level}"

    @property
    def chance_words(self) -> str:
        """What a map that knows nothing would get, '' where that is not defined."""
        return "" if self.chance is None else number(self.chance)


def read_measures(folder: Path, missing: list[str]) -> list[Measure]:
    """The metrics of a run folder, none where nothing was measured; what is broken is named in `missing`."""
    found = next((name for name in FILES if _is_there(folder / name)), None)
    measures = [] if found is None else _read(folder, found, missing)
    return measures + (_read(folder, SUMMARY, missing) if _is_there(folder / SUMMARY) else [])


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _read(folder: Path, name: str, missing: list[str]) -> list[Measure]:
    rows = (read_rows if name.endswith(".jsonl") else read_csv)(folder / name, folder, missing)
    measures = [_measure(row) for row in rows]
    nameless = sum(one is None for one in measures)
    if nameless:
        missing.append(f"{name} has {nameless} row{'s' * (nameless > 1)} without a metric's name")
    return [one for one in measures if one is not None]


def _measure(row: Table) -> Measure | None:
    if not row.get("metric"):
        return None
    low, high = _interval(row)
    count = _float(row.get("n"))
    return Measure(
        metric=str(row["metric"]),
        method=_text(row.get("method")),
        case=_text(row.get("case")),
        target=_text(row.get("target")),
        value=_float(row.get("value")),
        low=low,
        high=high,
        level=_float(row.get("level")) or 0.95,
        n=None if count is None else int(count),
        chance=_float(row.get("chance")),
        reason=_text(row.get("reason")),
    )


def _interval(row: Table) -> tuple[float | None, float | None]:
    pair = row.get("interval")
    if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
        return _float(pair[0]), _float(pair[1])
    for low, high in BOUNDS:
        if row.get(low) is not None:
            return _float(row.get(low)), _float(row.get(high))
    return None, None


def _float(value: Any) -> float | None:
    """A finite number, also from a CSV's text; None for anything else."""
    try:
        found = float(value) if not isinstance(value, bool | Mapping) else None
    except (TypeError, ValueError):
        return None
    return found if found is not None and abs(found) < float("inf") else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
