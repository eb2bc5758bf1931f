"""Whether a test can be trusted: no patient and no picture may be on both sides of a split."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dctn

from voxplain.errors import InputError, shortened
from voxplain.training.splits import patient_numbers

Floats = npt.NDArray[np.float32]

SAME = 0.995
"""Pictures of a higher correlation are taken for one picture."""

SIDE, SIDE_OF_VOLUME = 128, 32
"""Pixels that pictures and volumes are averaged to along each axis before they are compared."""

HASH_SIDE, HASH_VOLUME = 8, 4
"""Low frequencies along each axis of a picture and of a volume that make its hash: 64 bits."""

ALIKE = 4
"""Hashes that differ in at most so many bits are similar."""

BITS = 64
"""Length of a hash."""

FLAT = 1e-6
"""Spread of a picture that is only rounding of float32, relative to its largest value."""

SHOWN = 10
"""Findings a message lists; it counts the others."""

ROWS = 1024
"""Pictures compared with as many others at a time."""

IN_MEMORY = 2**29
"""Bytes of small pictures kept in memory; more of them lie in a temporary file."""


def check_leakage(
    pictures: Callable[[int], npt.NDArray[Any]],
    groups: Sequence[str | None],
    parts: Sequence[str],
    names: Sequence[str] | None = None,
) -> list[str]:
    """Raise `InputError` where a patient or a picture is on both sides of a split; return warnings on likely ones.

    `pictures(n)` gives case n as (rows, columns) or (channel, *space) with 2 or 3 axes of space (a last axis of 1 is
    no axis); it is called once a case. `parts` says on which side a case is: 'train', 'val', 'test', or the fold that
    validates on it. Pictures are the same where they correlate by more than 0.995, averaged to 128 pixels a side and
    over channels (volumes: 32 voxels). Similar ones, also when mirrored, are found by 64-bit hashes of their lowest
    frequencies and only warned of. `names` are what messages call the cases.
    """
    if not len(groups) == len(parts) == len(names or parts):
        raise InputError(f"groups and parts must be as many as cases, got {len(groups)} and {len(parts)}")
    patient_numbers(groups, len(parts))
    called = list(names) if names is not None else [f"case {number}" for number in range(len(parts))]
    errors = _patients(groups, parts)
    if len(set(parts)) < 2:
        return []
    small, hashed = _compared(pictures, len(parts))
    found = _pairs([(small, small)], parts, SAME)
    if found.count:
        told = found.listed(called, parts, lambda r: f"{r:.4f}")
        errors.append(f"pictures of different parts must not correlate above {SAME}, got {found.count} pairs: {told}")
    if errors:
        raise InputError("; ".join(errors))
    return [*_blank(small, called), *_similar(hashed, called, parts)]


def _patients(groups: Sequence[str | None], parts: Sequence[str]) -> list[str]:
    """A sentence on patients who are in several parts, if any."""
    where: dict[str, dict[str, None]] = {}
    for group, part in zip(groups, parts, strict=True):
        if group is not None:
            where.setdefault(group, {})[part] = None
    twice = [f"{group} ({', '.join(found)})" for group, found in where.items() if len(found) > 1]
    return [f"a patient must be in one part only, got {len(twice)} in several: {shortened(twice, SHOWN)}"] * bool(twice)


def _blank(small: Floats, called: Sequence[str]) -> list[str]:
    """A sentence on pictures of one value, if any: nothing correlates with them."""
    names = [called[place] for place in np.flatnonzero(~small.any(axis=1)).tolist()]
    return [f"{len(names)} pictures have one value everywhere: {shortened(names, SHOWN)}"] * bool(names)


def _similar(hashed: Sequence[Floats], called: Sequence[str], parts: Sequence[str]) -> list[str]:
    """A sentence on pictures of different parts whose hashes are similar, mirrored or not, if any."""
    # For rows of signs, 64 minus twice the differing bits is their product; half a bit keeps equality on its side.
    found = _pairs([(hashed[0], other) for other in hashed], parts, BITS - 2 * ALIKE - 1)
    if not found.count:
        return []
    told = found.listed(called, parts, lambda product: f"{(BITS - product) / 2:.0f} bits apart")
    return [f"{found.count} pairs of pictures of different parts look alike: {told}"]


def _compared(pictures: Callable[[int], npt.NDArray[Any]], count: int) -> tuple[Floats, list[Floats]]:
    """Rows whose products are correlations (0 for constant pictures), and rows of signs for each way to mirror."""
    first = _small(pictures(0))
    axes = first.ndim
    small = _rows(count, first.size)
    hashes = [np.zeros((count, BITS), np.float32) for _ in product((1, -1), repeat=axes)]
    for place in range(count):
        picture = first if place == 0 else _small(pictures(place))
        if picture.ndim != axes:
            raise InputError(f"pictures must all have the same number of axes, got {axes} and {picture.ndim}")
        centred = picture.astype(np.float64) - picture.mean(dtype=np.float64)
        length = float(np.linalg.norm(centred))
        if length > FLAT * float(np.abs(picture).max()) * np.sqrt(picture.size):
            small[place] = (centred / length).ravel()
            for row, signs in zip(hashes, _hashes(picture), strict=True):
                row[place] = signs
    return small, hashes


def _small(picture: npt.NDArray[Any]) -> Floats:
    """Mean over channels, averaged to the same size for all pictures (or volumes)."""
    values = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32))
    if values.ndim == 4 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3, 4) or not values.numel() or not bool(values.isfinite().all()):
        raise InputError(f"pictures must be finite, (rows, columns) or (channel, *space), got {tuple(picture.shape)}")
    if values.ndim == 2:
        values = values[None]
    mean = values.mean(dim=0, dtype=torch.float64)[None, None]
    if mean.ndim == 4:
        small = torch.nn.functional.adaptive_avg_pool2d(mean, SIDE)
    else:
        small = torch.nn.functional.adaptive_avg_pool3d(mean, SIDE_OF_VOLUME)
    found: Floats = small[0, 0].numpy().astype(np.float32)
    return found


def _hashes(small: Floats) -> Iterator[Floats]:
    """Which of the lowest frequencies are above their median, as signs, for the picture and each mirrored one."""
    side = HASH_SIDE if small.ndim == 2 else HASH_VOLUME
    low = dctn(small.astype(np.float64), norm="ortho")[(slice(side),) * small.ndim]
    low.flat[0] = 0  # mean brightness
    for signs in product((1, -1), repeat=small.ndim):
        # To mirror an axis is to change the sign of its odd frequencies.
        turned = low
        for axis, sign in enumerate(signs):
            shape = [1] * small.ndim
            shape[axis] = side
            turned = turned * np.where(np.arange(side) % 2, sign, 1).reshape(shape)
        yield np.where(turned > np.median(turned), 1, -1).astype(np.float32).ravel()


def _rows(count: int, width: int) -> Floats:
    """Room for small pictures: in memory, or in a temporary file where they are many."""
    if 4 * count * width <= IN_MEMORY:
        return np.zeros((count, width), np.float32)
    with tempfile.TemporaryFile() as file:  # mapped memory outlives the open file
        return np.memmap(file, np.float32, "w+", shape=(count, width))


@dataclass
class _Pairs:
    """Pairs of cases in different parts: how many, and the first of them with their likeness."""

    count: int = 0
    first: list[tuple[int, int, float]] = field(default_factory=list)

    def listed(self, called: Sequence[str], parts: Sequence[str], number: Callable[[float], str]) -> str:
        """The first pairs in words, and how many more there are."""
        words = [f"{called[a]} ({parts[a]}) and {called[b]} ({parts[b]}) {number(like)}" for a, b, like in self.first]
        more = self.count - len(words)
        return ", ".join(words) + (f" and {more} more" if more else "")


def _pairs(tables: Sequence[tuple[Floats, Floats]], parts: Sequence[str], limit: float) -> _Pairs:
    """Pairs of different parts whose rows have a product above `limit` in any of the pairs of tables."""
    part = np.unique(np.asarray(parts), return_inverse=True)[1]
    order = np.argsort(part, kind="stable")
    found = _Pairs()
    for top in range(0, len(order), ROWS):
        rows = order[top : top + ROWS]
        # Only parts after this block's first one: each pair is met once, and equal parts not at all.
        for left in range(int(np.searchsorted(part[order], part[rows[0]], side="right")), len(order), ROWS):
            columns = order[left : left + ROWS]
            likeness = np.max([one[rows] @ other[columns].T for one, other in tables], axis=0)
            a, b = np.nonzero((likeness > limit) & (part[rows][:, None] < part[columns]))
            found.count += len(a)
            for row, column in list(zip(a, b, strict=True))[: SHOWN - len(found.first)]:
                found.first.append((int(rows[row]), int(columns[column]), float(likeness[row, column])))
    return found
