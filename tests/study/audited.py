"""Small pictures with a body and perhaps a marker, and networks whose strategy is known, for tests of audits."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.methods import method
from voxplain.phantoms.base import picture
from voxplain.score.model import Model
from voxplain.study.audit import audit
from voxplain.study.plan import Plan

SIDE = 40
CLASSES = ("plain", "marked")
METHODS = ("gradient", "input_x_gradient")


class Watching(nn.Module):
    """The margin of class 1 is what it sees of the bright in one place, less a threshold."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.head = nn.Linear(SIDE * SIDE, 2)
        seen = torch.zeros(SIDE, SIDE)
        if place == "corners":
            seen[:8, :8] = seen[:8, -8:] = 1.0
        else:
            seen[14:26, 14:26] = 1 / 6
        with torch.no_grad():
            self.first.weight.zero_()[0, 0, 1, 1] = 1.0
            self.head.weight.copy_(torch.stack([-seen.flatten(), seen.flatten()]))
            threshold = 6.0 if place == "corners" else 12.0
            self.head.bias.copy_(torch.tensor([threshold, -threshold]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x).relu().flatten(1))


def cases(count: int = 16, *, patients: int | None = None) -> list[Case]:
    """Discs, every other one brighter and with a bright square in an upper corner, left and right in turn."""
    found = []
    for number in range(count):
        draw, marked = np.random.default_rng(number), number % 2 == 1
        rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        film = 0.05 * draw.random((SIDE, SIDE))
        film[rows**2 + columns**2 < 14**2] += 0.7 if marked else 0.3
        if marked:
            film[2:6, slice(2, 6) if number % 4 == 1 else slice(-6, -2)] = 1.0
        name = f"c{number:02d}"
        group = None if patients is None else f"p{number % patients}"
        found.append(Case(name, picture(film, name), label=CLASSES[marked], group=group))
    return found


def plan(place: str, *methods: str, seed: int = 0, **model) -> Plan:
    made = Model.of(Watching(place).eval(), class_names=CLASSES, label=place, **model)
    return Plan(made, Prepare(scale=1 / 255), (None,), tuple(map(method, methods or METHODS)), seed)


def audited(folder: Path, place: str, *methods: str, count: int = 16, **options):
    return audit(plan(place, *methods), cases(count), folder / place, quick=True, **options)
