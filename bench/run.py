"""What Voxplain adds to the bare torch computation: integrated gradients of MONAI's DenseNet-121, and the start-up.

    python bench/run.py                     32^3, about a minute on two cores
    python bench/run.py --full              128^3, the size that is promised to add at most 10 %
    python bench/run.py --device cuda

The contestants take turns, so that a machine that slows down slows all of them; the medians are written to
bench/results/<kind of machine>.md, one row a size.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import DenseNet121
from torch import Tensor, nn

import voxplain as vx
from voxplain.data.image import Image
from voxplain.space.grid import Grid

RESULTS = Path(__file__).resolve().parent / "results"
HEAD = """# {machine}

Seconds, median (least to most) of runs that took turns.

- *bare*: a loop of `torch.autograd.grad` over the frozen network in evaluation mode, one sample at a time or in
  Voxplain's own batches; it also scores the two ends, as the completeness check does.
- *method*: `vx.method(...)(score, x)`.
- *explain*: `vx.explain(...)`, from image to attribution: preparation, way back, certificate and hashes included.
- *added*: explain against the faster bare loop; below zero means faster than bare.
- *gap*: largest difference between the maps of method and bare loop, relative to the map's largest value.
- *load*: what the machine was doing before (jobs of the last minute); far above zero, the times are not worth much.
"""
COLUMNS = (
    "| what | size | steps | bare, 1 | bare, batches | method | explain | added | gap | torch, threads | load |\n"
    + "|---" * 11
    + "|\n"
)
ROW_START = "| IG, DenseNet-121 | "


def main(arguments: list[str]) -> None:
    """Measure one size and write its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="side of the volume in voxels")
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="128^3, three repeats")
    options = parser.parse_args(arguments)
    if options.full:
        options.size, options.repeats = 128, 3
    row = measured_row(options.size, options.steps, options.repeats, torch.device(options.device))
    start_up = start_up_line()
    path = written(row, start_up, machine_kind(options.device))
    print(f"{row}{start_up}\nwritten to bench/results/{path.name}")


def measured_row(size: int, steps: int, repeats: int, device: torch.device) -> str:
    """One row of the table: all contestants on a random volume."""
    load = os.getloadavg()[0]
    torch.manual_seed(0)
    network = lively_network().to(device)
    x = torch.rand(1, 1, size, size, size, device=device)
    spec = f"integrated_gradients(steps={steps})"
    model = vx.Model.of(network)
    image = Image.of(x[0].cpu().numpy(), Grid((size, size, size)))
    score = vx.Score(model, "class_score(1)")
    result = vx.method(spec)(score, x)  # plans the memory, so the batches are known
    batch = score.ledger.chunks["backward"]
    contestants: dict[str, Callable[[], object]] = {
        "bare, 1": lambda: bare(network, x, steps, 1),
        "bare, batches": lambda: bare(network, x, steps, batch),
        "method": lambda: vx.method(spec)(vx.Score(model, "class_score(1)"), x),
        "explain": lambda: vx.explain(model, image, spec, target="class_score(1)", device=str(device)),
    }
    seconds = timed(contestants, repeats, device)
    gap = relative_gap(result.values, bare(network, x, steps, batch))
    fastest = min(statistics.median(seconds["bare, 1"]), statistics.median(seconds["bare, batches"]))
    added = statistics.median(seconds["explain"]) / fastest - 1
    cells = [f"{size}^3", str(steps), *map(spread, seconds.values()), f"{added:+.1%}", f"{gap:.1e}"]
    cells[3] += f" (of {batch})"
    cells += [f"{torch.__version__}, {torch.get_num_threads()}", f"{load:.1f}"]
    return ROW_START + " | ".join(cells) + " |\n"


def lively_network() -> nn.Module:
    """The network with norms that shift: as initialised it is linear along the way, and any quadrature would agree."""
    network = DenseNet121(spatial_dims=3, in_channels=1, out_channels=2).eval().requires_grad_(False)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "norm.bias", "norm1.bias", "norm2.bias")):
            tensor.normal_(std=0.1)
    return network


def bare(network: nn.Module, x: Tensor, steps: int, batch: int) -> Tensor:
    """Integrated gradients as one would write them by hand, with the same Gauss-Legendre points."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    alphas, weights = (points + 1) / 2, weights / 2
    total = torch.zeros_like(x, dtype=torch.float64)
    with torch.no_grad():
        network(x), network(torch.zeros_like(x))
    for start in range(0, steps, batch):
        alpha = torch.tensor(alphas[start : start + batch], dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1, 1)
        weight = torch.tensor(weights[start : start + batch], device=x.device).reshape(-1, 1, 1, 1, 1)
        way = (alpha * x).requires_grad_()
        gradient = torch.autograd.grad(network(way)[:, 1].sum(), way)[0]
        total += (gradient.double() * weight).sum(dim=0, keepdim=True)
    return (total * x).to(x.dtype)


def timed(contestants: dict[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each run, after one run of each to warm up; the order rotates."""
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begin = time.perf_counter()
            contestants[name]()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def relative_gap(values: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((values - other).abs().max() / other.abs().max())


def spread(seconds: list[float]) -> str:
    """Median (least to most)."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def start_up_line(repeats: int = 5) -> str:
    """Median seconds of the interpreter alone, of `import voxplain` and of `voxplain --help`."""
    commands = {
        "python": ["-c", "pass"],
        "import voxplain": ["-c", "import voxplain"],
        "voxplain --help": [
            "-c",
            "import sys; sys.argv = ['voxplain', '--help']; from voxplain.cli.main import main; main()",
        ],
    }
    parts = []
    for name, command in commands.items():
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *command], check=False, capture_output=True)
            seconds.append(time.perf_counter() - begin)
        parts.append(f"{name} {statistics.median(seconds):.2f} s")
    return "Start-up: " + ", ".join(parts) + "."


def machine_kind(device: str) -> str:
    """The kind of machine in words: the accelerator, else processor family and number of cores."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {len(os.sched_getaffinity(0))} cores"


def written(row: str, start_up: str, machine: str) -> Path:
    """The results file of this kind of machine, with this size's row put in or replaced."""
    path = RESULTS / f"{machine.lower().replace(' ', '-')}.md"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    key = row.split("|")[2:4]
    rows = [line for line in lines if line.startswith(ROW_START) and line.split("|")[2:4] != key]
    rows = sorted([*rows, row], key=lambda line: int(line.split("|")[2].split("^")[0]))
    RESULTS.mkdir(exist_ok=True)
    text = HEAD.format(machine=machine) + "\n" + COLUMNS + "".join(rows) + f"\n{start_up}\n"
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
