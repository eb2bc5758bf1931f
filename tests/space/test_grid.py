"""The grid: what it refuses, and that its relatives lie where they say."""

import numpy as np
import pytest

from tests.space.grids import turned
from voxplain.errors import InputError
from voxplain.space.grid import Grid

GRID = turned((4, 5, 6), (1.0, 2.0, 3.0), (20, -30, 40), (7, 8, 9))


def test_refuses_a_singular_affine():
    with pytest.raises(InputError, match="three independent axes"):
        Grid((2, 2, 2), np.diag([1.0, 1.0, 0.0, 1.0]))


def test_refuses_an_affine_with_nan():
    with pytest.raises(InputError, match="finite 4x4"):
        Grid((2, 2, 2), np.full((4, 4), np.nan))


def test_refuses_an_empty_shape():
    with pytest.raises(InputError, match="at least 1"):
        Grid((2, 0, 2))


def test_its_affine_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        GRID.affine[0, 0] = 2.0


def test_permuted_voxels_stay_where_they_are():
    assert GRID.permuted((2, 0, 1)).world([3, 1, 2]) == pytest.approx(GRID.world([1, 2, 3]))


def test_flipped_voxels_stay_where_they_are():
    assert GRID.flipped((0, 2)).world([0, 2, 1]) == pytest.approx(GRID.world([3, 2, 4]))


def test_a_window_starts_at_its_voxel():
    assert GRID.window((-1, 2, 3), (9, 9, 9)).world([2, 0, 0]) == pytest.approx(GRID.world([1, 2, 3]))


def test_edges_lie_half_a_voxel_beyond_the_corners():
    assert GRID.voxels(GRID.edges()).min(axis=0) == pytest.approx([-0.5] * 3)
    assert GRID.voxels(GRID.edges()).max(axis=0) == pytest.approx([3.5, 4.5, 5.5])


def test_a_resized_grid_keeps_the_outer_edges():
    assert GRID.resized((7, 3, 12)).edges() == pytest.approx(GRID.edges())


def test_a_grid_is_itself_through_rounding():
    assert GRID.same_as(Grid(GRID.shape, GRID.affine.astype(np.float32)))


def test_a_shift_of_a_hundredth_voxel_makes_another_grid():
    assert not GRID.same_as(GRID.window((0.01, 0, 0), GRID.shape))


def test_pixels_are_never_millimetres():
    assert not Grid((2, 2, 1)).same_as(Grid((2, 2, 1), unit="px"))
