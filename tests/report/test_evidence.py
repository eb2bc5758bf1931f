"""Where the evidence of a map lies, in words."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, SHAPE, attribution, blob, oblique, picture, volume
from voxplain.report.evidence import apart, evidence, sides
from voxplain.report.scene import scene
from voxplain.space.grid import Grid
from voxplain.types import Quantity


def found(image, values=None, quantity=Quantity.SCORE_UNITS, /, **named):
    one = attribution(image, values, quantity, **named)
    return evidence(one, scene(image, one))


@pytest.mark.parametrize(
    ("affine", "voxel", "words"),
    [
        (RAS, (18, 22, 14), "right, anterior and superior part"),
        (RAS, (1, 1, 1), "left, posterior and inferior part"),
        (LPS, (18, 22, 14), "left, posterior and superior part"),
        (RAS, (10, 22, 8), "anterior part"),
        (RAS, (10, 12, 8), "middle"),
        (oblique(20), (18, 12, 8), "right and anterior part"),
    ],
)
def test_sides_of_a_volume_are_the_patients(affine, voxel, words):
    assert sides(voxel, Grid(SHAPE, affine)) == words


@pytest.mark.parametrize(
    ("voxel", "words"),
    [
        ((1, 1, 0), "upper left part of the picture"),
        ((38, 1, 0), "upper right part of the picture"),
        ((20, 28, 0), "lower part of the picture"),
        ((20, 15, 0), "middle of the picture"),
    ],
)
def test_sides_of_a_picture_without_geometry_are_the_pictures(voxel, words):
    assert sides(voxel, picture().grid) == words


def test_sides_of_a_single_slice_are_the_patients():
    grid = Grid((40, 30, 1), np.diag([-2.0, -2.0, 5.0, 1.0]))  # columns run to the left, rows to the back
    assert sides((1, 1, 0), grid) == "anterior and right part"
    coronal = Grid((40, 30, 1), np.array([[-2.0, 0, 0, 0], [0, 0, 5, 0], [0, -2, 0, 0], [0, 0, 0, 1]]))
    assert sides((38, 28, 0), coronal) == "inferior and left part"


def test_a_place_in_a_volume_is_the_one_its_planes_go_through():
    image = volume(affine=LPS)
    one = attribution(image, blob(SHAPE, (6, 15, 9)))
    shown = scene(image, one)
    spot = evidence(one, shown)
    assert spot.voxel == shown.voxel == (6, 15, 9)
    assert spot.world == (-12.0, -30.0, 27.0)
    assert spot.place == "12.0 mm L, 30.0 mm P, 27.0 mm S (voxel (6, 15, 9))"
    assert spot.place in " ".join(shown.caption)


def test_a_place_in_a_picture_is_told_in_pixels():
    spot = found(picture(), blob((40, 30, 1), (31, 4, 0)))
    assert spot.place == "column 31, row 4 of 40 × 30, counted from 0"
    assert spot.world is None


def test_the_strongest_value_may_speak_against():
    lumps = blob((40, 30, 1), (5, 5, 0)) - 2 * blob((40, 30, 1), (30, 20, 0))
    assert found(picture(), lumps).against
    assert not found(picture(), -lumps).against
    assert not found(picture(), lumps, evidence="absolute").against  # a derivative's sign is a direction


def test_half_of_the_evidence_is_counted_from_the_strongest_voxel_on():
    values = np.zeros((40, 30, 1), np.float32)
    values[:10, 0] = 3
    values[10:40, 1] = 1  # 30 of 60 lie in the ten strongest of 1200
    values[:, 5] = -9
    assert found(picture(), values).half == pytest.approx(10 / 1200)
    assert found(picture(), values, evidence="absolute").half == pytest.approx(24 / 1200)


def test_an_even_map_takes_half_of_the_image_for_half_of_its_evidence():
    values = np.ones((40, 30, 1), np.float32)
    values[0, 0] = 1.5
    assert found(picture(), values).half == pytest.approx(0.5, abs=0.002)


def test_a_map_that_is_only_negative_still_has_a_spread():
    assert 0 < found(picture(), -blob((40, 30, 1), (5, 5, 0))).half < 0.1


def test_a_constant_map_has_no_place():
    spot = found(picture(), np.full((40, 30, 1), 2, np.float32))
    assert spot.none == "constant map (2 everywhere)"
    assert spot.place == ""


def test_the_largest_distance_between_places_is_told_in_the_grids_unit():
    image = volume()
    spots = [found(image, blob(SHAPE, centre)) for centre in ((4, 6, 5), (4, 6, 9), (10, 6, 5))]
    assert apart(spots, image.grid) == "17 mm"  # 12 mm along x and 12 mm along z
    flat = [found(picture(), blob((40, 30, 1), centre)) for centre in ((5, 5, 0), (8, 9, 0))]
    assert apart(flat, picture().grid) == "5 pixels"
    assert apart(flat[:1], picture().grid) == ""


def test_noise_is_strongest_somewhere_and_has_no_place():
    image = volume()
    values = np.random.default_rng(0).normal(size=image.grid.shape).astype(np.float32)
    spot = found(image, values)
    assert "noise" in spot.none
    assert spot.place == ""
