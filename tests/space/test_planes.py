"""Anatomical planes: the same anatomy at the same place of the picture, however the voxels are stored."""

import numpy as np
import pytest

from tests.space.grids import linear_field, turned
from voxplain.errors import InputError, OptionError
from voxplain.space.grid import Grid
from voxplain.space.layout import oriented
from voxplain.space.planes import plane, planes, slice_grid, take

LETTERS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
RAS = turned((4, 5, 6), (1.0, 2.0, 3.0))
STORED = ["RAS", "LPS", "ASR", "PIL", "SRA", "IAL"]


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("stored", STORED)
def test_letters_are_those_of_radiological_convention(name, stored):
    assert "".join(plane(oriented(RAS, stored), name).letters) == LETTERS[name]


@pytest.mark.parametrize("name", LETTERS)
def test_an_oblique_volume_has_the_letters_of_its_nearest_axes(name):
    assert "".join(plane(turned((4, 5, 6), degrees=(15, -20, 10)), name).letters) == LETTERS[name]


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("stored", STORED)
def test_the_picture_does_not_depend_on_how_voxels_are_stored(name, stored):
    grid = oriented(RAS, stored)
    view, reference = plane(grid, name), plane(RAS, name)
    index = 1 if grid.affine[:3, view.order[2]].sum() > 0 else view.slices - 2
    assert take(linear_field(grid), view, index) == pytest.approx(take(linear_field(RAS), reference, 1))


@pytest.mark.parametrize("name", LETTERS)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (15, -20, 10), (180, 0, 90)])
def test_the_slice_lies_where_its_voxels_are(name, degrees):
    grid = turned((4, 5, 6), (1.0, 2.0, 3.0), degrees, (3, 2, 1))
    view = plane(grid, name)
    flat = slice_grid(grid, view, 2)
    assert linear_field(flat)[..., 0] == pytest.approx(take(linear_field(grid), view, 2), abs=1e-5)


def test_axial_columns_run_to_the_left_and_rows_to_posterior():
    flat = slice_grid(RAS, plane(RAS, "axial"), 0)
    assert flat.orientation[:2] == "LP"


def test_sagittal_columns_run_to_posterior_and_rows_to_inferior():
    flat = slice_grid(RAS, plane(RAS, "sagittal"), 0)
    assert flat.orientation[:2] == "PI"


def test_a_tall_pixel_has_an_aspect_above_one():
    assert plane(RAS, "coronal").pixel == (1.0, 3.0)
    assert plane(RAS, "coronal").aspect == 3.0


def test_a_volume_has_three_planes_and_a_picture_one():
    assert [view.name for view in planes(RAS)] == ["axial", "coronal", "sagittal"]
    assert [view.name for view in planes(Grid((4, 5, 1)))] == ["picture"]


def test_a_picture_is_shown_as_it_is_with_the_letters_of_its_affine():
    grid = Grid((4, 5, 1), np.diag([-1.0, -2.0, 1.0, 1.0]))
    values = np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)
    view = plane(grid, "coronal")
    assert "".join(view.letters) == "RLAP"
    assert np.array_equal(take(values, view, 0), values[..., 0])
    assert slice_grid(grid, view, 0).same_as(grid)


def test_a_picture_of_pixels_has_no_letters():
    assert plane(Grid((4, 5, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px"), "axial").letters == ("", "", "", "")


def test_an_unknown_plane_gets_a_suggestion():
    with pytest.raises(OptionError, match="did you mean 'axial'"):
        plane(RAS, "axail")


@pytest.mark.parametrize("index", [-1, 6])
def test_a_slice_beyond_the_volume_is_refused(index):
    with pytest.raises(InputError, match="between 0 and 5"):
        take(linear_field(RAS), plane(RAS, "axial"), index)
