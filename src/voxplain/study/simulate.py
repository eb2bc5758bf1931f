"""A folder of simulated images: made on all cores, alike for any number of them, taken up again where it stopped."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import signal
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, InputError, OptionError
from voxplain.phantoms import Simulation
from voxplain.phantoms.writing import write_sample
from voxplain.spec import table_of
from voxplain.toml import toml

Row = dict[str, Any]
Tick = Callable[[int, int], None]

PORTION = 16
"""Samples at most that a process makes before it reports."""

REQUEST, ROWS, TABLE = "phantom.toml", "rows.jsonl", "cases.csv"
"""What was asked for, what is done so far, and the finished table."""

FIRST = ("id", "image", "mask", "label", "group", "split")
"""Columns at the front of the table, where there are any such."""


@dataclass(frozen=True)
class Simulated:
    """A finished folder."""

    folder: Path
    count: int
    made: int
    """How many of them were made now; the others lay there already."""

    @property
    def table(self) -> Path:
        """The table of cases, for `--cases` and `read_cases`."""
        return self.folder / TABLE


def request(simulation: Simulation, count: int, seed: int) -> dict[str, Any]:
    """All that decides what the folder holds, as plain values, with its hash."""
    asked: dict[str, Any] = {"count": count, "seed": seed, "phantom": table_of(simulation) | simulation.facts()}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return {"hash": digest[:12], **asked}


def default_folder(simulation: Simulation, count: int, seed: int) -> Path:
    """Where the samples go when nothing else is said: a name that equal requests share."""
    return Path("phantoms", f"{simulation.name}-{request(simulation, count, seed)['hash'][:8]}")


def simulate(
    simulation: Simulation,
    count: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    workers: int | None = None,
    tick: Tick = lambda done, total: None,
) -> Simulated:
    """Samples 0 ... count - 1 of a seed in the folder `out`, with the table `cases.csv` and the ground truth.

    `workers` processes share the work (none: one a core); the files are the same for any number of them. Samples that
    lie there from the same request are kept. Raises `OptionError` for counts and seeds that cannot be, `InputError`
    where `out` holds something else, `FileError` where it cannot be written.
    """
    for name, value, least in (("n", count, 1), ("seed", seed, 0), ("workers", 1 if workers is None else workers, 1)):
        if value < least:
            raise OptionError(f"simulate: {name} must be at least {least}, got {value}")
    there = simulation.count()
    if there is not None and count > there:
        raise OptionError(f"simulate: n must be at most {there}, the rows of the table, got {count}")
    asked = request(simulation, count, seed)
    folder = Path(out) if out is not None else default_folder(simulation, count, seed)
    _check_folder(folder, asked)
    _write(folder / REQUEST, toml(asked))
    rows = _rows_there(folder, count)
    missing = [number for number in range(count) if number not in rows]
    tick(len(rows), count)
    for fresh in _made(simulation, missing, seed, folder, workers or _cores()):
        rows |= fresh
        _append(folder / ROWS, fresh)
        tick(len(rows), count)
    _write_tables(simulation, [rows[number] for number in range(count)], folder)
    return Simulated(folder, count, len(missing))


def _check_folder(folder: Path, asked: dict[str, Any]) -> None:
    """Refuse a folder of another request or of anything else, and one that cannot be written, before work begins."""
    if folder.exists() and not folder.is_dir():
        raise FileError(f"output folder {folder.name!r} must be a folder, got a file")
    if (folder / REQUEST).exists():
        try:
            there = tomllib.loads((folder / REQUEST).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise FileError(f"{REQUEST!r} in {folder.name!r} must be readable TOML; choose another --out") from error
        if there != tomllib.loads(toml(asked)):
            raise InputError(f"output folder {folder.name!r} holds another simulation; choose another --out")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"output folder {folder.name!r} must be empty or of the same simulation; choose another --out")
    there_already = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    try:
        with TemporaryDirectory(dir=there_already):
            pass
    except OSError as error:
        raise FileError(f"output folder {str(folder)!r} must be writable, got: {error.strerror}") from error


def _rows_there(folder: Path, count: int) -> dict[int, Row]:
    """Rows of earlier runs whose files are all there; a line that was cut short is left out."""
    rows: dict[int, Row] = {}
    lines = (folder / ROWS).read_text(encoding="utf-8").splitlines() if (folder / ROWS).exists() else []
    for line in lines:
        with suppress(json.JSONDecodeError):
            found = json.loads(line)
            rows[int(found["number"])] = found["row"]
    files = {number: [folder / str(value) for value in row.values() if _is_file(value)] for number, row in rows.items()}
    return {n: row for n, row in rows.items() if n < count and all(file.is_file() for file in files[n])}


def _is_file(value: object) -> bool:
    return isinstance(value, str) and value.endswith((".png", ".tif", ".nii.gz"))


def _made(
    simulation: Simulation, numbers: Sequence[int], seed: int, folder: Path, workers: int
) -> Iterator[dict[int, Row]]:
    """The rows of `numbers`, portion by portion, in the order in which they are done."""
    size = max(1, min(PORTION, len(numbers) // (4 * workers)))
    portions = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    if min(workers, len(portions)) <= 1:
        for portion in portions:
            yield portion_made(simulation, portion, seed, folder)
        return
    fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(min(workers, len(portions)), mp_context=fresh, initializer=_leave_interrupts) as pool:
        waiting = {pool.submit(portion_made, simulation, portion, seed, folder) for portion in portions}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from map(Future.result, done)
        except BrokenProcessPool as error:
            raise InputError(
                f"simulate: one of {workers} processes ended early; in a script call it below "
                "`if __name__ == '__main__':`, where memory is short pass workers=1"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def portion_made(simulation: Simulation, numbers: Sequence[int], seed: int, folder: Path) -> dict[int, Row]:
    """Make and write these samples; returns their rows."""
    return {number: write_sample(simulation, simulation.sample(number, seed), folder) for number in numbers}


def _leave_interrupts() -> None:
    """Ctrl-C is for the first process to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _append(file: Path, rows: dict[int, Row]) -> None:
    """Each line is whole or the last one: what an interrupt cuts short is made again."""
    text = "".join(json_text({"number": number, "row": row}) + "\n" for number, row in rows.items())
    whole = not file.exists() or file.read_bytes()[-1:] in (b"\n", b"")
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text if whole else "\n" + text)
    except OSError as error:
        raise FileError(f"cannot write {file.name!r}: {error.strerror}") from error


def _write_tables(simulation: Simulation, rows: list[Row], folder: Path) -> None:
    """The table of cases, and those that the simulation adds."""
    parts = simulation.split([str(row["group"]) for row in rows])
    rows = [{**row, "split": row.get("split", part)} for row, part in zip(rows, parts, strict=True)]
    found = dict.fromkeys(name for row in rows for name in row)
    columns = [*(name for name in FIRST if name in found), *(name for name in found if name not in FIRST)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    for name, text in ({TABLE: stream.getvalue()} | simulation.tables(rows)).items():
        _write(folder / name, text)


def _write(file: Path, text: str) -> None:
    with written_beside(file) as beside:
        beside.write_text(text, encoding="utf-8")
