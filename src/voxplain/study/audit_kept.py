"""What an audit has asked of each case so far, a line of JSON a case: a kill loses no more than the one at work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from voxplain.data.writing import json_text, written_beside


class Kept:
    """Plain JSON values by case, in a file; None for the file keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known = {} if file is None else dict(_read(file))
        if file is not None and file.is_file():  # what a kill left of a line goes first
            with written_beside(file) as beside:
                beside.write_text("".join(_line(*one) for one in self._known.items()), "utf-8")

    def __call__(self, case: str, make: Callable[[], Any]) -> Any:
        """What is known of a case, or else made now and written; plain JSON values."""
        if case not in self._known:
            line = _line(case, make())
            self._known[case] = json.loads(line)["value"]  # as a later start will read it
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as stream:
                    stream.write(line)
        return self._known[case]

    def __contains__(self, case: str) -> bool:
        return case in self._known


def _line(case: str, value: Any) -> str:
    return json_text({"case": case, "value": value}) + "\n"


def _read(file: Path) -> Iterator[tuple[str, Any]]:
    for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
        try:
            told = json.loads(line)
            yield told["case"], told["value"]
        except (ValueError, TypeError, KeyError):
            continue
