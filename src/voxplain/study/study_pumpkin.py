"""The brain-age study on ageing pumpkins: ages learnt from pictures, and where their evidence lies."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.methods import method
from voxplain.phantoms.pumpkins import Pumpkins
from voxplain.score.load import load_model
from voxplain.spec import text
from voxplain.study.explain import Explainer
from voxplain.study.simulate import TABLE
from voxplain.study.studies import DATA, TRAINED, Say, Study, tested_cases, write_numbers
from voxplain.study.study_pumpkin_evidence import ARCHIVE, MARKS, numbers_of, read_archive, write_archive
from voxplain.study.training_cases import training_cases
from voxplain.training.recipe import Recipe

BIAS = 55.0
"""Centre in years of the extra peak of ages in the source's own run."""

LEAST = 100
"""Images at least, as in the source: a tenth of them is the test set."""

LRP = "lrp(composite='preset_a', bias='library')"
"""The analyser of the source: its rules, its epsilon, and its library's way with biases."""


@dataclass(frozen=True, kw_only=True)
class PumpkinStudy(Study):
    """Simulate pumpkins, learn their ages, explain the whole test set by LRP, and hold it against the true marks."""

    name: ClassVar[str] = "pumpkin"
    title: ClassVar[str] = "age of simulated pumpkins: target bias, LRP of the test set, true marks (after XDLreg)"

    seed: int = 1
    """Everything random follows from this."""
    n_samples: int = 2000
    """Pictures that are simulated; the last tenth of them is the test set."""
    uniform: bool = False
    """Whether ages are spread evenly; if not, every fifth one lies around target_bias."""
    target_bias: float | None = None
    """Centre in years of the extra peak of ages; left out: 55 with uniform=False."""
    growth_mode: Literal["human", "eternal", "tang_ping", "no_growth"] = "human"
    """How age shows: marks; size; lying flatter; a tumour that brightens."""
    epochs: int | None = None
    """Epochs of the training; left out: as the recipe has it."""
    plot_n_heatmaps: int = 20
    """Test images whose heat maps are drawn one by one."""

    def run(self, folder: Path, say: Say) -> None:
        """Data, training, relevance archive, numbers."""
        recipe = self._recipe()
        source = self.source(recipe, folder / DATA, say)
        done = self.trained(recipe, source, folder / TRAINED, say)
        if not (folder / ARCHIVE).is_file():
            self._explain(folder, training_cases(source, recipe), source, say)
        write_numbers(folder, {"test": done.scores["test"], **numbers_of(read_archive(folder))})

    def phantom(self) -> Pumpkins:
        """The phantom; its own checks hold for the options that are its."""
        peak = BIAS if self.target_bias is None and not self.uniform else self.target_bias
        return Pumpkins(growth_mode=self.growth_mode, uniform=self.uniform, target_bias=peak)

    def _recipe(self) -> Recipe:
        settings: dict[str, Any] = {"phantom": text(self.phantom()), "n": self.n_samples, "seed": self.seed}
        settings |= {} if self.epochs is None else {"epochs": self.epochs}
        return self.recipe("pumpkin-age", **settings)

    def _explain(self, folder: Path, cases: Sequence[Case], source: Path, say: Say) -> None:
        """LRP of every test image, kept with image, age, prediction and true marks."""
        tested = tested_cases(folder / TRAINED, cases)
        say(f"{self.name}: explaining {len(tested)} test images")
        model = load_model(str(folder / TRAINED)).on(self.place)
        explainer, how = Explainer(model, Prepare.read(folder / TRAINED / "prepare.toml")), method(LRP)
        table = _phantom_rows(source)
        rows = [table.get(case.identifier, {}) for case in tested]
        readies = [explainer.ready(case.image) for case in tested]
        maps = [explainer.maps(ready, [(None, how)])[0] for ready in readies]
        peak = self.phantom().target_bias
        write_archive(
            folder,
            relevance=np.stack([one.values.sum(axis=0)[..., 0] for one in maps]).astype(np.float32),
            images=np.stack([case.image.values[0, ..., 0] for case in tested]).astype(np.float32),
            identifiers=[case.identifier for case in tested],
            ages=[float(str(case.label)) for case in tested],
            predictions=[ready.prediction.scores[0] for ready in readies],
            output_bias=float(dict(model.module.named_parameters())["head.bias"][0]),
            all_ages=[float(str(case.label)) for case in cases],
            peak=np.nan if peak is None or self.data is not None else peak,
            plotted=self.plot_n_heatmaps,
            **{column: [row.get(column) or "" for row in rows] for column in MARKS},
        )

    def _check(self) -> None:
        super()._check()
        self._require(self.n_samples >= LEAST, "n_samples", f"at least {LEAST}")
        self._require(self.epochs is None or self.epochs >= 1, "epochs", "at least 1")
        self._require(self.plot_n_heatmaps >= 0, "plot_n_heatmaps", "at least 0")
        self.phantom()


def _phantom_rows(source: Path) -> dict[str, dict[str, str]]:
    """The rows of the phantoms' own table by id; none where the data have no such table."""
    table = source / TABLE if source.is_dir() else source
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8-sig", newline="") as stream:
        return {row.get("id") or "": row for row in csv.DictReader(stream)}
