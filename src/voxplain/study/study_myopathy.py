"""The myopathy study: grouped cross-validation, CAMs, partition SHAP, hierarchical occlusion and their ensembles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from voxplain.data.prepare import Prepare
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import OptionError
from voxplain.methods import Method
from voxplain.score.load import load_model
from voxplain.study.plan import Plan
from voxplain.study.run import check_plan, run
from voxplain.study.studies import DATA, TRAINED, Say, Study, write_numbers
from voxplain.study.study_myopathy_cases import tiles_of_test
from voxplain.study.study_myopathy_ensemble import RULES, fuse_tiles
from voxplain.study.study_myopathy_maps import Settings, methods_of, write_arrays
from voxplain.study.study_myopathy_numbers import network_numbers
from voxplain.study.train import train
from voxplain.study.training_job import TrainedFolder
from voxplain.toml import toml
from voxplain.training.recipe import Recipe
from voxplain.training.recipe_files import read_recipe

RECIPE = "muscle-cv"

EXPLAINED, FACTS = "explained", "study.json"
"""Folder of the run of each network, and the file that tells the figures what there is."""

SMALL_CNN = "small_cnn"
"""A network of 100 thousand weights; what it sees stands beside what the study's own see."""

PHASES = ("frozen", "frozen_epochs", "epochs", "rate", "batch", "patience", "schedule")
"""What learns, and how long: from random weights as the recipe's size small has it, from given ones as its paper."""

EPOCHS, RATES = {SMALL_CNN: 16}, {SMALL_CNN: 0.02}
"""Of networks that learn from random weights, where they differ from the recipe's."""

MOST_EPOCHS = 100
"""The study's own number, at size paper."""

NETWORKS: dict[str, tuple[str, ...]] = {"small": ("resnet18v", SMALL_CNN), "paper": ("resnet18v", "resnet50v")}
"""Size -> the networks that are compared; the study's own are called as in its results."""

SMALL_SIDE, SIDE = 128, 224
"""Pixels that the recipe prepares: of phantoms at size small, where the head's map is 3 x 3, and the study's own."""


@dataclass(frozen=True, kw_only=True)
class MyopathyStudy(Study):
    """Healthy or affected muscles: who is right, where the networks look, and where their explanations agree."""

    name: ClassVar[str] = "myopathy"
    title: ClassVar[str] = "healthy or affected leg muscles: cross-validation, five methods and their ensembles"

    networks: tuple[str, ...] = ()
    """resnet18v, resnet50v, small_cnn; left out: those of the size."""
    weights: tuple[str, ...] = ()
    """Local files of ImageNet weights, one a network; left out or '': random weights, of which none is frozen."""
    tiles: int | None = None
    """Phantom tiles that are simulated; left out: the recipe's number."""
    folds: int | None = None
    """Inner folds; left out: 3 at size small, the study's 10 at size paper."""
    epochs: int | None = None
    """Most epochs of a training; left out: those of the network and size."""
    explained: int | None = None
    """Tiles of the test fold that are explained; left out: 8 at size small, all at size paper."""
    evaluations: int | None = None
    """Images that SHAP scores for each tile; left out: 300 at size small, the study's 5000 at size paper."""
    threshold: float = 0.5
    """From which value on a map votes in the rule 'threshold'; the study does not tell its own."""

    def run(self, folder: Path, say: Say) -> None:
        """Train, explain and join network by network; every step that lies there finished is kept."""
        recipe = self._recipe(self._networks[0])
        source = self.source(recipe, folder / DATA, say)
        found = {name: self._network(name, source, folder, say) for name in self._networks}
        facts = {"networks": list(found), "rules": list(RULES), "phantoms": self.data is None}
        with written_beside(folder / FACTS) as beside:
            beside.write_text(json_text(facts, indent=1) + "\n", "utf-8")
        write_numbers(folder, found)

    def _network(self, name: str, source: Path, folder: Path, say: Say) -> dict[str, Any]:
        """Everything about one network; the numbers that came out."""
        recipe = self._recipe(name)
        trained = self._trained(name, recipe, source, folder, say)
        tiles = tiles_of_test(source, recipe, trained.folder, self._explained)
        say(f"{name}: explaining {len(tiles)} tiles of the test fold")
        model = load_model(str(trained.folder)).on(self.place)
        plan = Plan(model, Prepare.read(trained.folder / "prepare.toml"), (None,), self._methods(name), self.seed)
        check_plan(plan)
        run(plan, tiles, folder / EXPLAINED / name, say=say)
        write_arrays(folder / EXPLAINED / name, folder / "arrays" / name)
        say(f"{name}: joining maps")
        fuse_tiles(folder / EXPLAINED / name, folder / "ensembles" / name, threshold=self.threshold)
        return network_numbers(trained, folder, name)

    def _trained(self, name: str, recipe: Recipe, source: Path, folder: Path, say: Say) -> TrainedFolder:
        """The cross-validation of a network, under its own name: the source's results are titled by it."""
        file = folder / "recipes" / f"{name}.toml"
        with written_beside(file) as beside:
            beside.write_text(toml(recipe.table()), "utf-8")
        return train(str(file), source, out=folder / TRAINED / name, device=self.device, say=say)

    def _recipe(self, name: str) -> Recipe:
        """The recipe of the cross-validation with a network put in."""
        weights = dict(zip(self._networks, self.weights, strict=False)).get(name, "")
        frozen = weights != "" and name != SMALL_CNN  # which has no backbone
        chosen: dict[str, Any] = {"network": self._network_spec(name, frozen=frozen), "seed": self.seed}
        chosen |= {"backbone": weights, **(self._head_alone() if frozen else self._phases(name))}
        given = {"n": self.tiles, "inner_folds": self.folds}
        return self.recipe(RECIPE, **chosen, **{key: one for key, one in given.items() if one is not None})

    def _phases(self, name: str) -> dict[str, Any]:
        """Without weights of ImageNet all of a network learns, as the recipe of size small has it at any size."""
        recipe = read_recipe(RECIPE, with_data=self.data is not None)
        found = {key: getattr(recipe, key) for key in PHASES}
        usual = EPOCHS.get(name, recipe.epochs) if self.size == "small" else MOST_EPOCHS
        return found | {"epochs": self.epochs or usual, "rate": RATES.get(name, recipe.rate)}

    def _head_alone(self) -> dict[str, Any]:
        """With them the study's own phases: the backbone is left as it is."""
        recipe = read_recipe(RECIPE, "paper")
        found = {key: getattr(recipe, key) for key in PHASES}
        epochs = {} if self.epochs is None else {"frozen_epochs": self.epochs}
        return {**found, "frozen_rate": recipe.frozen_rate, **epochs}

    def _network_spec(self, name: str, *, frozen: bool) -> str:
        if name == SMALL_CNN:
            return "small_cnn_2d(width=8, depth=4)"
        return f"grey_resnet(depth={name[6:8]}, size={self._side}, frozen={frozen})"

    def _methods(self, name: str) -> tuple[Method, ...]:
        evaluations = self.evaluations or (300 if self.size == "small" else 5000)
        most = 1400 if self.size == "small" else None
        return methods_of(Settings(name, self._side, evaluations, most))

    @property
    def _networks(self) -> tuple[str, ...]:
        return self.networks or NETWORKS[self.size]

    @property
    def _side(self) -> int:
        return SMALL_SIDE if self.size == "small" and self.data is None else SIDE

    @property
    def _explained(self) -> int | None:
        return self.explained or (8 if self.size == "small" else None)

    def _check(self) -> None:
        super()._check()
        known = sorted({name for names in NETWORKS.values() for name in names})
        for name in self.networks:
            if name not in known:
                raise OptionError(f"{self.name}: networks must be of {', '.join(known)}, got {name!r}")
        for option, least in (("tiles", 1), ("folds", 2), ("epochs", 1), ("explained", 1), ("evaluations", 2)):
            value = getattr(self, option)
            self._require(value is None or value >= least, option, f"at least {least}")
        self._require(len(self.weights) in (0, len(self._networks)), "weights", "one file a network")
        self._require(0 < self.threshold <= 1, "threshold", "above 0 and at most 1")
