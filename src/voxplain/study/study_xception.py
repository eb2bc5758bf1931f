"""The Xception study: four backbones on three tumour types, and what CAMs, LIME and SHAP say about strong and weak."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.data.writing import json_text, written_beside
from voxplain.errors import OptionError
from voxplain.methods import method
from voxplain.score.load import load_model
from voxplain.score.model import Model
from voxplain.score.target import Target, target
from voxplain.study.plan import Plan
from voxplain.study.run import check_plan, run
from voxplain.study.studies import DATA, TRAINED, Say, Study, write_numbers
from voxplain.study.study_xception_cases import featured, told
from voxplain.study.study_xception_layers import eight_layers
from voxplain.study.study_xception_models import RECIPE, compared, strong_settings, weak_settings, write_comparison
from voxplain.study.study_xception_numbers import numbers_of
from voxplain.study.training_cases import training_cases
from voxplain.study.training_job import TrainedFolder
from voxplain.training.recipe import Recipe

STRONG, WEAK, RUNS, FACTS = "strong", "weak", "runs", "study.json"

BACKBONES = ("xception", "inception_v3", "densenet201", "resnet50")
"""In the order of the accuracies that the study reports: 97.05, 96.57, 96.43 and 81.50 %."""

CAM = "gated_grad_cam"
"""The study's Grad-CAM: gradients gated as in guided backpropagation, and nothing cut."""


@dataclass(frozen=True)
class Amounts:
    """How much work a size is."""

    images: int | None
    """Phantoms; None: as the recipe has it."""
    compared_epochs: tuple[int, int]
    """Of each compared backbone: head alone, then everything."""
    catalogue: int | None
    """Test images in the catalogue; None: all."""
    explained: int
    """Test images that all methods explain."""
    lime: int
    kernel: float
    """Of LIME's quickshift, in pixels: small pictures need finer segments."""
    shap: int


AMOUNTS = {
    "small": Amounts(images=600, compared_epochs=(1, 6), catalogue=24, explained=6, lime=400, kernel=2.0, shap=400),
    "paper": Amounts(
        images=None, compared_epochs=(20, 20), catalogue=None, explained=12, lime=1000, kernel=4.0, shap=4000
    ),
}


@dataclass(frozen=True, eq=False)
class Asked:
    """One run over test images."""

    name: str
    model: Model
    prepare: Prepare
    targets: tuple[Target | None, ...]
    methods: tuple[str, ...]
    cases: list[Case]

    @classmethod
    def of(
        cls, name: str, trained: Path, place: str, cases: list[Case], methods: list[str], *, every_class: bool = False
    ) -> Asked:
        """A run of a trained network; without methods, the study's CAM at eight layers."""
        model, prepare = load_model(str(trained)).on(place), Prepare.read(trained / "prepare.toml")
        classes = tuple(target(f"class_score({number})") for number in range(len(model.class_names)))
        at_layers = f"{CAM}(layer={list(eight_layers(model.module))})"
        return cls(name, model, prepare, classes if every_class else (None,), tuple(methods or [at_layers]), cases)


@dataclass(frozen=True, kw_only=True)
class XceptionStudy(Study):
    """Glioma, meningioma or pituitary tumour: who is right, and why a strong and a weak network say what they say."""

    name: ClassVar[str] = "xception"
    title: ClassVar[str] = "three brain tumour types: four backbones compared, Grad-CAM by layer, LIME and SHAP"

    backbones: tuple[str, ...] = BACKBONES
    """Backbones that are compared: names of the study or of timm."""
    weights: tuple[str, ...] = ()
    """Local files of their ImageNet weights, one a backbone; left out: random weights."""
    start: str = ""
    """Local file of the weights that the strong and the weak network start from; left out: random weights, and at size
    paper those given for 'xception'."""
    images: int | None = None
    """Phantoms that are simulated; left out: 600 at size small, the recipe's number at size paper."""
    epochs: int | None = None
    """Epochs of the strong network; left out: the recipe's number."""
    compared_epochs: tuple[int, int] | None = None
    """Epochs of each compared backbone: of its head alone, then of everything; left out: those of the size."""
    explained: int | None = None
    """Test images that all methods explain; left out: 6 at size small, 12 at size paper."""
    lime_samples: int | None = None
    """Images that LIME scores for each; left out: 400 at size small, the study's 1000 at size paper."""
    shap_evaluations: int | None = None
    """Images that SHAP scores for each; left out: 400 at size small, the study's 4000 at size paper."""

    def run(self, folder: Path, say: Say) -> None:
        """Compare backbones, train a strong and a weak network, explain both; finished steps are kept."""
        strong, weak = self._both()
        source = self.source(strong, folder / DATA, say)
        trained = {STRONG: self._training(STRONG, strong, source, folder, say)}
        trained[WEAK] = self._training(WEAK, weak, source, folder, say)
        others = self._compared(source, folder, say)
        names = told(trained[STRONG].folder)
        cases = [case for case in training_cases(source, strong) if case.identifier in names]
        chosen = featured(cases, trained[STRONG].folder, self.explained or self._amounts.explained)
        for asked in self._asked(cases, chosen, trained, others):
            say(f"{asked.name}: {len(asked.cases)} images")
            plan = Plan(asked.model, asked.prepare, asked.targets, tuple(map(method, asked.methods)), self.seed)
            check_plan(plan)
            run(plan, asked.cases, folder / RUNS / asked.name, say=say)
        write_comparison(folder, others)
        facts = {"trained": [*trained, *others], "explained": [one.identifier for one in chosen]}
        with written_beside(folder / FACTS) as beside:
            beside.write_text(json_text(facts, indent=1) + "\n", "utf-8")
        write_numbers(folder, numbers_of(folder, trained, others))

    def _training(self, name: str, recipe: Recipe, source: Path, folder: Path, say: Say) -> TrainedFolder:
        say(f"{name}: {recipe.network}")
        return self.trained(recipe, source, folder / TRAINED / name, say)

    def _compared(self, source: Path, folder: Path, say: Say) -> dict[str, TrainedFolder]:
        """The table's networks, each trained alike."""
        epochs = self.compared_epochs or self._amounts.compared_epochs
        recipes = {
            name: self._recipe(**compared(name, self.size, self._weights.get(name), epochs)) for name in self.backbones
        }
        return {name: self._training(name, recipe, source, folder, say) for name, recipe in recipes.items()}

    def _asked(
        self,
        cases: list[Case],
        chosen: list[Case],
        trained: dict[str, TrainedFolder],
        others: dict[str, TrainedFolder],
    ) -> list[Asked]:
        """All runs that the figures need: catalogue, strong and weak, all methods, all classes, layers."""
        most = self._amounts.catalogue
        listed = cases if most is None else featured(cases, trained[STRONG].folder, most)
        strong, weak = trained[STRONG].folder, trained[WEAK].folder
        samples, kernel = self.lime_samples or self._amounts.lime, self._amounts.kernel
        lime = f"lime(samples={samples}, fill='zero', segmenter='quickshift', kernel={kernel})"
        shap = f"partition_shap(max_evals={self.shap_evaluations or self._amounts.shap})"
        asked = [
            Asked.of("catalogue", strong, self.place, listed, [CAM]),
            Asked.of("catalogue-weak", weak, self.place, chosen, [CAM]),
            Asked.of("explained", strong, self.place, chosen, [CAM, lime, shap]),
            Asked.of("classes", strong, self.place, chosen, ["grad_cam"], every_class=True),
            Asked.of("layers", strong, self.place, chosen[:4], []),
        ]
        deep = [Asked.of(f"layers-{name}", others[name].folder, self.place, chosen[:1], []) for name in [*others][:1]]
        return [*asked, *deep]

    def _both(self) -> tuple[Recipe, Recipe]:
        """The recipes of the strong and of the weak network, which start from the same weights."""
        start = {"backbone": self.start} if self.start else {}
        settings = strong_settings(self.size, self._weights, self.epochs), weak_settings(self.size, self._weights)
        strong, weak = (self._recipe(**one | start) for one in settings)
        return strong, weak

    def _recipe(self, **settings: Any) -> Recipe:
        images = self.images or self._amounts.images
        given = {} if images is None else {"n": images}
        return self.recipe(RECIPE, seed=self.seed, **given, **settings)

    @property
    def _weights(self) -> dict[str, str]:
        return dict(zip(self.backbones, self.weights, strict=False))

    @property
    def _amounts(self) -> Amounts:
        return AMOUNTS[self.size]

    def _check(self) -> None:
        super()._check()
        self._require(len(self.backbones) >= 1, "backbones", "at least one name")
        if len(self.weights) not in (0, len(self.backbones)):
            raise OptionError(f"{self.name}: weights must be one file a backbone, got {len(self.weights)}")
        for option in ("images", "epochs", "explained"):
            self._require(getattr(self, option) is None or getattr(self, option) >= 1, option, "at least 1")
