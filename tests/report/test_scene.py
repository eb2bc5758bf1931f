"""What a picture shows: planes, letters, sides, outline and words."""

import numpy as np
import pytest

from tests.report.made import LPS, PIXELS, RAS, SHAPE, attribution, blob, failed, oblique, picture, volume
from voxplain.data.attribution import Coarse
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import DIMMED
from voxplain.report.scene import scene
from voxplain.space.grid import Grid
from voxplain.types import Quantity


def test_a_volume_is_cut_in_three_planes_and_a_picture_in_none():
    assert [panel.name for panel in scene(volume(), attribution(volume())).plain] == ["axial", "coronal", "sagittal"]
    assert [panel.name for panel in scene(picture(), attribution(picture())).plain] == ["image"]


@pytest.mark.parametrize("affine", [RAS, LPS, oblique(20)])
def test_letters_follow_radiological_convention_however_the_file_is_stored(affine):
    shown = scene(volume(affine), attribution(volume(affine)))
    assert [tuple(panel.letters) for panel in shown.plain] == [
        ("R", "L", "A", "P"),
        ("R", "L", "S", "I"),
        ("A", "P", "S", "I"),
    ]


def coloured(panel) -> np.ndarray:
    """Where a panel is not grey: mean column and row."""
    saturation = panel.pixels.max(axis=-1) - panel.pixels.min(axis=-1)
    return np.argwhere(saturation > 0.5 * saturation.max()).mean(axis=0) / (np.array(saturation.shape) - 1)


@pytest.mark.parametrize("affine", [RAS, LPS])
def test_evidence_at_the_patients_left_lies_on_the_pictures_right(affine):
    image = volume(affine)
    world_left = 4 if affine[0, 0] > 0 else 15
    shown = scene(image, attribution(image, blob(SHAPE, (world_left, 12, 8))))
    assert coloured(shown.laid_over[0])[0] > 0.7
    assert coloured(shown.laid_over[1])[0] > 0.7


@pytest.mark.parametrize("affine", [RAS, LPS])
def test_evidence_in_front_lies_at_the_top_of_the_axial_and_left_of_the_sagittal_plane(affine):
    image = volume(affine)
    world_front = 19 if affine[1, 1] > 0 else 4
    shown = scene(image, attribution(image, blob(SHAPE, (10, world_front, 8))))
    assert coloured(shown.laid_over[0])[1] < 0.3
    assert coloured(shown.laid_over[2])[0] < 0.3


def test_evidence_near_the_head_lies_at_the_top_of_coronal_and_sagittal_planes():
    shown = scene(volume(), attribution(volume(), blob(SHAPE, (10, 12, 13))))
    assert coloured(shown.laid_over[1])[1] < 0.3
    assert coloured(shown.laid_over[2])[1] < 0.3


def test_all_planes_go_through_the_strongest_place():
    shown = scene(volume(), attribution(volume(), blob(SHAPE, (6, 15, 9))))
    assert [panel.cross for panel in shown.laid_over] == [(13, 8), (13, 6), (8, 6)]
    assert shown.caption[0].startswith("Planes through 12.0 mm R, 30.0 mm A, 27.0 mm S (voxel (6, 15, 9))")


def test_pixels_keep_their_size_in_millimetres():
    axial, coronal, sagittal = scene(volume(), attribution(volume())).plain
    assert (axial.size, coronal.size, sagittal.size) == ((40, 48), (40, 48), (48, 48))


def test_a_picture_is_shown_as_it_is():
    values = np.zeros((40, 30, 1), dtype=np.float32)
    values[3, 25] = 1
    shown = scene(picture(), attribution(picture(), values))
    pixels = shown.laid_over[0].pixels
    assert pixels.shape == (40, 30, 3)
    assert pixels[3, 25, 0] - pixels[3, 25, 2] > 0.3


def test_a_picture_without_geometry_has_no_letters_and_says_so():
    shown = scene(picture(), attribution(picture()))
    assert "".join(shown.plain[0].letters) == ""
    assert "The file does not say which side is the patient's right." in shown.caption


def test_a_picture_with_geometry_has_letters():
    image = picture(unit="mm")
    assert tuple(scene(image, attribution(image)).plain[0].letters) == ("R", "L", "A", "P")


def test_a_picture_stored_the_other_way_round_is_not_called_radiological():
    image = Image.of(np.random.default_rng(0).random((8, 6, 1)), Grid((8, 6, 1), np.eye(4)))
    caption = " ".join(scene(image, attribution(image)).caption)
    assert "not in radiological convention" in caption


def test_the_image_alone_stays_grey():
    shown = scene(volume(), attribution(volume()))
    assert all(np.ptp(panel.pixels, axis=-1).max() == 0 for panel in shown.plain)


def test_the_image_is_dimmed_below_the_map_so_that_fine_maps_stand_out():
    values = np.zeros(SHAPE, dtype=np.float32)
    values[6, 15, 9] = 1
    shown = scene(volume(), attribution(volume(), values))
    changed = np.argwhere(~np.isclose(shown.laid_over[0].pixels, DIMMED * shown.plain[0].pixels).all(axis=-1))
    assert changed.tolist() == [[13, 8]]


def test_a_constant_map_is_not_laid_over_and_marks_no_place():
    shown = scene(volume(), attribution(volume(), np.zeros(SHAPE), Quantity.SALIENCY))
    for plain, over in zip(shown.plain, shown.laid_over, strict=True):
        assert np.array_equal(plain.pixels, over.pixels)
        assert over.words.startswith("constant map")
        assert over.cross is None
    assert shown.caption[0].startswith("Planes through the middle")
    assert any(sentence.startswith("Nothing is laid over the image: constant map") for sentence in shown.caption)


def test_the_mask_is_outlined_where_it_lies():
    mask = volume().with_values((blob(SHAPE, (4, 12, 8)) > 0.5)[None])
    axial = scene(volume(), attribution(volume(), blob(SHAPE, (4, 12, 8))), mask=mask).laid_over[0]
    assert np.argwhere(axial.outline).mean(axis=0) == pytest.approx([15, 11])


def test_raw_range_limits_window_and_unit_are_always_told():
    values = blob(SHAPE, (6, 15, 9)) - 0.25 * blob(SHAPE, (14, 5, 4))
    caption = " ".join(scene(volume(), attribution(volume(), values), limits=(-0.5, 0.5)).caption)
    assert "Map: score units that add up, logits, raw range −0.25 to 1." in caption
    assert "Colour limits −0.5 to 0.5 as asked" in caption
    assert "grey window" in caption


def test_the_colours_of_a_signed_map_are_explained():
    assert "Red to orange speaks for what was explained" in " ".join(scene(picture(), attribution(picture())).caption)
    saliency = attribution(picture(), None, Quantity.SALIENCY)
    assert "Red to orange" not in " ".join(scene(picture(), saliency).caption)


def test_the_sign_of_a_derivative_is_called_a_direction():
    caption = " ".join(scene(picture(), attribution(picture(), evidence="absolute")).caption)
    assert "A derivative: red to orange where a brighter voxel would raise the score" in caption
    assert "speaks for" not in caption


def test_a_failed_check_is_an_alarm_that_names_it():
    assert scene(picture(), attribution(picture(), certificate=failed())).alarm == "CHECK FAILED: completeness"
    assert scene(picture(), attribution(picture())).alarm == ""


def test_a_coarse_map_tells_its_cells():
    coarse = Coarse(np.zeros((1, 7, 7, 1), dtype=np.float32), Grid((7, 7, 1), PIXELS, "px"))
    caption = scene(picture(), attribution(picture(), coarse=coarse)).caption
    assert "The map was made on 7 × 7 cells and is no finer than that." in caption


def test_a_tilted_volume_is_said_to_be_tilted():
    image = volume(oblique(20))
    assert "tilted by up to 20°" in " ".join(scene(image, attribution(image)).caption)
    assert "tilted" not in " ".join(scene(volume(), attribution(volume())).caption)


def test_the_named_channel_is_shown():
    values = np.stack([np.zeros(SHAPE), np.ones(SHAPE)])
    values[:, 0, 0, 0] = 5
    image = Image.of(values, Grid(SHAPE, RAS), channels=("t1", "flair"))
    found = attribution(image)
    first, second = scene(image, found).plain[0], scene(image, found, channel="flair", window=(0, 2)).plain[0]
    assert first.pixels.max() == 0
    assert np.median(second.pixels) == 0.5


def test_an_unknown_channel_is_named():
    with pytest.raises(InputError, match="unknown channel 'T9'"):
        scene(volume(channels=("T1",)), attribution(volume()), channel="T9")


def test_a_map_on_another_grid_is_refused():
    with pytest.raises(InputError, match="map must lie on the image's grid"):
        scene(volume(), attribution(volume(LPS)))


def test_a_mask_on_another_grid_is_refused():
    with pytest.raises(InputError, match="mask must lie on the image's grid"):
        scene(volume(), attribution(volume()), mask=volume(LPS))


def test_a_volume_of_one_slice_in_another_direction_shows_that_slice_only():
    image = volume(shape=(20, 1, 16))
    image = Image.of(np.random.default_rng(0).random((20, 1, 16)), image.grid)
    assert [panel.name for panel in scene(image, attribution(image)).plain] == ["coronal"]
