"""Coarse maps at the voxels of the input: against torch's half-pixel interpolation, by hand, in 2D and 3D."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from voxplain.ops.enlarge import enlarged

MODES = {2: "bilinear", 3: "trilinear"}


def coarse(*sides: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def even(size, sides):
    steps = [whole / count for whole, count in zip(size, sides, strict=True)]
    return [(step - 1) / 2 for step in steps], steps


@pytest.mark.parametrize(
    ("sides", "size"),
    [((4, 3), (16, 9)), ((5, 7), (12, 30)), ((1, 4), (6, 4)), ((2, 3, 4), (8, 9, 20)), ((3, 2, 1), (7, 11, 5))],
)
def test_cells_that_tile_the_input_are_read_at_half_pixel_centres(sides, size):
    values = coarse(*sides)
    expected = functional.interpolate(values, size, mode=MODES[len(size)], align_corners=False)
    torch.testing.assert_close(enlarged(values, *even(size, sides), size), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("sides", "size"), [((4, 3), (13, 9)), ((2, 3, 4), (8, 9, 10))])
def test_cells_on_the_corners_are_read_with_aligned_corners(sides, size):
    values = coarse(*sides)
    steps = [(whole - 1) / (count - 1) for whole, count in zip(size, sides, strict=True)]
    expected = functional.interpolate(values, size, mode=MODES[len(size)], align_corners=True)
    torch.testing.assert_close(enlarged(values, [0.0] * len(size), steps, size), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rank", [2, 3])
def test_each_axis_is_read_where_its_own_cells_lie(rank):
    """Against NumPy's own linear interpolation, axis by axis: edge cells go on beyond their centres."""
    start, step, size = [1.5, 0.0, -2.0][:rank], [4.0, 2.5, 3.0][:rank], [14, 9, 11][:rank]
    values = coarse(*[3, 4, 5][:rank])
    expected = values.numpy()
    for n in range(rank):
        centres = start[n] + step[n] * np.arange(values.shape[n + 2])
        read = lambda line, n=n, centres=centres: np.interp(np.arange(size[n]), centres, line)  # noqa: E731
        expected = np.apply_along_axis(read, n + 2, expected)
    torch.testing.assert_close(enlarged(values, start, step, size), torch.tensor(expected), rtol=1e-12, atol=1e-13)


def test_a_peak_stands_where_its_cell_lies():
    values = torch.zeros(1, 1, 4, 5, 3, dtype=torch.float64)
    values[0, 0, 1, 3, 2] = 1
    found = enlarged(values, (2.0, 1.0, 0.0), (5.0, 3.0, 4.0), (20, 15, 12))
    assert found[0, 0, 7, 10, 8] == found.max() == 1
    assert found[0, 0, 7, 10, 11] == 1, "the last cell goes on to the edge"
    assert found[0, 0, 8, 10, 8] == pytest.approx(0.8)
    assert found[0, 0, 7, 11, 8] == pytest.approx(2 / 3)


def test_cells_at_the_voxels_come_back_bit_for_bit():
    values = coarse(5, 6).float()
    assert torch.equal(enlarged(values, (0.0, 0.0), (1.0, 1.0), (5, 6)), values)


def test_a_constant_stays_constant_and_nothing_overshoots():
    values = coarse(3, 4, 2)
    found = enlarged(values, (0.7, -1.0, 2.2), (2.9, 3.3, 4.1), (9, 14, 8))
    assert found.amax() <= values.amax()
    assert found.amin() >= values.amin()
    same = enlarged(torch.full((1, 1, 3, 4), 0.3), (0.7, -1.0), (2.9, 3.3), (9, 14))
    torch.testing.assert_close(same, torch.full_like(same, 0.3), rtol=0, atol=1e-7)


def test_cells_without_extent_lie_on_the_first():
    """Corners aligned from a single row: all cells hold the value of that one place."""
    values = coarse(1, 2).expand(2, 3, 4, 2)
    found = enlarged(values, (0.0, 0.0), (0.0, 1.0), (6, 2))
    torch.testing.assert_close(found, values[:, :, :1].expand(2, 3, 6, 2))
