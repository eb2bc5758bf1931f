"""The five methods of the myopathy study with its settings, and their maps as arrays in its layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from voxplain.data.attribution import Attribution
from voxplain.data.writing import written_beside
from voxplain.methods import Method, method
from voxplain.study.plan import file_name
from voxplain.study.run_folder import RunFolder

CAMS = ("grad_cam", "grad_cam_pp", "hires_cam")
SHAP, OCCLUSION = "partition_shap", "hierarchical_occlusion"

SIDE, BOX, WINDOW = 224, 64, 112
"""Pixels of the study's inputs, of the box whose mean is 'absent' for SHAP, and of the first windows of occlusion."""

WHITE = "-2"
"""What the study adds to the file of a map made by white windows: those of tiles that were called healthy."""


@dataclass(frozen=True)
class Settings:
    """What a network is asked with."""

    network: str
    side: int
    """Pixels that it reads; boxes and windows shrink with it."""
    shap: int
    """Images that SHAP scores."""
    occlusion: int | None
    """Windows of one search at most."""


def methods_of(settings: Settings) -> tuple[Method, ...]:
    """Three CAMs at the layer of the study (the new convolution of its head), SHAP and hierarchical occlusion."""
    layer = "" if settings.network.startswith("small") else "(layer='head.conv')"
    share = settings.side / SIDE
    window = round(WINDOW * share)
    limit = "" if settings.occlusion is None else f", evaluations={settings.occlusion}"
    box = round(BOX * share)
    shap = f"{SHAP}(max_evals={settings.shap}, size={box}, classes='explained', together=50)"
    windows = f"window={window}, stride={window // 4}, min_window={max(window // 16, 1)}"
    occlusion = f"{OCCLUSION}(mode='label_flip', {windows}{limit})"
    return tuple(method(one) for one in (*(f"{name}{layer}" for name in CAMS), shap, occlusion))


def maps_of(run: Path) -> Iterator[tuple[str, list[Attribution]]]:
    """Case by case the finished maps of a run folder, in the order of its methods."""
    rows = [row for row in RunFolder(run).rows() if row["status"] == "done"]
    for case in dict.fromkeys(str(row["case"]) for row in rows):
        yield case, [Attribution.load(run / str(row["map"])) for row in rows if row["case"] == case]


def method_name(one: Attribution) -> str:
    """A method's name without its options."""
    return one.method.partition("(")[0]


def informative(one: Attribution) -> bool:
    """False for an occlusion map that no window changed the label in; the study joins and counts the others."""
    return method_name(one) != OCCLUSION or bool(one.numbers["informative"])


def write_arrays(run: Path, out: Path) -> None:
    """Every map as `<method>/<case>.npy`, rows x columns; SHAP as (1, rows, columns, 1, 1) and white windows as -2."""
    for case, maps in maps_of(run):
        for one in maps:
            name, pixels = method_name(one), picture(one)
            ending = WHITE if name == OCCLUSION and int(one.numbers["class"]) == 0 else ""
            _write(
                out / name / f"{file_name(case)}{ending}.npy", pixels[None, ..., None, None] if name == SHAP else pixels
            )


def picture(one: Attribution) -> npt.NDArray[np.float32]:
    """A map of a single slice as rows x columns."""
    return np.ascontiguousarray(one.values.sum(axis=0)[..., 0].T)


def _write(path: Path, values: npt.NDArray[Any]) -> None:
    if path.exists():
        return
    with written_beside(path) as beside, beside.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
