"""What must not grow: seconds a case over many cases, memory over samples, and seconds a step over steps."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import voxplain as vx
from bench.machine import load, versions
from bench.measure import Peak, seconds_of
from bench.networks import on, picture, settled
from bench.results import Record, now
from voxplain.data.image import Image
from voxplain.space.grid import Grid

SIDE, SAMPLES = 64, (64, 256, 1024)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One quantity that ought to be the same for every count, or small for every one."""

    name: str
    work: str
    per: str
    """What is told of each count, with its unit."""
    counts: Sequence[Any]
    value: Callable[[Any, torch.device], float | None]
    """Count and device -> the quantity; None where it cannot be measured."""
    form: str = "{:.3g}"


@cache
def small_network() -> nn.Module:
    """Three convolutions with norms, so that what stands around the network shows."""
    torch.manual_seed(0)
    parts = [
        nn.Sequential(nn.Conv2d(into, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU())
        for into, out in ((1, 8), (8, 16), (16, 32))
    ]
    return settled(nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(32, 3)), (1, SIDE, SIDE))


def growths() -> list[Growth]:
    """All of them."""
    words = "`vx.run`, Grad-CAM and gradient of a small network, 64 x 64"
    cases = Growth(name="cases", work=words, per="seconds a case", counts=(10, 50, 200), value=seconds_a_case)
    words = "Start-up of a fresh interpreter"
    value = lambda name, _: start_up(COMMANDS[name])  # noqa: E731
    start = Growth(name="start_up", work=words, per="seconds", counts=tuple(COMMANDS), value=value)
    steps = _linear("integrated_gradients(steps={})", "milliseconds a step", (16, 64, 256))
    specs = ("rise(samples={})", "smoothgrad(samples={})", "lime(samples={}, segmenter='grid', segments=16)")
    sampled = [one for spec in specs for one in (_memory(spec), _linear(spec, "milliseconds a sample", SAMPLES))]
    return [cases, *sampled, steps, start]


def _memory(spec: str) -> Growth:
    name, value = spec.split("(")[0], lambda count, device: peak_mib(spec.format(count), device)
    per = "peak in MiB over the number of samples"
    return Growth(name=f"memory_{name}", work=_words(name), per=per, counts=SAMPLES, value=value)


def _linear(spec: str, per: str, counts: Sequence[int]) -> Growth:
    name, value = spec.split("(")[0], lambda count, device: milliseconds_each(spec.format(count), count, device)
    return Growth(name=f"linear_{name}", work=_words(name), per=per, counts=counts, value=value)


def _words(name: str) -> str:
    return f"`{name}`, small network, {SIDE} x {SIDE}"


COMMANDS = {
    "python -c pass": "pass",
    "import voxplain": "import voxplain",
    "voxplain --help": "import sys; sys.argv = ['voxplain', '--help']; from voxplain.cli.main import main; main()",
}


def start_up(statement: str, repeats: int = 5) -> float:
    """Median seconds of an interpreter that does no more than that."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=False, capture_output=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def record_of(growth: Growth, device: torch.device) -> Record:
    """Measure a quantity for each of its counts."""
    before = load()
    growth.value(growth.counts[0], device)  # warms up
    values = [growth.value(count, device) for count in growth.counts]
    return {
        "name": growth.name,
        "work": growth.work,
        "per": growth.per,
        "counts": list(growth.counts),
        "told": ["?" if value is None else growth.form.format(value) for value in values],
        "load": before,
        "when": now(),
        "with": versions(),
    }


def seconds_a_case(count: int, device: torch.device) -> float:
    """A whole study of that many cases, from images in memory to maps on disk."""
    from voxplain.data.case import Case

    grid = Grid((SIDE, SIDE, 1))
    pictures = [picture(torch.device("cpu"), 1, 1, SIDE, SIDE, seed=number)[0, ..., None] for number in range(count)]
    cases = [Case(f"case-{number}", Image.of(values, grid)) for number, values in enumerate(pictures)]
    model = vx.Model.of(on(small_network(), device))
    methods = (vx.method("grad_cam"), vx.method("gradient"))
    plan = vx.Plan(model, vx.Prepare(), (vx.target("class_score(1)"),), methods)
    with tempfile.TemporaryDirectory() as folder:
        return seconds_of(lambda: vx.run(plan, cases, Path(folder) / "run"), device)[0] / count


def peak_mib(spec: str, device: torch.device) -> float | None:
    """Peak memory of a method on one picture."""
    with Peak(device) as peak:
        _map(spec, device)
    return None if peak.bytes is None else peak.bytes / 2**20


def milliseconds_each(spec: str, count: int, device: torch.device) -> float:
    """Time of a method on one picture by the number of its samples or steps, the best of three."""
    return min(seconds_of(lambda: _map(spec, device), device)[0] for _ in range(3)) * 1000 / count


def _map(spec: str, device: torch.device) -> object:
    model = vx.Model.of(on(small_network(), device))
    return vx.method(spec)(vx.Score(model, "class_score(1)"), picture(device, 1, 1, SIDE, SIDE))
