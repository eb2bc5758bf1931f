"""Where DICOM slices lie: their order, spacing and tilt, and the regular grid of a stack that is not regular."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxplain.errors import InputError, shortened
from voxplain.space.affine import Array, from_parts
from voxplain.space.grid import Grid, Unit

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's x and y run to Left and Posterior, ours to Right and Anterior."""

LETTERS = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip
"""Directions of PatientOrientation's letters in RAS+ (Head and Feet are Superior and Inferior)."""

ANGLE_TOLERANCE = 1e-3
"""Direction cosines that differ by less are one direction: headers are rounded to about four digits."""

SPACING_TOLERANCE = 0.02
"""Slices may lie off their even place by this share of the gap: positions of thin slices are rounded to 0.01 mm."""

TILT_TOLERANCE_DEGREES = 0.2
"""A smaller tilt comes from rounded headers; it is kept in the affine."""

SHIFT_TOLERANCE = 0.2
"""Slices may lie this share of a pixel beside the line through the stack."""

WHOLE_PIXEL = 0.03
"""A shift nearer than this to whole pixels is taken as whole: interpolation would blur for nothing."""

SAME_PLACE = 0.01
"""Two slices nearer than this share of the usual gap are at one position."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One picture in space, in DICOM's own LPS millimetres."""

    name: str
    """What the user knows it by: its file's name."""
    shape: tuple[int, int]
    """Columns, rows."""
    position: Array
    """Centre of the first pixel."""
    across: Array
    """Unit vector along a row of pixels: to the next column."""
    down: Array
    """Unit vector along a column of pixels: to the next row."""
    step: tuple[float, float]
    """Distance between columns and between rows, mm."""
    thickness: float
    """Slice thickness, mm: the third voxel side of a slice that stands alone."""

    def __post_init__(self) -> None:
        lengths = np.linalg.norm(self.across), np.linalg.norm(self.down)
        if abs(self.across @ self.down) > ANGLE_TOLERANCE or np.abs(np.subtract(lengths, 1)).max() > ANGLE_TOLERANCE:
            raise InputError(f"{self.name!r} must be oriented by two perpendicular unit vectors, got others")
        if min(*self.step, self.thickness) <= 0:
            raise InputError(f"{self.name!r} must have a pixel spacing above 0, got {self.step}")
        object.__setattr__(self, "across", self.across / lengths[0])
        object.__setattr__(self, "down", self.down / lengths[1])

    @property
    def normal(self) -> Array:
        """Unit vector out of the picture, right-handed with across and down."""
        return np.cross(self.across, self.down)


def in_order(slices: Sequence[Slice]) -> list[int]:
    """Indices of the slices along their common normal; equal positions keep their order.

    Raises `InputError` where slices differ in size, pixel spacing or orientation: they are no stack.
    """
    first = slices[0]
    for one in slices[1:]:
        pair = f"{first.name!r} and {one.name!r}"
        if one.shape != first.shape:
            raise InputError(f"slices must have one size, got {_size(first)} and {_size(one)} ({pair})")
        if not np.allclose(one.step, first.step, rtol=ANGLE_TOLERANCE, atol=0):
            raise InputError(f"slices must have one pixel spacing, got {first.step} and {one.step} mm ({pair})")
        if max(np.abs(one.across - first.across).max(), np.abs(one.down - first.down).max()) > ANGLE_TOLERANCE:
            raise InputError(f"slices must have one orientation, got two ({pair})")
    depths = [round(float(one.position @ first.normal), 3) for one in slices]
    return sorted(range(len(slices)), key=lambda index: depths[index])


def without_duplicates(slices: Sequence[Slice]) -> list[int]:
    """Indices of slices in order, of those at one position only the first."""
    gaps = np.diff(_depths(slices))
    near = SAME_PLACE * _usual(gaps)
    return [0, *(index + 1 for index, gap in enumerate(gaps) if gap > near)]


def faults(slices: Sequence[Slice], names: Sequence[str]) -> list[str]:
    """What keeps slices in order from being a regular upright stack, each as a phrase that uses the slices' `names`."""
    kept = without_duplicates(slices)
    dropped = sorted(set(range(len(slices))) - set(kept))
    pairs = [f"{names[index - 1]} and {names[index]}" for index in dropped]
    found = [f"slices at one position ({shortened(pairs, 3)})"] if pairs else []
    stack = [slices[index] for index in kept]
    if len(stack) == 1:
        return found
    return found + _tilt(stack) + _uneven(stack, [names[index] for index in kept])


def stack_grid(slices: Sequence[Slice]) -> Grid:
    """The RAS+ grid of a regular stack in order: columns, rows, slices; exact, float64."""
    first, last = slices[0], slices[-1]
    affine = from_parts(
        np.stack([first.across, first.down, first.normal], axis=1), (*first.step, first.thickness), first.position
    )
    if len(slices) > 1:
        affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    return Grid((*first.shape, len(slices)), LPS_TO_RAS @ affine, "mm")


def regular_grid(slices: Sequence[Slice]) -> Grid:
    """The upright, evenly spaced RAS+ grid that holds every pixel of slices in order (without duplicates).

    Its third axis is the slices' normal; its gap is the lower quartile of theirs, so that the finer part keeps its own.
    """
    if len(slices) == 1:
        return stack_grid(slices)
    first, shifts, depths = slices[0], _whole_shifts(slices), _depths(slices)
    low = np.floor(shifts.min(axis=0))
    columns, rows = np.array(first.shape) + (np.ceil(shifts.max(axis=0)) - low).astype(int)
    extent = float(depths[-1] - depths[0])
    count = max(round(extent / float(np.percentile(np.diff(depths), 25))), 1) + 1
    corner = first.position + first.across * first.step[0] * low[0] + first.down * first.step[1] * low[1]
    directions = np.stack([first.across, first.down, first.normal], axis=1)
    affine = from_parts(directions, (*first.step, extent / (count - 1)), corner)
    return Grid((int(columns), int(rows), count), LPS_TO_RAS @ affine, "mm")


def regular_values(
    volume: npt.NDArray[np.float32], slices: Sequence[Slice], grid: Grid, fill: float
) -> npt.NDArray[np.float32]:
    """Slices (columns, rows, slice) interpolated linearly onto their `regular_grid`: within slices, then between two.

    Each slice is first moved to its true place beside the others (this undoes a tilt); `fill` stands where none was.
    """
    if len(slices) == 1:
        return volume
    shifts, depths = _whole_shifts(slices), _depths(slices)
    low = np.floor(shifts.min(axis=0))
    placed = [_moved(volume[..., n], shifts[n] - low, grid.shape[:2], fill) for n in range(len(slices))]
    out = np.empty(grid.shape, dtype=np.float32)
    for n, depth in enumerate(np.linspace(0.0, depths[-1], grid.shape[2])):
        below = int(np.clip(np.searchsorted(depths, depth, side="right") - 1, 0, len(slices) - 2))
        weight = (depth - depths[below]) / (depths[below + 1] - depths[below])
        out[..., n] = (1 - weight) * placed[below] + weight * placed[below + 1]
    return out


def flat_grid(shape: tuple[int, int], step: tuple[float, float], unit: Unit, letters: Sequence[str] | None) -> Grid:
    """The grid of a projection (columns, rows) that has no position, its axes named by `letters` such as ('L', 'F').

    Without letters (or with ones that name no two axes) the columns run to Left and the rows to Posterior.
    """
    words = letters if letters and named_axes(letters) else ("L", "P")
    across, down = (LETTERS[word[0]] for word in words)
    directions = np.stack([across, down, np.cross(across, down)], axis=1)
    return Grid((*shape, 1), from_parts(directions, (*step, 1.0), (0.0, 0.0, 0.0)), unit)


def named_axes(letters: Sequence[str] | None) -> bool:
    """True where two words of R L A P H F, the main letter first, name two different axes of the body."""
    if not letters or len(letters) != 2 or not all(word and set(word) <= set(LETTERS) for word in letters):
        return False
    return bool(np.dot(LETTERS[letters[0][0]], LETTERS[letters[1][0]]) == 0)


def _size(one: Slice) -> str:
    return f"{one.shape[0]} x {one.shape[1]}"


def _depths(slices: Sequence[Slice]) -> Array:
    """Distances along the normal from the first slice, mm."""
    return np.array([(one.position - slices[0].position) @ slices[0].normal for one in slices])


def _shifts(slices: Sequence[Slice]) -> Array:
    """How far each slice lies beside the first: (slice, 2) in columns and rows."""
    first = slices[0]
    offsets = np.stack([one.position - first.position for one in slices])
    return np.stack([offsets @ first.across / first.step[0], offsets @ first.down / first.step[1]], axis=1)


def _whole_shifts(slices: Sequence[Slice]) -> Array:
    """Shifts of which those next to whole pixels are whole."""
    shifts = _shifts(slices)
    whole = np.round(shifts)
    return np.where(np.abs(shifts - whole) < WHOLE_PIXEL, whole, shifts)


def _moved(
    picture: npt.NDArray[np.float32], shift: Array, shape: Sequence[int], fill: float
) -> npt.NDArray[np.float32]:
    """A picture (columns, rows) moved by columns and rows of at least 0 inside a larger one, linearly."""
    canvas = np.full(shape, fill, dtype=np.float32)
    i, j = np.floor(shift).astype(int)
    canvas[i : i + picture.shape[0], j : j + picture.shape[1]] = picture
    part = shift - np.floor(shift)
    if not part.any():
        return canvas
    from scipy import ndimage  # takes half a second that regular series need not wait for

    return np.asarray(ndimage.shift(canvas, part, order=1, mode="constant", cval=fill), dtype=np.float32)


def _usual(gaps: Array) -> float:
    """The most frequent gap (to a hundredth), or the smaller of two equally frequent ones."""
    counted = Counter(np.round(gaps, 2).tolist())
    counted.pop(0.0, None)
    most = max(counted.values(), default=0)
    return float(min((gap for gap, count in counted.items() if count == most), default=0.0))


def _tilt(stack: Sequence[Slice]) -> list[str]:
    along = stack[-1].position - stack[0].position
    cosine = float(along @ stack[0].normal) / float(np.linalg.norm(along))
    tilt = float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return [f"a tilt of {tilt:.1f} degrees"] if tilt > TILT_TOLERANCE_DEGREES else []


def _uneven(stack: Sequence[Slice], names: Sequence[str]) -> list[str]:
    """Phrases for gaps that differ and for slices beside the line through the first and the last."""
    depths, shifts = _depths(stack), _shifts(stack)
    share = depths / depths[-1]
    even = np.linspace(0.0, 1.0, len(stack))
    found = []
    if np.abs(share - even).max() * (len(stack) - 1) > SPACING_TOLERANCE:
        gaps = np.linalg.norm(np.diff([one.position for one in stack], axis=0), axis=1)
        found.append(_missing(gaps, names) or _gaps(gaps, names))
    beside = np.abs(shifts - share[:, None] * shifts[-1]).max(axis=1)
    if beside.max() > SHIFT_TOLERANCE:
        worst = int(beside.argmax())
        found.append(f"{names[worst]} shifted sideways by {beside[worst]:.1f} pixels")
    return found


def _missing(gaps: Array, names: Sequence[str]) -> str:
    """Named holes, where every gap is a whole multiple of the usual one; else nothing."""
    usual = _usual(gaps)
    times = np.round(gaps / usual)
    if times.min() < 1 or np.abs(gaps / usual - times).max() > 2 * SPACING_TOLERANCE or (times == 1).mean() < 0.5:
        return ""
    holes = [
        f"{times[n] - 1:.0f} between {names[n]} and {names[n + 1]} ({gaps[n]:.1f} mm apart)"
        for n in np.flatnonzero(times > 1).tolist()
    ]
    return f"missing slices, {shortened(holes, 3)}, where {usual:.1f} mm is usual"


def _gaps(gaps: Array, names: Sequence[str]) -> str:
    digits = 1 if len(set(np.round(gaps, 1))) > 1 else 3
    counted = Counter(np.round(gaps, digits).tolist())
    told = []
    for gap, count in counted.items():
        n = int(np.flatnonzero(np.round(gaps, digits) == gap)[0])
        where = f"{count} times" if count > 1 else f"between {names[n]} and {names[n + 1]}"
        told.append(f"{gap:.{digits}f} mm ({where})")
    return f"gaps of {shortened(told, 4)}"
