"""The answers of readers: checked against the key of their form, and written out as one long table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from voxplain.data.writing import written_beside
from voxplain.errors import FileError, InputError
from voxplain.study.feedback import ANSWERS, CAUSABILITY, ITEMS, LEVELS, Key, KeyCase, read_told

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """One number or text of a reader: a line of the long table."""

    reader: str
    case: str
    """The case's identifier in the run folder, '' for what is said at the end."""
    patient: str
    method: str
    """The method whose map is rated, '' for what is said of the case."""
    sham: bool
    item: str
    value: float | None
    words: str = ""
    """A chosen answer by its name, or free text."""


@dataclass
class Collected:
    """All answers to the forms of one run."""

    keys: tuple[Key, ...]
    told: list[Told] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    """Reader -> what was not answered."""

    @property
    def readers(self) -> list[str]:
        """Their codes."""
        return sorted(self.missing)


@dataclass(frozen=True)
class _Range:
    """What an answer may be."""

    low: float
    high: float
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether it is a number in the range, NaN and truth values being none."""
        number = isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        return number and not (self.whole and value != int(value))

    @property
    def words(self) -> str:
        """'a whole number from 1 to 5'."""
        return f"a {'whole ' * self.whole}number from {self.low:g} to {self.high:g}"


RATING, CONFIDENCE = _Range(1, LEVELS, whole=True), _Range(0, 100)
SECONDS, ANY = _Range(0, 1e6), _Range(-1e12, 1e12)


@dataclass(frozen=True)
class _Place:
    """What an answer belongs to."""

    case: KeyCase | None = None
    words: str = ""
    """Where it stands in the form, '' at its end."""
    method: str = ""
    item: str = ""
    """The item's name in the table, where it is not the answer's own."""
    suffix: str = ""


def collected(files: Sequence[Path], keys: Sequence[Key]) -> Collected:
    """Read the answers of several readers.

    Raises FileError for a file that holds no answers, InputError where keys are of different runs or ask otherwise, a
    file answers another form, a reader answers twice, or a value is out of its range; what was not answered is kept as
    missing.
    """
    if any(_asked(one) != _asked(keys[0]) for one in keys):
        raise InputError("keys must be of forms of one run with the same cases, maps and question, got different ones")
    found, origins = Collected(tuple(keys)), dict[str, str]()
    for file in files:
        answers = read_told(file, ANSWERS, "answers")
        key, reader = _key(answers, keys, file.name), _reader(answers, file.name)
        if reader in origins:
            raise InputError(f"reader {reader!r} must answer once, got {origins[reader]!r} and {file.name!r}")
        origins[reader] = file.name
        sheet = _Sheet(key, reader, file.name)
        found.told += sheet.lines(answers)
        found.missing[reader] = sheet.missing
    return found


def write_csv(path: Path, told: Iterable[Told]) -> None:
    """The long table: reader, case, patient, method, sham, item, value, words."""
    names = [one.name for one in fields(Told)]
    with written_beside(path) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows([_cell(getattr(one, name)) for name in names] for one in told)


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula begins with a quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _asked(key: Key) -> tuple[object, ...]:
    """What forms must share to be collected together, whatever their order."""
    return key.run, key.question, key.sham, {one.case: sorted(one.maps.values()) for one in key.cases}


def _key(answers: Table, keys: Sequence[Key], file: str) -> Key:
    for one in keys:
        if one.form == answers.get("form"):
            return one
    raise InputError(f"{file!r} must answer form {' or '.join(one.form for one in keys)}, got {answers.get('form')!r}")


def _reader(answers: Table, file: str) -> str:
    code = answers.get("reader")
    if not isinstance(code, str) or not code.strip():
        raise InputError(f"{file!r} must name its reader by a code, got {code!r}")
    return code.strip()


class _Sheet:
    """One reader's answers, read in the order of the form."""

    def __init__(self, key: Key, reader: str, file: str) -> None:
        self._key, self._reader, self._file = key, reader, file
        self.missing: list[str] = []

    def lines(self, answers: Table) -> Iterator[Told]:
        """Everything that was answered."""
        cases = {one["case"]: one for one in self._cases(answers)}
        for number, case in enumerate(self._key.cases, start=1):
            yield from self._case(number, case, cases.pop(number, {}))
        if cases:
            raise InputError(f"{self._file!r} must answer cases 1 to {len(self._key.cases)}, got {min(cases)}")
        if self._key.causability:
            said = self._table(answers.get("causability"))
            for item in CAUSABILITY:
                yield from self._number(said, item.name, RATING, _Place(item=f"causability_{item.name}"))
        yield from self._comment(answers, _Place())

    def _case(self, number: int, case: KeyCase, said: Table) -> Iterator[Told]:
        before, after = (_Place(case, f"case {number} {when}", suffix=f"_{when}") for when in ("before", "after"))
        yield from self._reading(self._table(said.get("before")), before)
        maps = self._table(said.get("maps"))
        unknown = sorted(set(maps) - set(case.maps))
        if unknown:
            raise InputError(
                f"{self._file!r} must rate maps {', '.join(case.maps)} of case {number}, got {unknown[0]!r}"
            )
        for letter, method in case.maps.items():
            ratings, place = self._table(maps.get(letter)), _Place(case, f"case {number} map {letter}", method)
            for item in ITEMS:
                yield from self._number(ratings, item.name, RATING, place)
            yield from self._number(ratings, "seconds", SECONDS, place)
        yield from self._reading(self._table(said.get("after")), after)
        yield from self._comment(said, _Place(case))

    def _reading(self, said: Table, place: _Place) -> Iterator[Told]:
        answers = self._key.question.answers
        for one in self._number(said, "answer", _Range(0, len(answers) - 1, whole=True) if answers else ANY, place):
            yield replace(one, words=answers[int(one.value or 0)] if answers else "")
        yield from self._number(said, "confidence", CONFIDENCE, place)
        yield from self._number(said, "seconds", SECONDS, place)

    def _number(self, said: Table, name: str, within: _Range, place: _Place) -> Iterator[Told]:
        value, item = said.get(name), place.item or f"{name}{place.suffix}"
        if value is None:
            if within is not SECONDS:  # the page counts these, not the reader
                self.missing.append(f"{place.words} {name}" if place.words else item)
        elif not within.holds(value):
            raise InputError(f"{self._file!r}: {item} must be {within.words}, got {value!r}")
        else:
            yield self._told(place, item, float(value), "")

    def _comment(self, said: Table, place: _Place) -> Iterator[Told]:
        words = str(said.get("comment") or "").strip()
        if words:
            yield self._told(place, "comment", None, words)

    def _told(self, place: _Place, item: str, value: float | None, words: str) -> Told:
        case, method = place.case, place.method
        named, patient = ("", "") if case is None else (case.case, case.patient)
        return Told(self._reader, named, patient, method, bool(method) and method == self._key.sham, item, value, words)

    def _table(self, value: Any) -> Table:
        if value is not None and not isinstance(value, Mapping):
            raise FileError(f"answers {self._file!r} must be as the form saved them, got {value!r} for a table")
        return value or {}

    def _cases(self, answers: Table) -> list[Table]:
        cases = answers.get("cases")
        if isinstance(cases, list) and all(isinstance(self._table(one).get("case"), int) for one in cases):
            return cases
        raise FileError(f"answers {self._file!r} must hold a list of numbered cases, as the form saved them")
