"""The chest-view study: which view a film is, by a small network, and the shortcut that a border marker opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.methods import Method, method
from voxplain.phantoms.chest import Chest
from voxplain.score.load import load_model
from voxplain.score.target import target
from voxplain.spec import text
from voxplain.study.explain import Explainer
from voxplain.study.plan import Plan
from voxplain.study.run import run
from voxplain.study.studies import DATA, TRAINED, Say, Study, tested_cases, write_numbers
from voxplain.study.study_chest_view_evidence import evidence, explained, parts_in, write_samples
from voxplain.study.study_chest_view_films import filed
from voxplain.study.training_cases import training_cases
from voxplain.study.training_parts import TEST, VAL
from voxplain.training.recipe import Recipe
from voxplain.training.recipe_files import read_recipe

PLAIN, MARKED, SWAPPED = "plain", "marker", "marker-swapped"
"""Folders: films without marker; with it on every film filed as lateral; with it on every PA film instead."""

MARKERS = {PLAIN: (0.0, 0.0), MARKED: (0.0, 1.0), SWAPPED: (1.0, 0.0)}
"""Probability of the marker on PA and on lateral films. All else about a film is the same in all three."""

PROBABILITY = "probability"
"""What is explained: the softmax output of the predicted class, as in the source."""

SHUFFLE = 42
"""Seed by which the films shown are drawn, as in the source."""


@dataclass(frozen=True, kw_only=True)
class ChestViewStudy(Study):
    """Learn views of chest films without and with a border marker, and explain the predictions by Grad-CAM and LIME."""

    name: ClassVar[str] = "chest-view"
    title: ClassVar[str] = "PA or lateral film: Grad-CAM, image LIME, and a marker as shortcut (after xai-matlab)"

    n: int = 100
    """Films that are simulated; 70 % of them are learnt from."""
    epochs: int | None = None
    """Epochs of the training; left out: as the recipe has it."""
    backbone: str = ""
    """Local file of ImageNet weights of SqueezeNet 1.0 to start from, as in the source; none: random weights."""
    misfiled: float = 0.15
    """Share of the simulated films learnt from that are filed under the other view, as some are in every archive."""
    pictures: int = 4
    """Films shown in each grid."""
    samples: int = 2048
    """Images that LIME scores for each film."""
    features: int = 49
    """Segments that LIME aims at."""

    def run(self, folder: Path, say: Say) -> None:
        """Both trainings (given data: one), maps of the films shown, numbers."""
        variants = (PLAIN,) if self.data is not None else (PLAIN, MARKED)
        numbers: dict[str, Any] = {one: self._learnt(folder / one, one, say) for one in variants}
        if MARKED in variants:
            numbers["trained_with_marker"] = self._shortcut(folder, say)
        write_numbers(folder, numbers)

    def methods(self) -> tuple[Method, ...]:
        """Grad-CAM with its own choice of layer; LIME with superpixels or squares, by a tree or linear."""
        lime = f"samples={self.samples}, segments={self.features}, fill='mean', weighted=False"
        ways = [(cut, fit) for cut in ("slic", "grid") for fit in ("tree", "lasso")]
        found = [method(f"lime(segmenter='{cut}', surrogate='{fit}', {lime})") for cut, fit in ways]
        return (method("grad_cam"), *found)

    def _learnt(self, folder: Path, variant: str, say: Say) -> dict[str, Any]:
        """Train on one kind of films; of every part that is tested explain some films and measure all evidence."""
        say(f"{self.name}: films {'as they are' if variant == PLAIN else 'with a marker on those filed as lateral'}")
        recipe = self._recipe(variant)
        source = self._films(folder, variant, say)
        trained = self.trained(recipe, source, folder / TRAINED, say)
        cases = training_cases(source, recipe)
        parts = parts_in(trained.folder)
        write_samples(folder, _drawn([case for case in cases if case.identifier not in parts], self.pictures))
        model = load_model(str(trained.folder)).on(self.place)
        prepare = Prepare.read(trained.folder / "prepare.toml")
        plan = Plan(model, prepare, (target(PROBABILITY),), self.methods(), self.seed)
        found = dict(trained.scores)
        for part in dict.fromkeys(one for one in parts.values() if one != VAL):
            own = [case for case in cases if parts.get(case.identifier) == part]
            run(plan, _drawn(own, self.pictures), folder / explained(part), say=say)
            say(f"{self.name}: Grad-CAM of {len(own)} films, part {part}")
            name = "grad_cam_evidence" if part == TEST else f"grad_cam_evidence_{part}"
            found[name] = evidence(Explainer(model, prepare), own, target(PROBABILITY))
        return found

    def _films(self, folder: Path, variant: str, say: Say) -> Path:
        """The given data, or the table of simulated films, whose markers go with how they are filed."""
        source = self.source(self._recipe(variant), folder / DATA, say)
        if self.data is not None:
            return source
        swapped = folder.parent / SWAPPED / DATA
        misfiled = source if variant == PLAIN else self.source(self._recipe(SWAPPED), swapped, say)
        return filed(folder, source, misfiled, self.misfiled, self.seed)

    def _shortcut(self, folder: Path, say: Say) -> dict[str, float]:
        """How often the network that learnt with the marker is right on the same test films by where the marker is."""
        recipe = self._recipe(SWAPPED)
        sources = {one: folder / one / DATA for one in (MARKED, PLAIN)}
        sources[SWAPPED] = self.source(recipe, folder / SWAPPED / DATA, say)
        trained = folder / MARKED / TRAINED
        explainer = Explainer(
            load_model(str(trained)).on(self.place),
            Prepare.read(trained / "prepare.toml"),
        )
        words = {MARKED: "as_trained", PLAIN: "without_marker", SWAPPED: "with_swapped_marker"}
        return {
            f"accuracy_{words[one]}": _accuracy(explainer, tested_cases(trained, training_cases(source, recipe)))
            for one, source in sources.items()
        }

    def _recipe(self, variant: str) -> Recipe:
        """The recipe on films of a variant, in its own size."""
        settings: dict[str, Any] = {"n": self.n, "seed": self.seed}
        settings |= {} if self.epochs is None else {"epochs": self.epochs}
        usual = self.recipe("chest-view", **settings)
        if self.backbone:  # films that are given are then learnt in the source's way as well
            usual = read_recipe("chest-view", self.size, settings)
        side = int(max(usual.prepare.size or (128,)))
        film = Chest(side=side, noise=0.03, marker=MARKERS[variant])
        usual = replace(usual, phantom=text(film))
        if not self.backbone:
            return usual
        return replace(usual, network=f"squeezenet_views(version='1_0', size={side})", backbone=self.backbone)

    def _check(self) -> None:
        super()._check()
        for option, least in (("n", 10), ("pictures", 1)):
            self._require(getattr(self, option) >= least, option, f"at least {least}")
        self._require(self.epochs is None or self.epochs >= 1, "epochs", "at least 1")
        self._require(0 <= self.misfiled < 0.5, "misfiled", "from 0 to below a half")
        self.methods()


def _drawn(cases: list[Case], count: int) -> list[Case]:
    """Cases to show, drawn at random; a fixed seed, so that every figure shows the same ones."""
    chosen = np.random.default_rng(SHUFFLE).permutation(len(cases))[:count]
    return [cases[number] for number in chosen]


def _accuracy(explainer: Explainer, cases: list[Case]) -> float:
    """The share of cases whose label is what the model says."""
    said = [explainer.ready(case.image).prediction for case in cases]
    names = [one.class_names[one.predicted or 0] for one in said]
    return float(np.mean([name == case.label for name, case in zip(names, cases, strict=True)]))
