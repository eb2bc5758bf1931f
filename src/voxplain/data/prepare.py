"""Preparation: from an image to the tensor a model was trained on, and the grid that tensor lies on."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from voxplain.data.image import Image
from voxplain.data.prepare_grid import AXES, tensor_grid
from voxplain.data.prepare_intensity import intensities
from voxplain.data.writing import written_beside
from voxplain.errors import FileError, InputError, OptionError, unknown
from voxplain.space import layout
from voxplain.space.grid import Grid
from voxplain.space.resample import inside, resample
from voxplain.spec import Options, table_of
from voxplain.toml import toml

Values = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A tensor ready for the model, and where it lies in the world."""

    values: Values
    """(channel, rows, columns) or (channel, i, j, k)."""
    grid: Grid
    """The tensor's grid; for 2D its shape is (rows, columns, 1)."""
    rank: int
    """Spatial dimensions: 2 or 3."""
    channels: tuple[str, ...]
    """The image channel behind each tensor channel."""
    replicated: bool
    """True where one grey channel was repeated as red, green and blue."""
    gain: tuple[float, ...]
    """d(tensor) / d(raw intensity) of each tensor channel; of a window, percentiles or mask: inside; 0 outside."""
    unit: str
    """Unit of the tensor's intensities: the image's own, or 'normalised'."""
    raw_unit: str
    """Unit of the image's intensities."""


@dataclass(frozen=True, kw_only=True)
class Prepare(Options):
    """What was done to images before the model saw them, in this order; the default passes raw values through.

    Geometry (one resampling, averaging where voxels grow): orientation, spacing_mm, size, crop_pad, pad_multiple.
    Intensities: channels, window or percentile, zscore, scale, padding, grey_to_rgb, mean and std; masked.
    """

    name: ClassVar[str] = "prepare"

    orientation: str | None = None
    """Where the axes of a volume shall run to, such as 'RAS'."""
    spacing_mm: tuple[float, ...] | None = None
    """Voxel size in mm; 2D: rows, columns."""
    size: tuple[int, ...] | None = None
    """Resize to exactly these numbers of voxels, outer edges kept; 2D: rows, columns."""
    crop_pad: tuple[int, ...] | None = None
    """Crop or pad about the middle to these numbers of voxels; 2D: rows, columns."""
    pad_multiple: int | None = None
    """Pad about the middle until every axis is a multiple of this."""
    pad_value: float = 0.0
    """What padding holds, as a value after window, percentile, zscore and scale and before mean and std."""
    channels: tuple[str, ...] | None = None
    """The image's channels by name, in the model's order."""
    window: tuple[float, float] | None = None
    """Clip raw intensities to low, high and stretch to 0..1."""
    percentile: tuple[float, float] | None = None
    """The same between two percentiles of each channel's voxels."""
    zscore: bool = False
    """Scale each channel to mean 0 and standard deviation 1."""
    nonzero: bool = False
    """Leave voxels that are exactly 0 out of percentile and zscore; they stay 0."""
    scale: float | None = None
    """Multiply by this."""
    grey_to_rgb: bool = False
    """Repeat the one channel as red, green and blue."""
    mean: tuple[float, ...] | None = None
    """Subtract this from each channel."""
    std: tuple[float, ...] | None = None
    """Divide each channel by this."""
    masked: bool = False
    """At last, set to 0 what lies outside the case's mask (any label above 0 is kept)."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a TOML file of options; raises `FileError`, and `OptionError` for an unknown or ill-typed option."""
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(f"cannot read {path.name!r}: {error.strerror}") from error
        except ValueError as error:
            raise FileError(f"{path.name!r} must be a TOML file, got an error at: {error}") from error
        return cls.of(table)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The preparation a TOML or JSON table stands for."""
        rest = {key: value for key, value in table.items() if key != "name"}
        if table.get("name", cls.name) != cls.name:
            raise unknown("preparation", str(table["name"]), [cls.name])
        return cls(**rest)

    def write(self, path: str | Path) -> Path:
        """Write every option that is set as TOML; `read` gives back an equal preparation."""
        path = Path(path)
        with written_beside(path) as beside:
            beside.write_text(toml(table_of(self)), "utf-8")
        return path

    def __call__(self, image: Image, rank: int, mask: Image | None = None) -> Prepared:
        """The tensor of an image for a model of `rank` spatial dimensions (2 or 3), with its grid.

        Raises `InputError` where the image has another rank, or lacks a channel, millimetres, contrast or its mask.
        """
        if self.masked and mask is None:
            raise InputError(f"prepare: masked needs the mask of image {image.identifier!r}, got none")
        grid = tensor_grid(self, image, rank)
        chosen = image if self.channels is None else image.select(self.channels)
        raw = resample(chosen.values, image.grid, grid, outside="edge", antialias=True)
        values, gains = intensities(self, raw, inside(image.grid, grid), chosen.channels)
        found = Prepared(
            values=values[..., 0] if rank == 2 else values,
            grid=grid,
            rank=rank,
            channels=chosen.channels * (3 if self.grey_to_rgb else 1),
            replicated=self.grey_to_rgb,
            gain=gains,
            unit="normalised" if self._rescales() else image.unit,
            raw_unit=image.unit,
        )
        if not self.masked or mask is None:
            return found
        return replace(found, values=found.values * (prepare_mask(mask, found) > 0))

    def _rescales(self) -> bool:
        steps = (self.window, self.percentile, self.scale, self.mean, self.std)
        return self.zscore or any(step is not None for step in steps)

    def _check(self) -> None:
        require = self._require
        right = self.orientation is None or layout.is_orientation(self.orientation)
        require(right, "orientation", "three letters such as 'RAS'")
        for option in ("spacing_mm", "size", "crop_pad"):
            steps = getattr(self, option)
            require(steps is None or (len(steps) in AXES and min(steps) > 0), option, "2 or 3 numbers above 0")
        require(self.pad_multiple is None or self.pad_multiple >= 1, "pad_multiple", "at least 1")
        names = self.channels
        require(names is None or 0 < len(names) == len(set(names)), "channels", "one or more different names")
        self._check_intensities()

    def _check_intensities(self) -> None:
        require = self._require
        require(self.window is None or self.window[0] < self.window[1], "window", "low, then high")
        low, high = self.percentile or (0, 100)
        require(0 <= low < high <= 100, "percentile", "low, then high between 0 and 100")
        require(self.scale != 0, "scale", "other than 0")
        require(self.std is None or (len(self.std) > 0 and min(self.std) > 0), "std", "one or more numbers above 0")
        require(self.mean is None or len(self.mean) > 0, "mean", "one or more numbers")
        if self.window and self.percentile:
            raise OptionError(f"prepare: window must be left out with percentile, got {self.window!r}")
        if self.nonzero and not (self.zscore or self.percentile):
            raise OptionError("prepare: nonzero must go with zscore or percentile, got true without either")


def prepare_mask(mask: Image, prepared: Prepared) -> Labels:
    """A mask's labels on the tensor's grid, (rows, columns) or (i, j, k), taken from the nearest voxel; 0 outside."""
    if len(mask.channels) != 1:
        raise InputError(f"mask {mask.identifier!r} must have one channel, got {len(mask.channels)}")
    labels: Labels = np.rint(resample(mask.values, mask.grid, prepared.grid, mode="nearest")[0]).astype(np.int64)
    return labels[..., 0] if prepared.rank == 2 else labels
