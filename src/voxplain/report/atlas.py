"""An atlas: which structure lies at a place in the world, by a label image and the names of its labels."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxplain.data.image import Image
from voxplain.data.load import load_image
from voxplain.errors import FileError, InputError

KEYS = ("label", "index", "value", "id")
NAMES = ("name", "structure", "region")
"""What the columns of a table of names may be called."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Labels on a grid in millimetres; it says something about an image only where both lie in one space."""

    labels: Image
    names: Mapping[int, str]

    def name_at(self, world: tuple[float, float, float]) -> str:
        """The structure at a place in the world (mm, RAS+): that of the nearest voxel centre."""
        voxel = np.rint(self.labels.grid.voxels(world)).astype(int)
        if (voxel < 0).any() or (voxel >= self.labels.grid.shape).any():
            return "outside the atlas"
        label = round(float(self.labels.values[0][tuple(voxel)]))
        return self.names.get(label, f"label {label}") if label else "no structure of the atlas"


def read_atlas(labels: Path, names: Path | None = None) -> Atlas:
    """An atlas from a label image in mm and, where given, a CSV table with the columns `label` and `name`.

    Raises FileError for files that cannot be read, InputError for an image without millimetres or with several
    channels or broken labels, and for a table without these columns.
    """
    image = load_image(labels)
    if not image.grid.physical or len(image.channels) != 1:
        raise InputError(f"atlas {labels.name!r} must be one label image in mm")
    values = image.values
    if not np.isfinite(values).all() or np.abs(values - np.rint(values)).max() > 1e-3:
        raise InputError(f"atlas {labels.name!r} must hold whole numbers, one label a voxel")
    return Atlas(image, _names(names) if names is not None else {})


def _names(path: Path) -> dict[int, str]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"atlas names {path.name!r} cannot be read") from error
    columns = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    key = next((columns[name] for name in KEYS if name in columns), None)
    name = next((columns[name] for name in NAMES if name in columns), None)
    if key is None or name is None:
        raise InputError(f"atlas names {path.name!r} must have the columns label and name, got {', '.join(columns)}")
    try:
        return {int(row[key]): str(row[name]).strip() for row in rows if row[key]}
    except ValueError as error:
        raise InputError(f"atlas names {path.name!r} must have whole numbers as labels, got {error}") from error
