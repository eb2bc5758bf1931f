"""Affines: spacing, points, and the anatomical axes of grids that lie askew."""

import numpy as np
import pytest

from tests.space.grids import turned
from voxplain.space import affine as affines


def test_spacing_is_the_length_of_the_columns():
    grid = turned((4, 5, 6), (0.5, 2.0, 3.0), (20, -30, 40))
    assert affines.spacing(grid.affine) == pytest.approx([0.5, 2.0, 3.0])


def test_points_go_there_and_back():
    grid = turned((4, 5, 6), (0.5, 2.0, 3.0), (20, -30, 40), (7, 8, 9))
    points = np.random.default_rng(0).normal(size=(10, 3))
    assert grid.voxels(grid.world(points)) == pytest.approx(points)


def test_from_parts_builds_the_affine_of_directions_steps_and_origin():
    affine = affines.from_parts(np.eye(3)[:, [1, 0, 2]], (2, 3, 4), (5, 6, 7))
    assert affines.apply(affine, [1, 1, 1]).tolist() == [5 + 3, 6 + 2, 7 + 4]


def test_an_oblique_grid_takes_the_nearest_world_axes():
    assert affines.orientation(turned((2, 2, 2), degrees=(10, -15, 20)).affine) == "RAS"


def test_every_world_axis_is_given_out_once_even_at_45_degrees():
    for degrees in ((45, 0, 0), (0, 45, 0), (45, 45, 45), (54.7, 0, 45)):
        axes = affines.world_axes(turned((2, 2, 2), degrees=degrees).affine)
        assert sorted(world for world, _ in axes) == [0, 1, 2]


def test_a_turn_by_180_degrees_reverses_two_axes():
    assert affines.orientation(turned((2, 2, 2), degrees=(0, 0, 180)).affine) == "LPS"
