"""Measures the rows of the benchmark and keeps them in bench/results, one file a kind of machine.

    make bench                                              the default rows
    make bench BENCH_ARGS="--rows grad_cam --repeats 3"     some rows
    make bench BENCH_ARGS=--full                            the long ones, too
    make bench BENCH_ARGS=--list                            what there is

Rows also run on a CUDA device where torch sees one (`--device cpu` leaves it out). `make docs` writes the results into
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partialmethod
from pathlib import Path

import torch

from bench import catalogue, growing, results, table
from bench.catalogue import Entry
from bench.contest import Row
from bench.machine import devices, file_stem, kind_of


def main(arguments: Sequence[str], known: Sequence[Entry] | None = None, folder: Path = results.RESULTS) -> int:
    """Measure what is asked for; the exit code, 2 for a wrong argument."""
    known = catalogue.entries() if known is None else known
    options = parser().parse_args(arguments)
    try:
        chosen = catalogue.selected(options.rows, known, full=options.full)
        places = devices(options.device)
        if options.repeats is not None and options.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {options.repeats}")
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.list:
        print("".join(f"{entry.name:28} {told(entry)}\n" for entry in known), end="")
        return 0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
    quiet()
    for device in places:
        measure_all(chosen, device, options.repeats, folder, [entry.name for entry in known])
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="rows to measure; left out: all but long")
    made.add_argument("--repeats", type=int, help="timed runs of each contestant; left out: the row's own number")
    made.add_argument("--device", default="auto", help="auto (processor, and CUDA where there is one), cpu or cuda")
    made.add_argument("--full", action="store_true", help="the long rows, too")
    made.add_argument("--list", action="store_true", help="print the rows and stop")
    made.add_argument("--tf32", action="store_true", help="let CUDA devices round products to TF32")
    return made


def quiet() -> None:
    """Peers warn of what their users must live with, and draw progress bars."""
    warnings.simplefilter("ignore")
    with suppress(ImportError):
        from tqdm import tqdm

        tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)  # type: ignore[method-assign]


def measure_all(
    entries: Sequence[Entry], device: torch.device, repeats: int | None, folder: Path, order: Sequence[str]
) -> None:
    """Measure on a device, each entry kept as soon as it is done, and print what was found."""
    machine = kind_of(device)
    path = folder / f"{file_stem(machine)}.json"
    for entry in entries:
        begin = time.perf_counter()
        if isinstance(entry, Row):
            if device.type not in entry.kinds:
                continue
            kept = results.keep(path, machine, results.measured(entry, device, repeats), order)
        else:
            kept = results.keep(path, machine, growing.record_of(entry, device), order, "growth")
        path.with_suffix(".md").write_text(table.markdown(kept), encoding="utf-8")
        print(f"{entry.name} ({time.perf_counter() - begin:.0f} s): {table.told(kept, entry.name)}", flush=True)
    print(f"kept in {path.name} and {path.with_suffix('.md').name}")


def told(entry: Entry) -> str:
    """A row in words."""
    if not isinstance(entry, Row):
        return f"{entry.work}: {entry.per}"
    part = f" ({entry.part})" if entry.part else ""
    where = "" if "cpu" in entry.kinds else ", on CUDA devices"
    long = ", only with --full or by name" if entry.long else ""
    return f"{entry.work}{part}, {entry.network}, {entry.size}{where}{long}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
