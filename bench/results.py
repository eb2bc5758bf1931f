"""Results of the benchmark: one JSON file a kind of machine, the latest of each row kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import measure
from bench.contest import Contest, Rival, Row, Run, gap
from bench.machine import load, versions

RESULTS = Path(__file__).resolve().parent / "results"
OURS, FLOOR = "Voxplain", "floor"

Record = dict[str, Any]


def measured(row: Row, device: torch.device, repeats: int | None = None) -> Record:
    """Build a row, run it and say what was found."""
    before = load()
    contest = row.build(device)
    unit = measure.counted(contest.forward)
    contest.ours()  # what is made once for a model is no part of what a map needs
    entries: dict[str, Record] = {OURS: {}}
    runs, results = {OURS: contest.ours}, {OURS: _examine(contest.ours, entries[OURS], unit, device)}
    for name, rival in rivals(contest).items():
        entries[name] = entry = {"differs": rival.differs, "alike": rival.alike}
        if not rival.installed:
            entry["missing"] = "not installed"
            continue
        try:
            setting, runs[name] = chosen(rival, device)
            results[name] = _examine(runs[name], entry, unit, device)
            entry["setting"] = rival.told(setting)
        except Exception as error:  # noqa: BLE001 - whatever another library raises on work that it cannot do
            entry["missing"] = f"fails: {(str(error).strip().splitlines() or [type(error).__name__])[0][:120]}"
            runs.pop(name, None)
    _compare(contest, entries, results)
    for name, seconds in measure.interleaved(runs, repeats or row.repeats, device).items():
        entries[name]["seconds"] = seconds
    told = {"device": device.type, "threads": torch.get_num_threads(), "load": before, "when": now()}
    return {**words(row), **told, "with": versions(), "runs": entries}


def _examine(run: Run, entry: Record, unit: int, device: torch.device) -> Any:
    """The result of a run, its cost noted."""
    found = measure.examined(run, device)
    entry["forwards"], entry["memory"] = found.operations / unit, found.memory
    return found.result


def rivals(contest: Contest) -> dict[str, Rival]:
    """The peers, and the floor where there is one."""
    floor = {} if contest.floor is None else {FLOOR: contest.floor}
    return {**contest.peers, **floor}


def chosen(rival: Rival, device: torch.device) -> tuple[Any, Run]:
    """The fastest setting of a rival, and what runs it, warmed up."""
    runs = {setting: rival.make(setting) for setting in rival.settings}
    if len(runs) > 1:
        setting = measure.fastest(runs, device)
    else:
        setting = next(iter(runs))
        runs[setting]()
    return setting, runs[setting]


def _compare(contest: Contest, entries: dict[str, Record], results: dict[str, Any]) -> None:
    """Note how far our result is from each rival's that can be compared."""
    for name, rival in rivals(contest).items():
        if rival.compared is not None and name in results:
            entries[name]["gap"] = gap(results[OURS], results[name], rival.compared)


def words(row: Row) -> Record:
    """What a row says of itself."""
    told = ("name", "work", "network", "size", "part", "goal", "limit", "published")
    return {name: getattr(row, name) for name in told}


def now() -> str:
    """Today's date."""
    return datetime.now(UTC).date().isoformat()


def read(path: Path) -> Record:
    """What is kept for a kind of machine; an empty record where there is nothing yet."""
    if not path.exists():
        return {"machine": "", "rows": [], "growth": []}
    found: Record = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep(path: Path, machine: str, record: Record, order: Sequence[str], kind: str = "rows") -> Record:
    """Put a record in the place of the earlier one of its name; all that is kept now. `order` is that of the table."""
    kept = read(path)
    kept["machine"] = machine
    others = [one for one in kept[kind] if one["name"] != record["name"]]
    rank = {name: number for number, name in enumerate(order)}
    kept[kind] = sorted([*others, record], key=lambda one: rank.get(one["name"], len(rank)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return kept
