"""The segmenter's half of the NeuroXAI study: each label and the whole tumour, by seven methods and layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.case import Case
from voxplain.data.nifti import read_nifti, write_nifti
from voxplain.errors import InputError, unknown
from voxplain.score.target import Region, Target
from voxplain.space.planes import plane
from voxplain.spec import text
from voxplain.study.explain import Explainer
from voxplain.study.flow_layers import convolutions
from voxplain.study.plan import Plan, file_name
from voxplain.study.ready import Ready
from voxplain.study.run import Say, run
from voxplain.study.study_neuroxai_final import final_labels
from voxplain.study.study_neuroxai_flow import flow, save_flow
from voxplain.study.study_neuroxai_methods import volume_methods, write_explained

Array = npt.NDArray[Any]

ALL = "all"
"""Names the whole tumour where a class is named, as in the source's files."""


@dataclass(frozen=True)
class Asked:
    """What a user may choose of this half."""

    layer: str
    """For Grad-CAM beside the other methods; '' for the last convolution."""
    modality: str
    """The sequence below the maps."""
    slice: int | None
    size: str


@dataclass(frozen=True)
class Part:
    """One label or the whole tumour of one case, as it is explained."""

    key: str
    """The label's number, or 'all'."""
    title: str
    target: Target
    voxels: int
    """Predicted by the network, on its own grid."""


def explain_volumes(explainer: Explainer, cases: Sequence[Case], asked: Asked, folder: Path, say: Say) -> None:
    """Maps, final predictions and flows of all cases in `folder`, and the list of what there is."""
    if not cases:
        raise InputError("there must be volumes to explain, got none in the test part")
    _check(cases, asked)
    layers = convolutions(explainer.model, explainer.ready(cases[0].image).x)
    layer = asked.layer or layers[-1]
    explainer.model.layer(layer)
    methods = volume_methods(layer, asked.size)
    told = []
    for number, case in enumerate(cases, 1):
        say(f"segmentation: volume {number} of {len(cases)}: {case.identifier}")
        told.append(_explained(explainer, case, asked, layers, tuple(methods.values()), folder, say))
    specs = {name: text(one) for name, one in methods.items()}
    facts = {"layer": layer, "layers": list(layers), "modality": asked.modality, "methods": specs}
    write_explained(folder, {**facts, "cases": told})


def _check(cases: Sequence[Case], asked: Asked) -> None:
    """Refuse before any work a slice or sequence that a case does not have."""
    for case in cases:
        if asked.modality not in case.image.channels:
            raise unknown("sequence", asked.modality, case.image.channels)
        count = plane(case.image.grid, "axial").slices
        if not 0 <= _slice(case, asked) < count:
            raise InputError(
                f"slice of case {case.identifier!r} must be between 0 and {count - 1}, got {_slice(case, asked)}"
            )


def _slice(case: Case, asked: Asked) -> int:
    given = case.slice if asked.slice is None else asked.slice
    return 0 if given is None else given


def _explained(
    explainer: Explainer,
    case: Case,
    asked: Asked,
    layers: Sequence[str],
    methods: Sequence[Any],
    folder: Path,
    say: Say,
) -> dict[str, Any]:
    """One case: its run folder, its final prediction, its flows; what there is, as plain values."""
    home, index = folder / file_name(case.identifier), _slice(case, asked)
    whole = replace(case, slice=None)
    ready = explainer.ready(whole.image, whole.mask)
    parts = parts_of(ready, explainer.model.class_names)
    targets = tuple(part.target for part in parts)
    run(Plan(explainer.model, explainer.prepare, targets, tuple(methods), explainer.seed), [whole], home / "run",
        single=True, say=say)  # fmt: skip
    changed = _final_prediction(home, case.identifier)
    region = None if case.mask is None else case.mask.values[0] > 0
    for part in parts:
        file = home / "flow" / f"{part.key}.safetensors"
        if not file.with_suffix(".json").is_file():
            say(f"  flow of {part.title} through {len(layers)} convolutions")
            save_flow(flow(explainer, ready, part.target, layers, index, region), file)
    told = [
        {"key": part.key, "title": part.title, "target": text(part.target), "voxels": part.voxels} for part in parts
    ]
    facts = {"id": case.identifier, "folder": home.name, "slice": index, "label": case.label}
    return {**facts, "relabelled_voxels": changed, "parts": told}


def parts_of(ready: Ready, class_names: Sequence[str]) -> list[Part]:
    """Each label and the whole tumour; what was predicted nowhere is explained over the whole image, and says so."""
    counts = [int(count) for count in ready.prediction.scores]
    parts = []
    for label, count in enumerate(counts):
        title = class_names[label] if label < len(class_names) else f"label {label}"
        parts.append(Part(str(label), _title(title, count), Region(label, over=_where(count)), count))
    tumour = sum(counts[1:])
    classes = tuple(range(1, len(counts)))
    parts.append(Part(ALL, _title("whole tumour", tumour), Region(classes, over=_where(tumour)), tumour))
    return parts


def _where(count: int) -> Any:
    return "predicted" if count else "whole"


def _title(name: str, count: int) -> str:
    return name if count else f"{name} (predicted nowhere: mean over the whole image)"


def _final_prediction(home: Path, case: str) -> int:
    """Write the predicted labels on the image's own grid, a small enhancing tumour relabelled; voxels that changed."""
    found = read_nifti(home / "run" / "cases" / file_name(case) / "prediction.nii.gz")
    final = final_labels(found.values[0], found.grid)
    write_nifti(home / "prediction.nii.gz", final, found.grid, np.uint8)
    return int((final != np.rint(found.values[0])).sum())
