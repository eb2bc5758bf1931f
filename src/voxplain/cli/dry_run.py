"""`voxplain explain --dry-run`: what a run would ask of the network, printed instead of run."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voxplain.data.case import Case
    from voxplain.study.plan import Plan
    from voxplain.study.rehearse import Cost, Forecast

HEAD = ("method", "target", "forwards", "backwards", "at once")


def run(plan: "Plan", cases: "Sequence[Case]", *, as_json: bool) -> int:
    """Print the plan of the first case, and what all cases would cost if they were alike."""
    from voxplain.data.writing import json_text
    from voxplain.study.rehearse import forecast

    found = forecast(plan, cases[0])
    if as_json:
        totals = {"forwards": found.forwards, "backwards": found.backwards, "cases": len(cases)}
        print(json_text({**asdict(found), **totals, "left_out": list(plan.left_out)}, indent=1))
        return 0
    for line in plan.left_out:
        print(f"left out: {line}")
    _print(found)
    if len(cases) > 1:
        print(f"{len(cases)} cases, if all are like it: {len(cases) * (found.forwards + found.backwards)} F")
    return 0


def _print(found: "Forecast") -> None:
    print(
        f"case {found.case}: {found.looks} F to see what the model says; then, shared passes counted where first asked:"
    )
    lines = [HEAD, *map(_cells, found.costs)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for cost in found.costs:
        for note in [note for note in cost.notes if note.startswith(("incremental", "dense", "activations"))]:
            print(f"{cost.method}: {note}")
        if cost.error:
            print(f"{cost.method}: no map: {cost.error}")
    total = found.forwards + found.backwards
    print(f"total: {found.forwards} forwards + {found.backwards} backwards = {total} F of one image")
    print("(a backward counts 1 F; relevance rules multiply a few times more in theirs)")


def _cells(cost: "Cost") -> tuple[str, ...]:
    chunks = ", ".join(f"{size} {kind}" for kind, size in cost.chunks.items())
    return cost.method, cost.target, str(cost.forwards), str(cost.backwards), chunks
