"""Grids laid anew: all 48 orientations, exact spacings, crops and pads about the middle, common boxes."""

from itertools import permutations, product

import numpy as np
import pytest

from tests.space.grids import turned
from voxplain.errors import InputError
from voxplain.space.layout import centred, is_orientation, oriented, overlap, respaced
from voxplain.space.resample import resample

ORIENTATIONS = ["".join(letters) for pairs in permutations(("LR", "PA", "IS")) for letters in product(*pairs)]


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48
    assert all(map(is_orientation, ORIENTATIONS))


@pytest.mark.parametrize("letters", ["RA", "RAA", "RLS", "ras", "RASL", "XYZ", ""])
def test_other_letters_are_refused(letters):
    assert not is_orientation(letters)
    with pytest.raises(InputError, match="three letters such as 'RAS'"):
        oriented(turned((2, 3, 4)), letters)


@pytest.mark.parametrize("letters", ORIENTATIONS)
def test_every_orientation_goes_there_and_back_bit_by_bit(letters):
    grid = turned((3, 4, 5), (1.0, 2.0, 3.0), (12, -7, 25), (10, 20, 30))
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    other = oriented(grid, letters)
    assert other.orientation == letters
    assert oriented(other, grid.orientation).same_as(grid)
    assert np.array_equal(resample(resample(values, grid, other), other, grid), values)


def test_respaced_voxels_have_exactly_the_spacing_about_the_same_middle():
    grid = turned((10, 11, 12), (1.0, 2.0, 0.7), (12, -7, 25), (10, 20, 30))
    other = respaced(grid, (1.5, 1.5, 1.5))
    assert other.spacing == pytest.approx((1.5, 1.5, 1.5))
    assert other.shape == (7, 15, 6)
    assert other.edges().mean(axis=0) == pytest.approx([10, 20, 30])


def test_a_thin_axis_keeps_one_voxel():
    assert respaced(turned((4, 4, 1)), (1.0, 1.0, 5.0)).shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("have", "want", "start"), [(5, 2, 1), (4, 3, 0), (4, 5, 0), (4, 7, -1), (4, 8, -2), (6, 2, 2)]
)
def test_crops_and_pads_about_the_middle_with_the_larger_half_at_the_end(have, want, start):
    grid = turned((have, 1, 1))
    assert grid.voxels(centred(grid, (want, 1, 1)).world([0, 0, 0]))[0] == pytest.approx(start)


def test_an_overlap_is_the_box_both_enclose():
    grid = turned((10, 10, 10), (1.0, 2.0, 3.0), (30, 20, 10))
    box = overlap(grid, grid.window((-3.25, 4, 2), (6, 10, 4)))
    assert grid.voxels(box.edges()).min(axis=0) == pytest.approx([-0.5, 3.5, 1.5])
    assert grid.voxels(box.edges()).max(axis=0) == pytest.approx([2.25, 9.5, 5.5])
    assert all(small <= large + 1e-6 for small, large in zip(box.spacing, grid.spacing, strict=True))


def test_grids_far_apart_have_no_overlap():
    with pytest.raises(InputError, match="must overlap"):
        overlap(turned((2, 2, 2)), turned((2, 2, 2), middle=(9, 0, 0)))
