"""The demo: networks that come with the package are asked about phantoms they have not seen, and why they answer so."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.nifti import read_nifti
from voxplain.data.prepare import Prepare
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.phantoms import Sample, phantom
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.released import PREPARE
from voxplain.score.shipped import shipped
from voxplain.score.target import target
from voxplain.study.demo_tasks import TASKS, Task, body, segments
from voxplain.study.explain import Explainer
from voxplain.study.origin import versions
from voxplain.study.plan import Plan, file_name
from voxplain.study.rows import Row
from voxplain.study.run import Say, run
from voxplain.study.run_folder import RunFolder

UNSEEN = 1_000_000
"""Added to the seed for phantoms: far from the seeds of the recipes, so that no network was trained on any of them."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A task with its network on a device."""

    task: Task
    model: Model
    prepare: Prepare
    seed: int


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    tasks: Sequence[Task] = TASKS,
    progress: Console | None = None,
    results: Console | None = None,
) -> Path:
    """Simulate, ask, explain one phantom of each kind, and say what share of each map lies where the truth is known.

    Tells how far it is on `progress` (left out: standard error) and what came out on `results` (standard output).
    Returns the run folder `out`, as `voxplain explain` leaves it. What an interrupted demo had finished is kept. Needs
    no network connection. Raises `InputError` or `FileError` where `out` holds something else or cannot be written.
    """
    if seed < 0:
        raise OptionError(f"seed must be at least 0, got {seed}")
    progress, results = progress or Console(stderr=True), results or Console()
    models = {task.name: load_model(task.network).on(device) for task in tasks}
    table = _table(tasks, models, seed, device)
    folder = RunFolder.at(out, table)
    folder.begin(table)
    say = partial(_say, progress, folder)
    before, rows = folder.rows(), list[Row]()
    with _one_thread(), tempfile.TemporaryDirectory(prefix=".", dir=out) as part:
        for task in tasks:
            asked = Asked(task, models[task.name], Prepare.read(shipped()[task.network] / PREPARE), seed)
            rows += _there(folder, task, before, say) or _explained(asked, folder, Path(part) / task.name, say)
            folder.write_rows(rows)
    _tell(tasks, rows, folder, partial(_say, results, folder))
    return out


def _say(console: Console, folder: RunFolder, line: str) -> None:
    """One line on the console and in the folder's log."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    folder.log(line)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: small tensors gain little from more, and maps do not depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _table(tasks: Sequence[Task], models: Mapping[str, Model], seed: int, device: str) -> dict[str, Any]:
    """The plan of the whole demo; with other weights or another version it is another demo."""
    return {
        "demo": {"seed": seed, "device": device},
        "tasks": [_task_table(task, models[task.name]) for task in tasks],
        "versions": {name: told for model in models.values() for name, told in versions(model).items()},
    }


def _task_table(task: Task, model: Model) -> dict[str, Any]:
    return {
        "name": task.name,
        "model": task.network,
        "weights_sha256": model.weights_hash,
        "phantom": task.phantom,
        "looked_at": task.looked_at,
        "right": task.means,
        "target": task.target or "default",
        "methods": list(task.methods),
        "evidence_in": task.place,
    }


def _there(folder: RunFolder, task: Task, rows: Sequence[Row], say: Say) -> list[Row]:
    """The rows of a task that an earlier start finished; none where any of its files is missing."""
    own = [row for row in rows if row["model"] == task.network and row["status"] == "done"]
    whole = len(own) == len(task.methods) and all((folder.path / str(row["map"])).is_file() for row in own)
    if not whole or not all(folder.facts_of(row["case"]) for row in own):
        return []
    say(f"{task.name}: {own[0]['case']} is already there")
    return own


def _explained(asked: Asked, folder: RunFolder, part: Path, say: Say) -> list[Row]:
    """Explain a phantom of the task in `part`, and bring what came out into the folder."""
    task = asked.task
    case = _case(task, _chosen(asked, say))
    goal = None if task.target is None else target(task.target)
    plan = Plan(asked.model, asked.prepare, (goal,), tuple(method(one) for one in task.methods), asked.seed)
    rows = run(plan, [case], part, single=True, say=lambda line: None).rows
    say(f"{task.name}: {len(rows)} maps of {case.identifier}")
    for kind in ("cases", "maps"):
        shutil.copytree(part / kind, folder.path / kind, dirs_exist_ok=True)
    return rows


def _chosen(asked: Asked, say: Say) -> Sample:
    """The first unseen phantom that the network is right about; says how often it is right on all of them."""
    task, made = asked.task, phantom(asked.task.phantom)
    explainer = Explainer(asked.model, asked.prepare)
    samples = [made.sample(number, asked.seed + UNSEEN) for number in range(task.looked_at)]
    right = [sample for sample in samples if task.right(explainer.ready(sample.image), sample)]
    seen = f"{task.looked_at} {made.name} it has not seen"
    say(f"{task.name}: {task.network} is right ({task.means}) on {len(right)} of {seen}")
    return right[0] if right else samples[0]


def _case(task: Task, sample: Sample) -> Case:
    """The phantom under a name that says its task, with the place where evidence must lie as its mask."""
    name, grid = f"{task.name}-{sample.identifier}", sample.image.grid
    place = task.truth(sample.mask.values[0])
    channels = sorted(sample.image.channels, key=lambda channel: channel != task.front)
    return Case(
        name,
        sample.image.select(channels),
        Image.of(place, grid, channels=("mask",), unit="label", identifier=name),
        segments=segments(sample) if task.parts else None,
        label=f"{int(place.sum())} voxels in {task.place}" if task.parts else sample.label,
        group=sample.group,
        split="unseen",
    )


def _tell(tasks: Sequence[Task], rows: Sequence[Row], folder: RunFolder, say: Say) -> None:
    """Each map's share of evidence at the known truth against chance: what an even map over the body would have."""
    for task in tasks:
        own = [row for row in rows if row["model"] == task.network]
        case = folder.path / "cases" / file_name(own[0]["case"])
        mask, inside = read_nifti(case / "mask.nii.gz").values[0] > 0, body(read_nifti(case / "image.nii.gz"))
        chance = float((mask & inside).sum() / inside.sum())
        facts = folder.facts_of(own[0]["case"])
        say(f"{own[0]['case']}: truth {facts['label']}, the network says {facts['prediction']['words']}")
        say(f"  share of each map's evidence in {task.place}, {chance:.1%} of what is not air (chance)")
        for row in own:
            share = row["share_in_mask"]
            none = share is None or not chance
            told = "nothing to measure" if none else f"{share:6.1%}, {share / chance:.1f} x chance"
            say(f"    {row['method']:48} {told}")
