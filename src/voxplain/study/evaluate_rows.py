"""The rows of an evaluation: one for each case, target, method and metric, written as they are found."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from os import SEEK_END
from pathlib import Path
from typing import Any

from voxplain.data.writing import json_text, written_beside
from voxplain.study.rows import Row

COLUMNS = (
    "case", "group", "label", "model", "target", "method", "layer", "control", "metric", "sign", "value", "chance",
    "status", "reason", "seconds", "forwards", "shared_by", "key",
)  # fmt: skip
"""The columns of metrics.csv; a line of metrics.jsonl also has the `curves` and `numbers` behind a value."""

NAMES = ("case", "target", "method", "layer", "metric")
"""What a row is the number of: a folder holds one row for each."""

STANDING = ("done", "not applicable")
"""Rows that hold as long as their key stays the same; what failed is tried again."""


def key_of(**request: Any) -> str:
    """A short hash of everything that decides a number."""
    return sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def name_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row is the number of."""
    return tuple(str(row.get(name) or "") for name in NAMES)


class MetricRows:
    """metrics.jsonl of a run folder: rows are added at its end, so that a kill loses only the one being written."""

    def __init__(self, folder: Path) -> None:
        self.file, self.csv_file = folder / "metrics.jsonl", folder / "metrics.csv"
        self._known: dict[tuple[str, ...], tuple[str, str]] = {}
        for row in self._lines():
            self._know(row)

    def lacks(self, row: Mapping[str, Any]) -> bool:
        """Whether the number of a row (its names and `key`) is still to be found."""
        key, status = self._known.get(name_of(row), ("", ""))
        return key != row["key"] or status not in STANDING

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows behind the others; a row of the same names takes the place of an older one."""
        if not rows:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json_text(row) + "\n" for row in rows).encode()
        with self.file.open("a+b") as stream:
            if stream.tell() > 0:
                stream.seek(-1, SEEK_END)
                lines = lines if stream.read(1) == b"\n" else b"\n" + lines  # a kill cut the last line off
            stream.write(lines)
        for row in rows:
            self._know(row)

    def rows(self) -> Iterator[Row]:
        """The rows that hold, one after another as they lie in the file."""
        last = {name_of(row): number for number, row in enumerate(self._lines())}
        for number, row in enumerate(self._lines()):
            if last[name_of(row)] == number:
                yield row

    def finish(self, holds: Callable[[Row], bool] = lambda row: True) -> None:
        """Leave out what was replaced and rows of maps that are gone, and write the same as a table."""
        with written_beside(self.file) as beside, beside.open("w", encoding="utf-8") as stream:
            stream.writelines(json_text(row) + "\n" for row in self.rows() if holds(row))
        with written_beside(self.csv_file) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows())

    def _know(self, row: Mapping[str, Any]) -> None:
        self._known[name_of(row)] = (str(row.get("key")), str(row.get("status")))

    def _lines(self) -> Iterator[Row]:
        """Every row in the file; a line that a kill cut off is none."""
        if not self.file.exists():
            return
        with self.file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict):
                    yield row
