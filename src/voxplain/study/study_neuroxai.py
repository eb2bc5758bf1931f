"""The NeuroXAI study: seven methods on a grade classifier of slices and on a segmenter of volumes, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from voxplain.data.case import Case, read_cases
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError
from voxplain.score.load import load_model
from voxplain.score.released import PREPARE
from voxplain.study.explain import Explainer
from voxplain.study.studies import DATA, TRAINED, Say, Study, write_numbers
from voxplain.study.study_neuroxai_data import (
    SLICES,
    Listed,
    by_grade,
    grade_table,
    listed_cases,
    read_parts,
    segmentation_table,
    unseen_cases,
)
from voxplain.study.study_neuroxai_final import final_scores
from voxplain.study.study_neuroxai_grade import explain_grades
from voxplain.study.study_neuroxai_numbers import grade_numbers, plain_scores, segmentation_numbers
from voxplain.study.study_neuroxai_volumes import Asked, explain_volumes
from voxplain.study.training_cases import training_cases
from voxplain.study.training_folder import PREDICTIONS
from voxplain.study.training_job import TrainedFolder
from voxplain.training.recipe import Recipe

GRADE, SEGMENTATION = "grade", "segmentation"
"""The two halves: folders of their data, trainings, maps and numbers."""

RECIPES = {GRADE: "glioma-grade", SEGMENTATION: "glioma-seg"}

MOST_SLICES = {"small": (4, 4), "paper": (11, 14)}
"""High and low grades that are explained; the paper's lists have 11 and 14."""


@dataclass(frozen=True, kw_only=True)
class NeuroxaiStudy(Study):
    """Explanations of a glioma's grade from FLAIR slices and of its parts from four sequences.

    Given data are a table as of `voxplain simulate glioma`, or the source's folders: FLAIR/HGG and FLAIR/LGG with
    slices, and a folder a case with <case>_flair.nii.gz, _t1, _t1ce, _t2 and _seg.
    """

    name: ClassVar[str] = "neuroxai"
    title: ClassVar[str] = "Seven methods on a glioma grader and a 3D segmenter, and the flow through all convolutions"

    modality: str = "flair"
    """Sequence that lies below the maps of volumes."""
    slice: int | None = None
    """Axial slice of all figures of volumes; none: where a case's tumour is largest."""
    slices: tuple[str, ...] = ()
    """Cases for the classifier, each 'id' or 'id:slice'; none: the first of each grade in the test part."""
    volumes: tuple[str, ...] = ()
    """Cases for the segmenter, each 'id' or 'id:slice'; none: the first three of the test part."""
    layer: str = ""
    """The segmenter's layer for Grad-CAM beside the other methods; none: its last convolution, as in the source."""
    most_slices: int | None = None
    """Slices of each grade that are explained without a list; none: 4, or the paper's 11 and 14."""
    most_volumes: int = 3
    """Volumes that are explained without a list."""
    phantoms: int | None = None
    """Phantoms of each kind; none: as the recipes say."""
    epochs: int | None = None
    """Epochs of each training; none: as the recipes say."""

    def run(self, folder: Path, say: Say) -> None:
        """Train both networks, explain both case lists, and write down what was found."""
        numbers: dict[str, Any] = {}
        for half, step in ((GRADE, self._graded), (SEGMENTATION, self._segmented)):
            found = step(folder, say)
            if found is None:
                say(f"no data for the {half} half in {Path(str(self.data)).name}: left out")
            else:
                numbers[half] = found
        if not numbers:
            raise InputError(
                f"data {Path(str(self.data)).name!r} must hold a table, FLAIR/HGG and FLAIR/LGG with slices, or "
                "folders of cases with <case>_seg.nii.gz, got none of these"
            )
        write_numbers(folder, numbers)

    def _graded(self, folder: Path, say: Say) -> dict[str, Any] | None:
        recipe = self._recipe(GRADE)
        source = self._source(GRADE, recipe, folder, say)
        if source is None:
            return None
        if source.name == SLICES:
            # Slices that were saved in colour have no channel of the sequence's name; all their channels are alike.
            channel = read_cases(source)[0].image.channels[0]
            recipe = self._recipe(GRADE, slice="given", prepare={"channels": [channel]})
        trained, cases = self._learnt(GRADE, recipe, source, folder, say)
        parts = read_parts(trained.folder / PREDICTIONS)
        test = [case for case in cases if parts.get(case.identifier) == "test"]
        wanted = [Listed.of(text) for text in self.slices] or by_grade(test, self._most_slices)
        chosen = listed_cases(cases, wanted)
        say(f"grade: explaining {len(chosen)} slices")
        explain_grades(self._explainer(trained), chosen, folder / GRADE, say)
        return grade_numbers(trained, folder / GRADE)

    def _segmented(self, folder: Path, say: Say) -> dict[str, Any] | None:
        recipe = self._recipe(SEGMENTATION)
        source = self._source(SEGMENTATION, recipe, folder, say)
        if source is None:
            return None
        trained, cases = self._learnt(SEGMENTATION, recipe, source, folder, say)
        unseen = unseen_cases(cases, recipe)
        first = [Listed(case.identifier) for case in unseen[: self.most_volumes]]
        chosen = listed_cases(cases, [Listed.of(text) for text in self.volumes] or first)
        asked = Asked(self.layer, self.modality, self.slice, self.size)
        explainer = self._explainer(trained)
        explain_volumes(explainer, chosen, asked, folder / SEGMENTATION, say)
        final = plain_scores(final_scores(explainer, unseen, self.seed))
        return {**segmentation_numbers(trained, folder / SEGMENTATION), "final": final}

    def _source(self, half: str, recipe: Recipe, folder: Path, say: Say) -> Path | None:
        """The data of a half: phantoms, a table, or one made of the source's folders."""
        if self.data is None:
            return self.source(recipe, folder / DATA / half, say)
        make = grade_table if half == GRADE else segmentation_table
        return make(Path(self.data), folder / DATA)

    def _learnt(
        self, half: str, recipe: Recipe, source: Path, folder: Path, say: Say
    ) -> tuple[TrainedFolder, list[Case]]:
        trained = self.trained(recipe, source, folder / TRAINED / half, say)
        return trained, training_cases(source, recipe)

    def _explainer(self, trained: TrainedFolder) -> Explainer:
        model = load_model(str(trained.folder)).on(self._device)
        return Explainer(model, Prepare.read(trained.folder / PREPARE), seed=self.seed)

    def _recipe(self, half: str, **more: Any) -> Recipe:
        counts = {"n": self.phantoms, "epochs": self.epochs}
        given: dict[str, Any] = {key: value for key, value in counts.items() if value is not None}
        return self.recipe(RECIPES[half], seed=self.seed, **given, **more)

    @property
    def _most_slices(self) -> tuple[int, int]:
        return MOST_SLICES[self.size] if self.most_slices is None else (self.most_slices, self.most_slices)

    @property
    def _device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _check(self) -> None:
        super()._check()
        self._require(self.slice is None or self.slice >= 0, "slice", "at least 0")
        for option, least in (("most_slices", 1), ("most_volumes", 1), ("phantoms", 4), ("epochs", 1)):
            value = getattr(self, option)
            self._require(value is None or value >= least, option, f"at least {least}")
        for text in (*self.slices, *self.volumes):
            Listed.of(text)
