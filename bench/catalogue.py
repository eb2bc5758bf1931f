"""All rows of the benchmark, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from bench import cams, channels, flow, gradients, occluding, quantus_times, relevance, segmenting, sharing, volumes
from bench.contest import Row
from bench.growing import Growth, growths

FAMILIES = (cams, flow, gradients, relevance, occluding, segmenting, channels, sharing, volumes, quantus_times)


Entry = Row | Growth


def entries() -> list[Entry]:
    """Every row of the table, and every quantity that must not grow."""
    return [*(row for family in FAMILIES for row in family.rows()), *growths()]


def selected(names: Sequence[str], known: Sequence[Entry], *, full: bool) -> list[Entry]:
    """The entries of these names, or without names all that are not long; `ValueError` for a name that there is not."""
    table = {entry.name: entry for entry in known}
    for name in names:
        if name not in table:
            near = get_close_matches(name, table, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"rows are {', '.join(table)}"
            raise ValueError(f"unknown row {name!r}; {advice}")
    if names:
        return [table[name] for name in dict.fromkeys(names)]
    return [entry for entry in known if full or not getattr(entry, "long", False)]
