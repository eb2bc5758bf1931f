"""The local median removes small structures and leaves large ones and brightness."""

import pytest
import torch

from voxplain.ops.local_median import SAMPLES, WINDOW, local_median


@pytest.mark.parametrize("shape", [(2, 3, 40, 56), (1, 1, 20, 24, 16)])
def test_an_even_image_stays(shape):
    x = torch.full(shape, 0.7)
    assert local_median(x).shape == x.shape
    torch.testing.assert_close(local_median(x), x)


@pytest.mark.parametrize("corner", [(4, 4), (4, 53), (53, 4), (53, 53)])
def test_a_small_square_goes_without_a_trace_near_a_corner(corner):
    x = torch.zeros(1, 1, 64, 64)
    row, column = corner
    x[..., row : row + 7, column : column + 7] = 5.0
    assert local_median(x).abs().max() == 0


def test_halves_stay_apart_away_from_their_edge():
    x = torch.zeros(1, 1, 64, 64)
    x[..., 32:] = 1.0
    found = local_median(x)
    assert found[..., :28].max() == 0
    assert found[..., 36:].min() == 1


def test_the_axes_are_not_mixed_up():
    x = torch.zeros(1, 2, 48, 64)
    x[:, 1, 24:] = 1.0
    found = local_median(x)
    assert found[:, 0].abs().max() == 0
    assert found[0, 1, 40].min() == 1
    assert found[0, 1, 8].max() == 0


def test_every_voxel_has_the_median_of_its_own_samples():
    # As many cells as voxels: nothing lies in between, so that a loop over voxels must give the same.
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    offsets = ((torch.arange(SAMPLES) + 0.5) / SAMPLES - 0.5) * 32 / WINDOW
    for row, column in [(0, 0), (16, 9), (31, 30)]:
        mirrored = [*range(31, -1, -1), *range(32), *range(31, -1, -1)]
        rows, columns = ((one + 0.5 + offsets).floor().long() for one in (row, column))
        rows, columns = (torch.tensor([mirrored[32 + int(place)] for place in one]) for one in (rows, columns))
        expected = x[0, 0][rows[:, None], columns].flatten().quantile(0.5)
        torch.testing.assert_close(local_median(x)[0, 0, row, column], expected)
