"""Samples as files: PNG for pictures, NIfTI for volumes, each whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.data.writing import written_beside
from voxplain.errors import InputError
from voxplain.phantoms.base import Cell, Sample, Simulation

FAST = 1
"""Level of PNG compression: grain hardly gets smaller at higher ones."""


def write_picture(path: Path, image: Image) -> None:
    """Whole numbers of a grey picture, or labels, as PNG of 8 or 16 bits (TIFF if the name says so)."""
    values = image.values[0, :, :, 0].T
    most = 65535 if image.unit == "16-bit grey" else 255
    if len(image.channels) != 1 or not image.grid.is_2d:
        raise InputError(f"{path.name!r} must be one grey picture, got {image.values.shape} voxels")
    if values.min() < 0 or values.max() > most or not np.array_equal(values, np.rint(values)):
        raise InputError(f"{path.name!r} must hold whole numbers from 0 to {most}, got others")
    stored = PIL.Image.fromarray(np.ascontiguousarray(values.astype(np.uint16 if most > 255 else np.uint8)))
    with written_beside(path) as beside:
        options: dict[str, Any] = {"compress_level": FAST} if path.suffix == ".png" else {}
        stored.save(beside, **options)


def write_sample(simulation: Simulation, sample: Sample, folder: Path) -> dict[str, Cell]:
    """Write the files of a sample below `folder`; returns its row of the table, paths relative to the folder."""
    files = simulation.files(sample)
    for place, image in files.values():
        if place.name.endswith((".nii", ".nii.gz")):
            dtype = np.uint8 if image.unit == "label" else np.float32
            write_nifti(folder / place, image.values, image.grid, dtype)
        else:
            write_picture(folder / place, image)
    row: dict[str, Cell] = {"id": sample.identifier}
    row |= {column: str(place) for column, (place, _) in files.items()}
    return row | {"label": sample.label, "group": sample.group or sample.identifier} | _truth(sample.truth)


def _truth(truth: Mapping[str, Cell]) -> dict[str, Cell]:
    return {name: float(value) if isinstance(value, float) else value for name, value in truth.items()}
