"""Figures of the NeuroXAI study's segmenter: eleven panels a part of the tumour, five a method, other sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.nifti import read_nifti
from voxplain.report.contents import read_run
from voxplain.report.figures import save
from voxplain.report.figures_names import file_name
from voxplain.report.figures_rows import draw_by_modality, draw_methods, draw_single
from voxplain.report.figures_runs import CaseMaps, case_maps
from voxplain.report.study_neuroxai_maps import by_name, in_grey, shown_maps, signed, write_panels
from voxplain.study.plan import file_name as plain

Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """One part of one case, with what its figures share."""

    found: CaseMaps
    part: Mapping[str, Any]
    slice: int
    labels: Array
    """(i, j, k), the final prediction."""
    methods: Mapping[str, str]
    layer: str
    modality: str
    truth: str

    @property
    def title(self) -> str:
        """Case, grade and what is explained."""
        grade = f", {self.truth}" if self.truth else ""
        one = self.found.maps[0]
        return f"{self.found.identifier}{grade}: {self.part['title']}\n{one.target_words or one.target}"

    @property
    def shown_labels(self) -> Array:
        """The predicted mask of the explained label alone, or of all for the whole tumour and the background."""
        key = str(self.part["key"])
        return self.labels if key in ("all", "0") else np.where(self.labels == int(key), self.labels, 0)

    def name(self, method: str, layer: str = "", modality: str = "") -> str:
        """The picture's name, by the source's pattern."""
        return file_name(self.found.identifier, layer, str(self.part["key"]), modality, method)

    def options(self, **more: Any) -> dict[str, Any]:
        """What all figures of this part are drawn with."""
        names = (self.found.facts.get("prediction") or {}).get("class_names") or ()
        both = {"prediction": self.shown_labels, "class_names": tuple(names), "title": self.title}
        return {**both, "index": self.slice, "channel": self.modality, **more}


def write_volume_figures(folder: Path, told: Mapping[str, Any], out: Path) -> list[Path]:
    """Rows and panels of all cases and parts; for the first case single methods, sequences and slices too."""
    written = []
    for number, case in enumerate(told["cases"]):
        run = read_run(folder / case["folder"] / "run")
        labels = predicted(folder / case["folder"])
        for part in case["parts"]:
            found = case_maps(run, case["id"], target=part["target"])
            truth = str(case["label"] or "")
            drawn = Drawn(
                found, part, case["slice"], labels, told["methods"], told["layer"], told["modality"], truth
            )  # fmt: skip
            written.append(_row(drawn, out))
            written += _panels(drawn, out)
            if number == 0:
                written += [*_singles(drawn, out), _sequences(drawn, out)]
            if number == 0 and part["key"] == "all":
                written += [*_other_backgrounds(drawn, out), *_other_slices(drawn, out), _row(drawn, out, signs=True)]
    return written


def predicted(home: Path) -> Array:
    """The final labels (i, j, k) of a case's folder."""
    labels: Array = np.rint(read_nifti(home / "prediction.nii.gz").values[0]).astype(np.int64)
    return labels


def _row(drawn: Drawn, out: Path, *, signs: bool = False) -> Path:
    maps = by_name(drawn.found, drawn.methods)
    shown = [signed(name, one) for name, one in maps.items()] if signs else shown_maps(maps)
    backdrop = "dimmed" if signs else "black"
    figure = draw_methods(drawn.found.image, shown, **drawn.options(backdrop=backdrop))
    return save(figure, out / drawn.name("methods_signed" if signs else "methods", drawn.layer))


def _singles(drawn: Drawn, out: Path) -> list[Path]:
    written = []
    for name, one in by_name(drawn.found, drawn.methods).items():
        figure = draw_single(
            drawn.found.image, in_grey(name, one), layer=one.layer, class_name=_short(drawn), **drawn.options()
        )
        written.append(save(figure, out / drawn.name(name.upper(), one.layer, drawn.modality)))
    return written


def _sequences(drawn: Drawn, out: Path) -> Path:
    """What each sequence contributes to the integrated gradients, which the source summed away."""
    one = by_name(drawn.found, drawn.methods)["ig"]
    figure = draw_by_modality(
        drawn.found.image, one.values, one.quantity, unit=one.unit, title=f"{drawn.title}\nIG", index=drawn.slice
    )
    return save(figure, out / drawn.name("IG_by_sequence"))


def _other_backgrounds(drawn: Drawn, out: Path) -> list[Path]:
    """The same map over every sequence."""
    one = by_name(drawn.found, drawn.methods)["gcam"]
    written = []
    for channel in drawn.found.image.channels:
        if channel != drawn.modality:
            options = drawn.options(channel=channel)
            figure = draw_single(
                drawn.found.image, in_grey("gcam", one), layer=one.layer, class_name=_short(drawn), **options
            )
            written.append(save(figure, out / drawn.name("GCAM", one.layer, channel)))
    return written


def _other_slices(drawn: Drawn, out: Path) -> list[Path]:
    """The same row a few slices above and below."""
    count = drawn.found.image.grid.shape[2]
    step = max(1, count // 16)
    maps = shown_maps(by_name(drawn.found, drawn.methods))
    written = []
    for index in (drawn.slice - step, drawn.slice + step):
        if 0 <= index < count:
            figure = draw_methods(drawn.found.image, maps, **drawn.options(backdrop="black", index=index))
            written.append(save(figure, out / drawn.name(f"methods_slice{index}", drawn.layer)))
    return written


def _panels(drawn: Drawn, out: Path) -> list[Path]:
    maps = {name: in_grey(name, one) for name, one in by_name(drawn.found, drawn.methods).items()}
    labels = {"pred": drawn.shown_labels}
    if drawn.found.mask is not None:
        labels["truth"] = drawn.found.mask.astype(np.int64)
    names = {
        suffix: drawn.name(suffix, drawn.layer if suffix != "MRI" else "")
        for suffix in [*maps, "gcam_overlay", "MRI", *labels]
    }
    where = out / "panels" / plain(drawn.found.identifier)
    return write_panels(
        where, names, drawn.found.image, maps, labels, index=drawn.slice, channel=drawn.modality
    )  # fmt: skip


def _short(drawn: Drawn) -> str:
    """The part's name without what is said of it in brackets."""
    return str(drawn.part["title"]).partition(" (")[0]
