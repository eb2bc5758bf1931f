"""The point through which the planes of a volume go."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, SHAPE, blob, oblique
from voxplain.report.place import cells, place_words, strongest
from voxplain.space.grid import Grid

GRID = Grid(SHAPE, RAS)


def test_it_is_the_top_of_a_lump():
    assert strongest(blob(SHAPE, (6, 15, 9)), GRID)[0] == (6, 15, 9)


def test_evidence_against_counts_as_much():
    assert strongest(blob(SHAPE, (6, 15, 9)) - 2 * blob(SHAPE, (14, 5, 4)), GRID)[0] == (14, 5, 4)


def test_a_single_hot_voxel_does_not_win_over_a_lump():
    values = blob(SHAPE, (6, 15, 9), width=3)
    values[17, 3, 3] = 2
    assert strongest(values, GRID)[0] == (6, 15, 9)


def test_on_a_plateau_it_is_the_middle():
    values = np.zeros(SHAPE, dtype=np.float32)
    values[4:13, 8:17, 3:10] = 1
    assert strongest(values, GRID)[0] == (8, 12, 6)


def test_two_equal_plateaus_are_not_averaged():
    values = np.zeros((40, 13, 13), dtype=np.float32)
    values[2:17, 1:12, 1:12] = values[23:38, 1:12, 1:12] = 1
    assert strongest(values, Grid(values.shape))[0] in ((9, 6, 6), (30, 6, 6))


def test_smoothing_is_the_same_length_in_every_direction():
    assert strongest(blob(SHAPE, (6, 15, 9)), GRID)[1] == 3.0


def test_not_a_number_is_never_the_place():
    values = blob(SHAPE, (6, 15, 9))
    values[1, 1, 1] = np.nan
    assert strongest(values, GRID)[0] == (6, 15, 9)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (RAS, "8.0 mm R, 6.0 mm A, 15.0 mm S (voxel (4, 3, 5))"),
        (LPS, "8.0 mm L, 6.0 mm P, 15.0 mm S (voxel (4, 3, 5))"),
    ],
)
def test_a_place_is_told_from_the_patients_side(affine, words):
    assert place_words((4, 3, 5), Grid(SHAPE, affine)) == words


def test_an_oblique_place_is_told_in_the_world():
    x, y, _ = Grid(SHAPE, oblique(30)).world((4, 3, 5))
    assert place_words((4, 3, 5), Grid(SHAPE, oblique(30))).startswith(f"{x:.1f} mm R, {y:.1f} mm A")


def test_without_millimetres_only_the_voxel_is_told():
    assert place_words((4, 3, 5), Grid(SHAPE, RAS, "px")) == "voxel (4, 3, 5)"


def test_cells_of_a_flat_map_have_two_numbers():
    assert cells(Grid((7, 5, 1))) == "7 × 5 cells"
    assert cells(Grid((7, 5, 3))) == "7 × 5 × 3 cells"
