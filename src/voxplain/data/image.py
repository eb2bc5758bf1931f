"""The image: named channels of voxels on a grid."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError
from voxplain.space.grid import Grid

Voxels = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Image:
    """Values (channel, i, j, k) on a grid, read from their file when first asked for."""

    read: Callable[[], Voxels] = field(repr=False)
    """Yields the voxels (channel, i, j, k), float32."""
    grid: Grid
    """Where the voxels lie."""
    channels: tuple[str, ...] = ("image",)
    """One name a channel, such as T1 or FLAIR."""
    unit: str = "a.u."
    """Unit of the intensities: 'HU', '8-bit grey', 'a.u.' ..."""
    identifier: str = "image"
    """The user's own label or a hash prefix; never a patient's name."""
    notices: tuple[str, ...] = ()
    """What was done or noticed while reading, in sentences for the report."""

    @classmethod
    def of(cls, values: npt.ArrayLike, grid: Grid, **named: object) -> "Image":
        """An image of voxels already in memory: (channel, i, j, k), or (i, j, k) for one channel."""
        voxels = np.asarray(values, dtype=np.float32)
        voxels = voxels[None] if voxels.ndim == 3 else voxels
        if voxels.ndim != 4 or voxels.shape[1:] != grid.shape:
            raise InputError(f"image values are {voxels.shape} but the grid is {grid.shape}")
        channels = named.pop("channels", None) or default_channels(voxels.shape[0])
        return cls(lambda: voxels, grid, channels, **named)  # type: ignore[arg-type]

    @cached_property
    def values(self) -> Voxels:
        """The voxels (channel, i, j, k), float32, read once."""
        voxels = self.read()
        if voxels.shape != (len(self.channels), *self.grid.shape):
            raise InputError(
                f"image {self.identifier!r} holds {voxels.shape} voxels, "
                f"expected {(len(self.channels), *self.grid.shape)} (channel, i, j, k)"
            )
        return voxels

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of voxels and geometry, hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.values).tobytes())
        digest.update(np.ascontiguousarray(self.grid.affine).tobytes())
        digest.update(repr((self.values.shape, self.channels)).encode())
        return digest.hexdigest()

    def with_values(self, values: npt.ArrayLike, grid: Grid | None = None) -> "Image":
        """The same kind of image with other voxels."""
        voxels = np.asarray(values, dtype=np.float32)
        return replace(self, read=lambda: voxels, grid=grid or self.grid)

    def select(self, channels: Sequence[str]) -> "Image":
        """The image with only the named channels, in that order."""
        for name in channels:
            if name not in self.channels:
                raise InputError(
                    f"image {self.identifier!r} has no channel {name!r}; it has {', '.join(self.channels)}"
                )
        rows = [self.channels.index(name) for name in channels]
        return replace(self, read=lambda: self.values[rows], channels=tuple(channels))


def default_channels(count: int) -> tuple[str, ...]:
    """Names for channels that came without any."""
    return ("image",) if count == 1 else tuple(f"channel{n}" for n in range(count))


def check_finite(image: Image) -> None:
    """Refuse voxels that are NaN or infinite."""
    broken = int(image.values.size - np.isfinite(image.values).sum())
    if broken:
        raise InputError(f"image {image.identifier!r} must hold finite voxels, got {broken} that are NaN or infinite")


def check_voxels(image: Image) -> None:
    """Refuse voxels that no map could be trusted on: NaN, infinite or all the same."""
    check_finite(image)
    values = image.values
    if values.min() == values.max():
        raise InputError(f"image {image.identifier!r} must not be constant, got {values.flat[0]:g} everywhere")
