"""Slices through a volume: which ones, where they lie, and one scale for all."""

import re

import numpy as np
import pytest

from tests.report.made import RAS, attribution, blob, failed, oblique, picture, volume
from tests.report.seen import LPS, colourful, pictures, pixels, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_montage import draw_montage, montage_from_run

IMAGE = volume()
"""20 x 24 x 16 voxels, not 0 from slice 2 to 13, 3 mm apart, the first one at 0 mm."""

LUMP = blob(IMAGE.grid.shape, (10, 12, 6))


def names(figure) -> list[str]:
    """What stands above the slices."""
    found = [text.get_text() for text in figure.texts]
    return [" ".join(text.split()) for text in found if re.match(r"\d+: ", text)]


def test_slices_are_evenly_spaced_over_the_image_and_hold_the_strongest():
    figure = draw_montage(IMAGE, shown(LUMP), slices=4)
    assert [int(name.split(":")[0]) for name in names(figure)] == [2, 6, 9, 13]
    assert "6: 18.0 mm S, strongest" in words(figure)
    assert len(pictures(figure)) == 5


def test_the_strongest_slice_takes_the_place_of_the_nearest():
    figure = draw_montage(IMAGE, shown(LUMP), slices=3)
    assert [int(name.split(":")[0]) for name in names(figure)] == [2, 6, 13]


def test_a_slice_says_where_it_lies_in_mm():
    assert "6: 18.0 mm S" in words(draw_montage(IMAGE, shown(LUMP), slices=4))
    moved = RAS.copy()
    moved[2, 3] = -30
    assert "6: 12.0 mm I" in words(draw_montage(volume(moved), shown(LUMP), slices=4))


def test_slices_run_from_feet_to_head_whatever_the_file_does():
    down = RAS.copy()
    down[2, 2] *= -1
    image = volume(down)
    figure = draw_montage(image, shown(LUMP), slices=4)
    assert [int(name.split(":")[0]) for name in names(figure)] == [13, 9, 6, 2]


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_each_slice_shows_its_own_part_of_the_map(plane, axis):
    place = (9, 13, 6)
    figure = draw_montage(IMAGE, shown(spot(IMAGE, place)), indices=[place[axis], place[axis] + 1], plane=plane)
    _, there, beside = (colourful(pixels(axes)) for axes in pictures(figure))
    assert there.max() > 0.2
    assert beside.max() < 0.05


def test_the_shares_of_all_slices_add_up():
    figure = draw_montage(IMAGE, shown(LUMP), indices=range(16))
    shares = [float(text.get_text().split("%")[0]) for text in figure.texts if "% of the magnitude" in text.get_text()]
    assert len(shares) == 16
    assert sum(shares) == pytest.approx(100, abs=1.0)
    assert shares[6] == max(shares)
    assert "16 of 16 axial slices, which hold 100% of the map's magnitude" in words(figure)


def test_all_slices_have_the_limits_of_the_whole_map():
    values = spot(IMAGE, (9, 13, 6)) + spot(IMAGE, (9, 13, 9), 0.25)
    figure = draw_montage(IMAGE, shown(values), indices=[6, 9], limits=(-1, 1))
    strong, weak = (colourful(pixels(axes)).max() for axes in pictures(figure)[1:])
    assert weak < 0.5 * strong
    assert "colour limits −1 to 1 as asked" in words(figure).lower()


def test_a_constant_map_is_shown_as_one():
    text = words(draw_montage(IMAGE, shown(np.full(IMAGE.grid.shape, 0.5)), slices=3))
    assert "Nothing is shown: constant map (0.5 everywhere)" in text
    assert "strongest" not in text


def test_a_failed_check_is_told_once():
    assert words(draw_montage(IMAGE, shown(LUMP, alarm="completeness"), slices=4)).count("CHECK FAILED") == 1


def test_an_image_of_zeros_and_a_tilted_one_are_drawn():
    empty = IMAGE.with_values(np.zeros_like(IMAGE.values))
    assert len(names(draw_montage(empty, shown(LUMP), slices=3))) == 3
    assert "tilted" in words(draw_montage(volume(oblique(20)), shown(LUMP), slices=3))


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (picture(), {}, "a montage must be of a volume, 'case b' is a 2D image"),
        (IMAGE, {"slices": 0}, "slices and columns must be at least 1, got 0 and 5"),
        (IMAGE, {"columns": 0}, "at least 1, got 15 and 0"),
        (IMAGE, {"indices": [16]}, "slice must be between 0 and 15"),
    ],
)
def test_what_cannot_be_shown_is_refused(image, options, said):
    with pytest.raises(InputError, match=said):
        draw_montage(image, shown(blob(image.grid.shape, (5, 5, 0))), **options)


def test_a_montage_is_drawn_from_a_run_folder(run):
    image = volume(LPS)
    run.case(image)
    run.map(attribution(image, certificate=failed()), image)
    text = words(montage_from_run(run.folder, "occlusion", slices=3))
    assert "score of class 1 (glioma)" in text
    assert "CHECK FAILED: completeness" in text
