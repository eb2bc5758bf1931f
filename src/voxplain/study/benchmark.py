"""The benchmark: networks that learnt phantoms are explained by all methods, and the ground truth ranks these."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, OptionError, unknown
from voxplain.spec import text
from voxplain.study.benchmark_board import board_ranking, scored, shows_nothing, stability, standings
from voxplain.study.benchmark_findings import diffuse_finding
from voxplain.study.benchmark_methods import chosen_methods
from voxplain.study.benchmark_networks import TASKS, Task, trained
from voxplain.study.benchmark_rows import BESIDE, MEASURED, METRICS, Measuring, head_numbers, measure_head
from voxplain.study.benchmark_swap import SWAPPED, swapped
from voxplain.study.evaluate_rows import MetricRows
from voxplain.study.rows import Row

Say = Callable[[str], None]
Tick = Callable[[int, int], None]

BOARD, TABLE = "leaderboard.json", "leaderboard.csv"
"""The result, whole and as a table."""

SEEDS, HEADS, QUICK_SEEDS, QUICK_HEADS = 3, 8, 1, 4
"""Seeds, and heads of each phantom and seed that are explained; fewer for a quick look."""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """A finished benchmark."""

    folder: Path
    result: Mapping[str, Any]
    """As leaderboard.json has it."""
    failed: int
    """Rows that have no number although they should."""

    def _repr_html_(self) -> str:
        """What a notebook shows: methods by skill, with intervals."""
        names = ("method", "skill", "low", "high", "mean_rank")
        cells = [[_told(row[name]) for name in names] for row in self.result["standings"]]
        body = "".join(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>" for row in cells)
        return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{body}</table>"


def _told(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def benchmark(
    out: Path | str,
    *,
    methods: Sequence[str] | None = None,
    phantoms: Sequence[str] | None = None,
    seeds: int | None = None,
    heads: int | None = None,
    quick: bool = False,
    say: Say = lambda line: None,
    tick: Tick = lambda done, total: None,
) -> Leaderboard:
    """Train a small network on each phantom and seed, see that it uses what was planted, and rank methods by the truth.

    Parameters
    ----------
    out
        Folder of networks, rows and leaderboard; what lies there from the same request is used again.
    methods
        Specs such as `"occlusion(window=8)"`; left out: every method, with options of moderate cost.
    phantoms
        Names of `voxplain.study.benchmark_networks.TASKS`; left out: all.
    seeds
        How many times everything is done, with other heads and another training; left out: 3, or 1 where quick.
    heads
        Heads of each phantom and seed that are explained; left out: 8, or 4 where quick.

    Methods are ranked on those networks alone that pass the swap test. Raises `OptionError` for unknown names and
    counts that cannot be, `FileError` where `out` cannot be written.

    """
    seeds = (QUICK_SEEDS if quick else SEEDS) if seeds is None else seeds
    heads = (QUICK_HEADS if quick else HEADS) if heads is None else heads
    for name, count, least in (("seeds", seeds, 1), ("heads", heads, 2)):
        if count < least:
            raise OptionError(f"benchmark: {name} must be at least {least}, got {count}")
    chosen, tasks = chosen_methods(methods, quick=quick), _tasks(phantoms)
    folder = _folder(Path(out))
    store = MetricRows(folder)
    pairs = [(task, seed) for seed in range(seeds) for task in tasks]
    networks = []
    for number, (task, seed) in enumerate(pairs):
        say(f"{task.name}, seed {seed}: network")
        network = trained(task, seed, folder)
        swap = swapped(network, head_numbers(SWAPPED))
        networks.append({"phantom": task.name, "seed": seed, "right": network.right, **swap.to_table()})
        if swap.reason:
            say(f"{task.name}, seed {seed}: not ranked: {swap.reason}")
        job = Measuring(network, chosen, store, network.references())
        for place, head in enumerate(head_numbers(heads)):
            say(f"{task.name}, seed {seed}: head {place + 1} of {heads}")
            measure_head(job, head)
            tick(number * heads + place + 1, len(pairs) * heads)
    asked = {"methods": [text(one) for one in chosen], "phantoms": [one.name for one in tasks]}
    return _finished(folder, store, {**asked, "seeds": seeds, "heads": heads}, networks)


def _tasks(names: Sequence[str] | None) -> list[Task]:
    wanted = [*TASKS] if names is None else list(dict.fromkeys(names))
    if not wanted:
        raise OptionError("benchmark: at least one phantom must be asked for, got none")
    for name in wanted:
        if name not in TASKS:
            raise unknown("phantom of the benchmark", name, TASKS)
    return [TASKS[name] for name in wanted]


def _folder(out: Path) -> Path:
    """The folder, made; refused where it holds files of something else."""
    if out.exists() and not out.is_dir():
        raise FileError(f"output folder {out.name!r} must be a folder, got a file")
    known = {"networks", "metrics.jsonl", BOARD, TABLE, "figures", "report"}
    if out.exists() and any(out.iterdir()) and not known & {one.name for one in out.iterdir()}:
        raise FileError(f"output folder {out.name!r} must be empty or of a benchmark; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"output folder {str(out)!r} must be writable, got: {error.strerror}") from error
    return out


def _finished(folder: Path, store: MetricRows, asked: dict[str, Any], networks: list[dict[str, Any]]) -> Leaderboard:
    rows = [*_of_request(store, asked)]
    used = {(one["phantom"], one["seed"]) for one in networks if one["used"]}
    found = scored(row for row in rows if (row["phantom"], row["seed"]) in used)
    ranked = [name for name in asked["phantoms"] if any(name == phantom for phantom, _ in used)]
    ranking = board_ranking(found, ranked)
    result = {
        "request": {**asked, "metrics": list(METRICS)},
        "skill": "mean over metrics of (value - chance) / (1 - chance): 0 is chance, 1 the ground truth",
        "interval": "95 % intervals by the bootstrap over heads, with the networks as they are",
        "networks": networks,
        "ranked_phantoms": ranked,
        "standings": standings(found, ranked),
        "ranking": None if ranking is None else asdict(ranking),
        "stability": stability(found, ranked, range(asked["seeds"])).to_table(),
        "diffuse_finding": diffuse_finding(found),
    }
    _write(folder, result)
    return Leaderboard(folder, result, sum(row["status"] == "failed" and not shows_nothing(row) for row in rows))


def _of_request(store: MetricRows, asked: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of what was asked for: the folder may hold those of other methods, phantoms, seeds and heads."""
    names = {*asked["methods"], *BESIDE}
    heads = {f"{number:05d}" for number in head_numbers(asked["heads"])}
    for row in store.rows():
        fits = row["method"] in names and row["phantom"] in asked["phantoms"] and row["seed"] < asked["seeds"]
        if fits and row["metric"] in MEASURED and str(row["case"])[-5:] in heads:
            yield row


def _write(folder: Path, result: Mapping[str, Any]) -> None:
    with written_beside(folder / BOARD) as beside:
        beside.write_text(json_text(result, indent=1) + "\n", encoding="utf-8")
    phantoms = result["ranked_phantoms"]
    names = ("method", "control", "skill", "low", "high", "mean_rank", "rank_low", "rank_high", "heads", "empty",
             "failed", "seconds")  # fmt: skip
    with written_beside(folder / TABLE) as beside, beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*names, *METRICS, *phantoms])
        for row in result["standings"]:
            own = [row["phantoms"].get(name, {}).get("value") for name in phantoms]
            writer.writerow([*(row[name] for name in names), *(row["metrics"].get(name) for name in METRICS), *own])
