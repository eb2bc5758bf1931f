"""The attribution: one case's map on a grid, together with the story of how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from voxplain.data.certificate import Certificate
from voxplain.data.image import Image
from voxplain.data.provenance import Provenance
from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.types import Quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Coarse:
    """A map at the resolution it was made in, on the grid of its own cells."""

    values: Values
    """(channel or 1, i, j, k)."""
    grid: Grid


@dataclass(frozen=True, eq=False)
class Attribution:
    """A map as the method gave it: never normalised, flipped, summed over channels or clipped."""

    values: Values
    """(channel or 1, i, j, k), float32, on the image's own grid."""
    grid: Grid
    quantity: Quantity
    method: str
    """The method's spec, such as 'occlusion(window=16)'."""
    target: str
    """The target's spec, such as 'class_score(2)'."""
    target_words: str = ""
    """What was explained, with class names: 'score of class 2 (pituitary)'."""
    unit: str = ""
    """What one unit of a value is: 'logits', 'logits per HU', 'score units' ..."""
    channels: tuple[str, ...] = ("all",)
    """The image channel behind each map channel, or 'all'."""
    layer: str = ""
    """The layer a coarse map was read from."""
    evidence: Literal["positive", "absolute"] = "positive"
    """Which values count as evidence: positive ones, or all by size (derivatives, whose sign is a direction)."""
    standard_error: Values | None = None
    coarse: Coarse | None = None
    parts: Mapping[str, Values] = field(default_factory=dict)
    """Named extras on the image's grid: per-level maps, votes."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Named extras that are no maps: intercept, completeness gap, steps."""
    notes: tuple[str, ...] = ()
    certificate: Certificate = field(default_factory=Certificate)
    provenance: Provenance = field(default_factory=Provenance)
    image: Image | None = None
    """The image that was explained; shown behind the map, not saved with it."""

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or self.values.shape[1:] != self.grid.shape:
            raise InputError(f"attribution values are {self.values.shape} but the grid is {self.grid.shape}")

    def save(self, path: str | Path) -> Path:
        """Write NIfTI maps and the JSON sidecar to `path` (ends in .nii or .nii.gz); returns the map's path."""
        from voxplain.data import sidecar

        return sidecar.save(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> Attribution:
        """Read back what `save` wrote."""
        from voxplain.data import sidecar

        return sidecar.load(Path(path))

    def plot(self, **options: Any) -> Figure:
        """The picture of this map over its image; options as in `voxplain.report.figures.draw`."""
        # The one step upwards in the house (named in the import contract): pictures live on floor 5.
        from voxplain.report import figures

        if self.image is None:
            raise InputError("a map needs its image to be drawn over; pass it to figures.draw(image, attribution)")
        return figures.draw(self.image, self, **options)

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture, what it means, and the checks that failed."""
        from voxplain.report import notebook

        return notebook.attribution_html(self)
