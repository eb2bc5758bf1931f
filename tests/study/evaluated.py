"""Small cases, plans and run folders for tests of evaluations and comparisons."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.nets import Awkward, seeded
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.methods import method
from voxplain.score.model import Model
from voxplain.score.target import target
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan

SIZE = (14, 12, 1)
GRID = Grid(SIZE, np.array([[0.7, 0, 0, 1], [0, -0.9, 0, 3], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
"""Axes of two lengths and spacings, one of them reversed."""

LOOKING = ("relevance_mass", "sparseness")
FAST = (*LOOKING, "deletion(steps=4)", "efficient_mprt")
"""Metrics of every kind, quick."""


def image(number: int, identifier: str) -> Image:
    values = np.random.default_rng(number).normal(100, 20, SIZE)
    return Image.of(values, GRID, identifier=identifier)


def cases(count: int = 4, *, masks: bool = True, patients: int = 2) -> list[Case]:
    """Cases c0, c1 ... of some patients, each with a mask at another place."""
    found = []
    for number in range(count):
        mask = np.zeros(SIZE)
        mask[2 + number : 6 + number, 3:6] = 2
        own = Image.of(mask, GRID, identifier=f"c{number}", channels=("mask",)) if masks else None
        label = ("0", "1", "2")[number % 3]
        group = f"p{number % patients}"
        found.append(Case(f"c{number}", image(number, f"c{number}"), mask=own, label=label, group=group))
    return found


def model(seed: int = 0) -> Model:
    network = seeded(Awkward, 2, "classification", channels=1, seed=seed).float()
    return Model.of(network, label="awkward", class_names=("0", "1", "2"))


def plan(*methods: str, seed: int = 0, targets: tuple[str, ...] = ("class_score(1)",), **options) -> Plan:
    prepare = Prepare(size=(16, 16), zscore=True)
    names = methods or ("gradient", "grad_cam(layer='second')")
    asked = tuple(target(one) for one in targets) or (None,)
    return Plan(model(seed), prepare, asked, tuple(map(method, names)), **options)


def without_voxels(case: Case) -> Case:
    """The case with an image that cannot be explained."""
    return replace(case, image=case.image.with_values(np.zeros((1, *SIZE))))


def rows_by(rows, *names):
    """Rows by some of their entries; each must be there once."""
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
