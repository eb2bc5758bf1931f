"""The tables of docs/evaluation.md: chooses the cases of its runs (`cases`), and lays out their summaries (`table`)."""

import argparse
import csv
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voxplain.ops.controls import CONTROLS
from voxplain.study.evaluate_asked import FACTS

EACH = 20
"""Slices of each tumour type."""

ALPHA = 0.05
"""Level of the tests."""

Table = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write tables of cases, or print tables of numbers; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cases", "table"))
    parser.add_argument("folder", type=Path, help="the data (brain-tumor-2d beside mri-3d), or a run folder")
    parser.add_argument("--out", type=Path, default=Path(), help="where the tables of cases are written")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="columns of the table (default: all)")
    chosen = parser.parse_args(arguments)
    if chosen.what == "table":
        print("\n".join(tables(json.loads((chosen.folder / "summary.json").read_text("utf-8")), chosen.metrics)))
        return 0
    for name, rows in (("types", slices(chosen.folder / "brain-tumor-2d")),
                       ("hippocampus", volumes(chosen.folder / "mri-3d" / "hippocampus"))):  # fmt: skip
        with (chosen.out / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([["id", "image", "mask", "label", "group"], *rows])
    return 0


def test_rows(folder: Path) -> list[dict[str, str]]:
    """The test part of a data set's table."""
    with (folder / "labels.csv").open(encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["split"] == "test"]


def slices(folder: Path) -> list[list[str]]:
    """Slices of each type, dealt in turn from all its patients, in an order that a seed decides."""
    rng, rows, found = random.Random(0), test_rows(folder), list[list[str]]()  # noqa: S311 - no secret
    for label in sorted({row["label"] for row in rows}):
        patients: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            if row["label"] == label:
                patients.setdefault(row["patient_id"], []).append(row)
        for own in patients.values():
            rng.shuffle(own)
        order = sorted(patients)
        rng.shuffle(order)
        most = max(map(len, patients.values()))
        deck = [patients[one][turn] for turn in range(most) for one in order if turn < len(patients[one])]
        found += [
            [Path(row["file"]).stem, str(folder / row["file"]), str(folder / row["mask"]), label, row["patient_id"]]
            for row in deck[:EACH]
        ]
    return found


def volumes(folder: Path) -> list[list[str]]:
    """Every test volume."""
    rows = test_rows(folder)
    return [[row["case"], str(folder / row["image"]), str(folder / row["label"]), "", row["case"]] for row in rows]


def tables(found: Table, metrics: Sequence[str]) -> Iterator[str]:
    """A table for each target: a row a method, a column a metric; bold where better than all three controls."""
    asked = [one for one in found["groups"] if (one["metric"] in metrics if metrics else one["metric"] not in FACTS)]
    for target in dict.fromkeys(group["target"] for group in asked):
        groups = [one for one in asked if one["target"] == target]
        yield f"\n`{target}`\n"
        better = {group["metric"]: found["metrics"][group["metric"]]["better"] for group in groups}
        yield f"| method | {' | '.join(f'`{name}`, {better[name]}' for name in better)} |"
        yield f"|---{'|---' * len(groups)}|"
        names = dict.fromkeys(one["method"] for group in groups for one in group["means"])
        for name in sorted(names, key=lambda name: (name in CONTROLS, name)):
            yield f"| `{name}` | {' | '.join(cell(group, name, better[group['metric']]) for group in groups)} |"


def cell(group: Table, name: str, better: str) -> str:
    """A mean with its interval, in bold where every control is worse after Holm's correction."""
    (one,) = [one for one in group["means"] if one["method"] == name] or [{"value": None}]
    if one["value"] is None:
        return ""
    ends = "" if one["low"] is None else f" ({one['low']:.2g} to {one['high']:.2g})"
    told = f"{one['value']:.2g}{ends}"
    return f"**{told}**" if beats(group, name, better) else told


def beats(group: Table, name: str, better: str) -> bool:
    """Whether a method is better than all controls, each by a test after correction."""
    own = [one for one in group["against_controls"] if one["first"] == name]
    sign = 1 if better == "higher" else -1
    return len(own) == len(CONTROLS) and all(one["p_holm"] < ALPHA and sign * one["difference"] > 0 for one in own)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
