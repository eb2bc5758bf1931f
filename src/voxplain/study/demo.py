"""The demo: networks learn to see planted lesions, and four methods are asked what they look at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor, nn

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.data.writing import written_beside
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.phantoms import CLASS_NAMES, Phantom, lesion_slices, lesion_volumes
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.networks import NETWORKS
from voxplain.spec import text
from voxplain.study.plan import Plan
from voxplain.study.run import Say, run
from voxplain.study.run_folder import RunFolder
from voxplain.training.fit import accuracy, fit, seeded

METHODS = ("gradient", "integrated_gradients", "grad_cam", "occlusion(window_mm=24, stride_mm=12)")

PREPARE = Prepare(scale=1e-3)
"""From a phantom's intensities (0 to about 1000) to numbers near 1."""

RATE = 0.03
"""Learning rate: twice of it leaves one network in ten dead, half of it needs more epochs."""

HELD_OUT = 1_000_000
"""Added to the seed for the phantoms that no network was trained on."""


@dataclass(frozen=True, eq=False)
class Task:
    """One kind of phantom and the network that learns it."""

    name: str
    make: Callable[..., list[Phantom]]
    """Phantoms from a count and a seed."""
    network: str
    """Its name in `NETWORKS`."""
    training: int = 128
    """Phantoms to learn from."""
    epochs: int = 60
    held_out: int = 40
    """Phantoms to test on; one of them is explained."""


TASKS = (
    Task("slice", lesion_slices, "small_cnn_2d"),
    Task("volume", lesion_volumes, "small_cnn_3d"),
)


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    tasks: Sequence[Task] = TASKS,
    progress: Console | None = None,
    results: Console | None = None,
) -> Path:
    """Simulate, train, explain one unseen phantom of each kind, and say what share of each map lies in the lesion.

    Tells how far it is on `progress` (left out: standard error) and what came out on `results` (standard output).
    Returns the run folder `out`: that of `voxplain explain`, plus `networks/` with weights and preparations. Needs no
    network connection. Raises `InputError` or `FileError` where `out` holds something else or cannot be written.
    """
    if seed < 0:
        raise OptionError(f"seed must be at least 0, got {seed}")
    progress, results = progress or Console(stderr=True), results or Console()
    table = _table(tasks, seed, device)
    folder = RunFolder.at(out, table)
    folder.begin(table)
    say = partial(_say, progress, folder)
    rows: list[dict[str, Any]] = []
    with _one_thread(), tempfile.TemporaryDirectory(prefix=".", dir=out) as part:
        for task in tasks:
            module = _trained(task, seed, device, progress)
            case = _unseen(task, module, seed, device, say)
            model = _kept(task, module, out / "networks" / task.name).on(device)
            plan = Plan(model, PREPARE, (None,), tuple(method(one) for one in METHODS), seed)
            rows += run(plan, [case], Path(part) / task.name, single=True, say=say).rows
            for kind in ("cases", "maps"):
                shutil.copytree(Path(part) / task.name / kind, out / kind, dirs_exist_ok=True)
    folder.write_rows(rows)
    _tell(rows, partial(_say, results, folder))
    return out


def _say(console: Console, folder: RunFolder, line: str) -> None:
    """One line on the console and in the folder's log."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
    folder.log(line)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: small tensors gain nothing from more, and weights do not depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _table(tasks: Sequence[Task], seed: int, device: str) -> dict[str, Any]:
    """The plan of the whole demo."""
    told = ("name", "network", "training", "held_out", "epochs")
    return {
        "demo": {"seed": seed, "device": device, "prepare": text(PREPARE), "methods": list(METHODS)},
        "tasks": [{key: getattr(task, key) for key in told} for task in tasks],
    }


def _trained(task: Task, seed: int, device: str, progress: Console) -> nn.Module:
    """The task's network, having learned to tell phantoms with a lesion from those without."""
    inputs, labels = _batch(task.make(task.training, seed=seed), device)
    with seeded(seed):
        module = NETWORKS[task.network]().to(device)
    title = f"{task.name}: training on {task.training} phantoms"
    fit(module, inputs, labels, epochs=task.epochs, learning_rate=RATE, seed=seed, progress=progress, title=title)
    return module


def _unseen(task: Task, module: nn.Module, seed: int, device: str, say: Say) -> Case:
    """The first held-out phantom whose lesion the network finds; says how often it is right on all of them."""
    phantoms = task.make(task.held_out, seed=seed + HELD_OUT)
    inputs, labels = _batch(phantoms, device)
    right = round(accuracy(module, inputs, labels) * len(phantoms))
    say(f"{task.name}: right on {right} of {len(phantoms)} phantoms it has not seen")
    sick = [number for number, phantom in enumerate(phantoms) if phantom.label == 1]
    with torch.no_grad():
        found = (number for number in sick if int(module(inputs[number : number + 1]).argmax()) == 1)
        chosen = phantoms[next(found, sick[0])]
    return Case(chosen.image.identifier, chosen.image, chosen.mask, label=CLASS_NAMES[1], split="held-out")


def _batch(phantoms: Sequence[Phantom], device: str) -> tuple[Tensor, Tensor]:
    """Prepared inputs (case, channel, *space) and labels (case,)."""
    rank = 2 if phantoms[0].image.grid.is_2d else 3
    inputs = np.stack([PREPARE(phantom.image, rank).values for phantom in phantoms])
    labels = torch.tensor([phantom.label for phantom in phantoms])
    return torch.from_numpy(inputs).to(device), labels.to(device)


def _kept(task: Task, module: nn.Module, path: Path) -> Model:
    """Weights and preparation as files, and the model read back from them: the door that the command line takes."""
    weights = path.with_suffix(".safetensors")
    with written_beside(weights) as beside:
        save_file({name: value.cpu().contiguous() for name, value in module.state_dict().items()}, beside)
    PREPARE.write(path.with_suffix(".toml"))
    return load_model(task.network, weights=weights, class_names=CLASS_NAMES)


def _tell(rows: Sequence[dict[str, Any]], say: Say) -> None:
    """Each map's share in the lesion against the lesion's share of the image."""
    for case in dict.fromkeys(row["case"] for row in rows):
        own = [row for row in rows if row["case"] == case]
        chance = own[0]["mask_share"]
        say(f"{case}: share of each map's evidence inside the lesion, which fills {chance:.2%} of the image (chance)")
        for row in own:
            share = row["share_in_mask"]
            told = "nothing to measure" if share is None else f"{share:6.1%}, {share / chance:.0f} x chance"
            say(f"  {row['method']:45} {told}")
