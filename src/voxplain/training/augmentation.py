"""Random changes of training inputs, each a function of the seed, the epoch and the sample alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from voxplain.errors import missing_extra
from voxplain.spec import Options
from voxplain.training.seeding import seeded

Change = Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor | None]]
"""Input (channel, *space), labels (*space) or None, and a seed -> both, changed alike."""

KEYS = ("image", "mask")
"""What MONAI's transforms of volumes change alike."""

KERNEL = 5
"""Pixels of the blur's kernel, as the study of distal myopathies has it."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(Options):
    """What may happen to a training input; the default changes nothing."""

    name: ClassVar[str] = "augment"

    flip: tuple[float, ...] = ()
    """Chance of mirroring each axis of space, in the order of the input's axes (2D: rows, columns)."""
    blur: tuple[float, float] | None = None
    """Range of the deviation in pixels of a Gaussian blur of 5 x 5 pixels; 2D alone."""
    brightness: float = 0.0
    """Brightness is multiplied by a number at most this far from 1."""
    contrast: float = 0.0
    """Contrast about the mean is multiplied by a number at most this far from 1."""
    noise: float = 0.0
    """Largest deviation of the Gaussian noise that is added."""
    rotation: float = 0.0
    """Degrees, either way."""
    shear: float = 0.0
    """Degrees, either way; 2D alone."""
    zoom: float = 0.0
    """Size is multiplied by a number at most this far from 1."""
    shift: float = 0.0
    """Largest shift along each axis as a share of its side."""
    shift_voxels: int = 0
    """Largest shift along each axis in whole voxels."""

    def __bool__(self) -> bool:
        """True where anything is changed."""
        return self != type(self)()

    def check_rank(self, rank: int) -> None:
        """Raise `OptionError` for options that inputs of `rank` spatial dimensions cannot have."""
        self._require(rank == 2 or self.blur is None, "blur", "left out for volumes")
        self._require(rank == 2 or not self.shear, "shear", "left out for volumes")
        self._require(len(self.flip) in (0, rank), "flip", f"{rank} chances, one for each axis of the input")

    def _check(self) -> None:
        require = self._require
        require(all(0 <= one <= 1 for one in self.flip) and len(self.flip) <= 3, "flip", "up to 3 chances from 0 to 1")
        require(self.blur is None or 0 < self.blur[0] <= self.blur[1], "blur", "low, then high, above 0")
        for option in ("brightness", "contrast", "zoom", "shift"):
            require(0 <= getattr(self, option) < 1, option, "from 0 to below 1")
        for option in ("noise", "rotation", "shear", "shift_voxels"):
            require(getattr(self, option) >= 0, option, "at least 0")


def stream(*numbers: int) -> int:
    """A seed of 63 bits that changes altogether with any of the numbers (seed, epoch, sample ...)."""
    low, high = (int(word) for word in np.random.SeedSequence([len(numbers), *numbers]).generate_state(2))
    return (high << 32 | low) >> 1


def change(options: Augmentation, rank: int) -> Change:
    """The change of inputs of 2 or 3 spatial dimensions; raises `OptionError` for options of the other rank.

    Pictures are changed by torchvision's transforms, volumes by MONAI's; raises `MissingExtra` without them.
    """
    options.check_rank(rank)
    return _of_pictures(options) if rank == 2 else _of_volumes(options)


def _of_pictures(options: Augmentation) -> Change:
    try:
        from torchvision import tv_tensors
        from torchvision.transforms import v2
    except ImportError as error:
        raise missing_extra("torchvision", "hub", "augmentation of pictures") from error
    steps = [*_optics(options, v2), *_geometry(options, v2)]

    def changed(x: Tensor, labels: Tensor | None, seed: int) -> tuple[Tensor, Tensor | None]:
        mask = None if labels is None else tv_tensors.Mask(labels)
        with seeded(seed):
            moved = _shift(options.shift_voxels, 2)
            x = tv_tensors.Image(x)
            for step in steps:
                x, mask = step(x, mask)
            x = _noisy(x.as_subclass(Tensor), options.noise)
        mask = None if mask is None else mask.as_subclass(Tensor)
        return shifted(x, moved), None if mask is None else shifted(mask, moved)

    return changed


def _optics(options: Augmentation, v2: Any) -> list[Any]:
    jitter = v2.ColorJitter(brightness=options.brightness, contrast=options.contrast)
    blur = [v2.GaussianBlur(KERNEL, options.blur)] if options.blur else []
    return [*blur, *([jitter] if options.brightness or options.contrast else [])]


def _geometry(options: Augmentation, v2: Any) -> list[Any]:
    affine = v2.RandomAffine(
        degrees=options.rotation,
        translate=(options.shift, options.shift) if options.shift else None,
        scale=(1 - options.zoom, 1 + options.zoom) if options.zoom else None,
        shear=(-options.shear, options.shear, -options.shear, options.shear) if options.shear else None,
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    moves = options.rotation or options.shift or options.zoom or options.shear
    rows, columns = options.flip or (0.0, 0.0)
    flips = [*([v2.RandomVerticalFlip(rows)] if rows else []), *([v2.RandomHorizontalFlip(columns)] if columns else [])]
    return [*([affine] if moves else []), *flips]


def _of_volumes(options: Augmentation) -> Change:
    try:
        from monai.transforms.compose import Compose
        from monai.transforms.intensity.dictionary import RandScaleIntensityd
        from monai.transforms.spatial.dictionary import RandAffined, RandFlipd
    except ImportError as error:
        raise missing_extra("monai", "monai", "augmentation of volumes") from error
    bright = RandScaleIntensityd("image", factors=options.brightness, prob=1.0 if options.brightness else 0.0)
    flips = [RandFlipd(KEYS, one, axis, allow_missing_keys=True) for axis, one in enumerate(options.flip) if one]

    def changed(x: Tensor, labels: Tensor | None, seed: int) -> tuple[Tensor, Tensor | None]:
        moves = _moves(options, x.shape[1:])
        steps = [*([RandAffined(KEYS, allow_missing_keys=True, **moves)] if moves else []), *flips, bright]
        table = {"image": x} if labels is None else {"image": x, "mask": labels[None]}
        done = Compose(steps).set_random_state(seed % 2**32)(table)
        with seeded(seed):
            moved = _shift(options.shift_voxels, 3)
            x = _noisy(_plain(done["image"]), options.noise)
        return shifted(x, moved), None if labels is None else shifted(_plain(done["mask"])[0], moved)

    return changed


def _moves(options: Augmentation, sides: Sequence[int]) -> dict[str, Any]:
    """What MONAI calls the ranges of rotation, size and shift; nothing where a volume stays in its place."""
    if not (options.rotation or options.zoom or options.shift):
        return {}
    return {
        "prob": 1.0,
        "rotate_range": (math.radians(options.rotation),) * 3,
        "scale_range": (options.zoom,) * 3,
        "translate_range": tuple(options.shift * side for side in sides),
        "mode": ("bilinear", "nearest"),
        "padding_mode": "zeros",
    }


def _plain(tensor: Tensor) -> Tensor:
    """A tensor without MONAI's notes on where it came from."""
    return tensor.as_subclass(Tensor)


def _noisy(x: Tensor, most: float) -> Tensor:
    return x + most * torch.rand(()) * torch.randn_like(x) if most else x


def _shift(most: int, rank: int) -> list[int]:
    return [int(step) for step in torch.randint(-most, most + 1, (rank,))] if most else [0] * rank


def shifted(x: Tensor, steps: list[int]) -> Tensor:
    """The last axes of x moved by whole voxels, one number an axis; what comes in is 0."""
    if not any(steps):
        return x
    out = torch.zeros_like(x)
    rank = len(steps)
    to = tuple(slice(max(step, 0), side + min(step, 0)) for step, side in zip(steps, x.shape[-rank:], strict=True))
    source = tuple(
        slice(max(-step, 0), side + min(-step, 0)) for step, side in zip(steps, x.shape[-rank:], strict=True)
    )
    before = (slice(None),) * (x.ndim - rank)
    out[before + to] = x[before + source]
    return out
