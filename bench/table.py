"""The benchmark's results as Markdown: one table a kind of machine, and what a reader must know beside it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from bench.results import FLOOR, OURS, Record

SAME = 0.02
"""A result within this share of ours counts as the same: single-precision gradients differ by up to a hundredth."""

COLUMNS = (
    "work",
    "network, input",
    "ours, s",
    "peers, s",
    "floor, s",
    "fastest peer / ours",
    "ours / floor",
    "forwards",
    "memory",
    "largest difference",
    "threads, load",
)
LEGEND = """- *ours*, *peers*, *floor*: seconds, median of runs that took turns, after warming up. In brackets stands
  the setting of a peer or the floor that was fastest among those tried. Making the frozen copy of a model, which is
  done once, is not in them.
- *floor*: bare torch doing only the passes that nobody can avoid, on a frozen copy with batch norms folded.
- *fastest peer / ours*: above 1, we are faster; only peers count whose result is the same.
- *ours / floor*: 1 would be perfect; below it, we found work that could be avoided after all.
- *forwards*: products of convolutions and matrices in multiples of one forward of one sample: ours, fastest peer,
  floor.
- *memory*: peak above what was held before the run: ours, fastest peer, floor.
- *largest difference*: between our map and each rival's, as a share of the largest value, in single precision.
- *threads, load*: threads of torch, and jobs of the machine in the minute before; where these are far above zero, a
  row's times are not worth much.
"""


def markdown(kept: Record) -> str:
    """The page of one kind of machine."""
    return f"# {kept['machine']}\n\n{LEGEND}\n{tables(kept)}"


def tables(kept: Record) -> str:
    """The table, the growth table and the differences by definition."""
    head = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"
    parts = [head + "".join(line(record) for record in kept["rows"])] if kept["rows"] else []
    if kept["growth"]:
        parts.append(growth(kept["growth"]))
    told = list(differences(kept["rows"]))
    if told:
        parts.append("Results that differ by definition:\n\n" + "".join(f"- {one}\n" for one in told))
    parts += [goals(kept["rows"]), made_with(kept)]
    return "\n".join(part for part in parts if part)


def line(record: Record) -> str:
    """One row of the table."""
    runs = record["runs"]
    best = fastest_peer(runs)
    shown = [name for name in (OURS, best, FLOOR) if name in runs]
    cells = [
        record["work"] + (f" ({record['part']})" if record["part"] else ""),
        f"{record['network']}, {record['size']}",
        seconds(runs[OURS]),
        "<br>".join(f"{name} {seconds(entry)}" for name, entry in peers(runs).items()) or "none",
        seconds(runs[FLOOR]) if FLOOR in runs else "",
        ratio(median(runs.get(best)), median(runs[OURS])),
        ratio(median(runs[OURS]), median(runs.get(FLOOR))),
        ", ".join(number(runs[name].get("forwards"), "{:.4g}") for name in shown),
        ", ".join(megabytes(runs[name].get("memory")) for name in shown),
        "<br>".join(f"{name} {entry['gap']:.0e}" for name, entry in runs.items() if entry.get("gap") is not None),
        f"{record['threads']}, {number(record['load'], '{:.1f}')}",
    ]
    return f"| {' | '.join(cells)} |\n"


def peers(runs: Record) -> Record:
    """The rivals that are libraries."""
    return {name: entry for name, entry in runs.items() if name not in (OURS, FLOOR)}


def fastest_peer(runs: Record) -> str:
    """The fastest library whose result is the same as ours; empty where there is none."""
    found = {
        name: median(entry)
        for name, entry in peers(runs).items()
        if entry.get("seconds") and (entry["alike"] or entry.get("gap", SAME + 1) <= SAME)
    }
    return min(found, key=lambda name: found[name] or 0.0) if found else ""


def median(entry: Record | None) -> float | None:
    """Seconds of a contestant; None where it did not run."""
    return statistics.median(entry["seconds"]) if entry and entry.get("seconds") else None


def seconds(entry: Record) -> str:
    """Seconds of a contestant with its setting, or why there are none."""
    if entry.get("missing"):
        return str(entry["missing"])
    told = f" ({entry['setting']})" if entry.get("setting") else ""
    return number(median(entry), "{:.3g}") + told


def ratio(one: float | None, other: float | None) -> str:
    """One time as a multiple of another."""
    return "" if one is None or other is None else f"{one / other:.2f}"


def number(value: float | None, form: str) -> str:
    """A number, or a question mark where it is not known."""
    return "?" if value is None else form.format(value)


def megabytes(value: int | None) -> str:
    """Bytes in MiB."""
    return "?" if value is None else f"{value / 2**20:.0f} MiB"


def growth(records: list[Record]) -> str:
    """The table of what must not grow."""
    return "| what | per | counts | ours |\n|---|---|---|---|\n" + "".join(map(grown, records))


def grown(record: Record) -> str:
    """One quantity for each of its counts."""
    counts = ", ".join(map(str, record["counts"]))
    return f"| {record['work']} | {record['per']} | {counts} | {', '.join(record['told'])} |\n"


def told(kept: Record, name: str) -> str:
    """The line of the entry of that name."""
    for kind, shown in (("rows", line), ("growth", grown)):
        for record in kept[kind]:
            if record["name"] == name:
                return shown(record).rstrip()
    raise KeyError(name)


def differences(records: list[Record]) -> Iterator[str]:
    """A sentence for every peer whose result is another one by definition."""
    for record in records:
        for name, entry in peers(record["runs"]).items():
            if entry.get("differs"):
                yield f"{record['work']}, {name}: {entry['differs']}."


def goals(records: list[Record]) -> str:
    """What was aimed at and what others published, row by row."""
    told = [f"- {one['work']}, {one['network']}: {one['goal']}.{_limit(one)}\n" for one in records if one["goal"]]
    known = [one for one in records if one["published"]]
    told += [f"- {one['work']}, {one['network']}: others published {one['published']}.\n" for one in known]
    return "Aims:\n\n" + "".join(dict.fromkeys(told)) if told else ""


def _limit(record: Record) -> str:
    """Why no more can be had, as a sentence after the aim."""
    return f" Limit: {record['limit']}." if record.get("limit") else ""


def made_with(kept: Record) -> str:
    """Versions and dates."""
    records: list[dict[str, Any]] = kept["rows"] + kept["growth"]
    versions: dict[str, str] = {}
    for record in records:
        versions.update(record["with"])
    dates = sorted({record["when"] for record in records})
    if not dates:
        return ""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))} with {packages}.\n"
