"""The phantoms of the benchmark, and a small network for each that is trained once and kept."""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass, field
from math import nan
from pathlib import Path

from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.phantoms.signals import Signals
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.released import MODEL, PREPARE, is_released
from voxplain.study.evaluate_rows import key_of
from voxplain.study.simulate import request, simulate
from voxplain.study.train import train
from voxplain.training.augmentation import Augmentation
from voxplain.training.recipe import Recipe

UNSEEN = 10_000
"""Number of the first head that is explained: no training comes so far."""

REFERENCES = 8
"""Heads without the feature, for methods that compare with others; numbered behind those that are explained."""


@dataclass(frozen=True)
class Task:
    """One phantom, what is planted in it, and what else an image holds that must not be mistaken for it."""

    name: str
    simulation: Signals
    planted: str
    """The feature, in words."""
    network: str = "small_cnn_2d(width=8, depth=3)"
    other: str = ""
    """What else there is, in words; '' for nothing."""
    suppressor: bool = False
    """True where a network must use what else there is, to cancel what disturbs the feature."""
    epochs: int = 20
    heads: int = 480
    """From which it learns, and by some of which it is chosen."""

    augment: Augmentation = field(default_factory=Augmentation)
    """Random changes of the heads that it learns from."""

    def recipe(self, seed: int) -> Recipe:
        """How its network is trained."""
        return Recipe(
            title=self.planted,
            task="classification",
            network=self.network.replace("(", f"(channels={self._channels}, "),
            prepare=Prepare(channels=("t1", "t2") if self._channels == 2 else None, scale=0.001),
            augment=self.augment,
            classes=self.simulation.labels,
            positive=self.simulation.labels[1],
            optimiser="adam",
            schedule="one_cycle",
            rate=5e-3,
            batch=16,
            epochs=self.epochs,
            seed=seed,
        )

    @property
    def _channels(self) -> int:
        return 2 if self.simulation.kind == "sequence" else 1


TASKS = {
    one.name: one
    for one in (
        Task("focal", Signals(kind="focal"), "a bright lesion"),
        Task("focal_3d", Signals(kind="focal", rank=3), "a bright lesion in a volume",
             network="small_cnn_3d(width=8, depth=3)", epochs=30),
        Task("diffuse", Signals(kind="diffuse"), "fine mottle in one half of the brain"),
        Task("sequence", Signals(kind="sequence"), "a lesion that T2 shows", other="a lesion that T1 shows"),
        Task("suppressor", Signals(kind="suppressor"), "brightness added to a lesion",
             other="the dose that the vein shows", suppressor=True,
             epochs=35, heads=1920, augment=Augmentation(flip=(0.0, 0.5))),
        Task("shortcut", Signals(kind="shortcut"), "a marker in a corner", other="a faint lesion"),
    )
}  # fmt: skip
"""The phantoms by name."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that has learnt one phantom."""

    task: Task
    seed: int
    """Of the heads and of the training."""
    model: Model
    prepare: Prepare
    right: float
    """Share of unseen heads that it classifies rightly, as its training found."""

    def references(self) -> tuple[Image, ...]:
        """Heads without the feature that no training saw."""
        first = 2 * UNSEEN
        made = (self.task.simulation.drawn(first + n, self.seed, feature=False) for n in range(REFERENCES))
        return tuple(one.image for one in made)


def trained(task: Task, seed: int, out: Path) -> Trained:
    """The network of a phantom and seed, trained below `out` where it does not lie there yet."""
    recipe = task.recipe(seed)
    asked = key_of(heads=request(task.simulation, task.heads, seed), recipe=recipe.table())
    folder = out / "networks" / f"{task.name}-seed{seed}-{asked[:8]}"
    data = folder.with_name(f"{folder.name}-heads")
    if not is_released(folder):
        simulate(task.simulation, task.heads, seed=seed, out=data, workers=1)
        train(recipe, data, out=folder)
    shutil.rmtree(data, ignore_errors=True)  # a kill may have left it
    told = tomllib.loads((folder / MODEL).read_text("utf-8"))
    right = float(dict(told.get("scores", {})).get("accuracy", nan))
    return Trained(task, seed, load_model(str(folder)), Prepare.read(folder / PREPARE), right)
