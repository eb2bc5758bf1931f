"""The slice that a figure shows, and one map on it."""

import numpy as np
import pytest

from tests.report.made import LPS, RAS, attribution, failed, picture, volume
from tests.report.seen import shown, spot
from voxplain.errors import InputError
from voxplain.report.figures_view import Shown, checked, laid, map_cell, reading, scales, view
from voxplain.report.palettes import painted
from voxplain.types import Quantity

FLIPPED = {"RAS": RAS, "LPS": LPS}


def test_the_slice_is_where_the_map_is_strongest():
    image = volume()
    on = view(image, [shown(spot(image, (4, 6, 5)))])
    assert on.cut.index == 5
    assert on.words[0] == "Axial slice 5, where the map is strongest."


def test_several_maps_are_weighed_by_their_own_limits():
    image = volume()
    loud = shown(spot(image, (4, 6, 2), 1e6))
    quiet = [shown(spot(image, (4, 6, 9))), shown(spot(image, (4, 6, 9)))]
    on = view(image, [*quiet, loud])
    assert on.words[0] == "Axial slice 9, where the 3 maps together are strongest."


def test_a_slice_is_taken_as_asked():
    image = volume()
    on = view(image, [shown(spot(image, (4, 6, 5)))], index=11, plane="coronal")
    assert on.words[0] == "Coronal slice 11, as asked."


def test_a_blank_map_leaves_the_choice_to_the_mask():
    image = volume()
    mask = spot(image, (4, 6, 12))
    on = view(image, [shown(np.zeros(image.grid.shape))], mask=mask)
    assert on.words[0] == "Axial slice 12, where the mask is largest."
    assert on.panel.outline.sum() == 1


def test_without_evidence_and_mask_the_middle_is_shown():
    assert view(volume()).words[0] == "Axial slice 8, the middle one."


@pytest.mark.parametrize("index", [-1, 16])
def test_a_slice_outside_the_volume_is_refused(index):
    with pytest.raises(InputError, match="slice must be between 0 and 15"):
        view(volume(), index=index)


def test_an_unknown_channel_gets_a_suggestion():
    with pytest.raises(InputError, match="unknown channel"):
        view(volume(), channel="flair")


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(
        InputError, match=r"map 'gradient' must have the image's shape \(20, 24, 16\), got \(24, 20, 16\)"
    ):
        view(volume(), [shown(np.zeros((24, 20, 16)))])


def test_a_picture_takes_maps_without_their_third_axis():
    assert checked(picture(), shown(np.zeros((40, 30)))).values.shape == (40, 30, 1)


def test_a_map_in_single_precision_is_not_copied():
    one = shown(np.zeros((40, 30, 1), np.float32))
    assert checked(picture(), one) is one


@pytest.mark.parametrize(("letters", "column"), [("RAS", 20 - 1 - 4), ("LPS", 4)])
def test_a_marked_voxel_lands_at_its_place_in_radiological_convention(letters, column):
    image = volume(FLIPPED[letters])
    one = shown(spot(image, (4, 6, 5)))
    on = view(image, [one])
    coloured = laid(on, one.values, one.scale, "black").max(axis=-1)
    row = 24 - 1 - 6 if letters == "RAS" else 6
    assert np.argwhere(coloured > 0).tolist() == [[column, row]]


def test_backdrops_are_dimmed_plain_faint_and_black():
    image = picture()
    on = view(image)
    nothing = painted(np.zeros((40, 30, 1), np.float32), Quantity.SALIENCY)
    grey = on.panel.pixels
    zero = np.zeros((40, 30, 1), np.float32)
    assert np.allclose(laid(on, zero, nothing, "image"), grey)
    assert np.allclose(laid(on, zero, nothing, "faded"), 0.15 * grey + 0.85)
    assert not laid(on, zero, nothing, "black").any()


def test_raw_range_and_limits_stand_below_a_map():
    image = picture()
    one = shown(np.linspace(-1, 3, 1200).reshape(40, 30, 1).astype(np.float32))
    cell = map_cell(view(image), one, one.scale)
    assert cell.told[0] == "raw −1 to 3 logits"
    assert cell.told[1].startswith("colours ±3")


def test_the_raw_range_is_that_of_the_whole_map_and_not_of_the_slice():
    image = volume()
    one = shown(spot(image, (4, 6, 5), 7.0))
    assert map_cell(view(image, index=0), one, one.scale).told[0] == "raw 0 to 7 logits"


def test_a_constant_map_says_so_across_the_picture():
    image = picture()
    one = shown(np.full((40, 30, 1), 0.25, np.float32))
    assert "constant map" in map_cell(view(image), one, one.scale).panel.words


def test_failed_checks_come_with_the_map():
    image = picture()
    one = Shown.of(attribution(image, certificate=failed()))
    assert map_cell(view(image), one, one.scale).alarm == "completeness"


def test_a_list_of_layers_does_not_fill_the_name():
    method = "grad_cam(layer=['a.conv', 'b.conv'])"
    assert Shown.of(attribution(picture(), method=method, layer="b.conv")).name == "grad_cam, b.conv"


def test_other_options_stay_in_the_name():
    method = "grad_cam(layer='b', relu=False)"
    assert Shown.of(attribution(picture(), method=method, layer="b")).name == "grad_cam(relu=False), b"


def test_only_maps_of_one_unit_share_limits():
    ramp = np.linspace(0, 1, 1200).reshape(40, 30, 1).astype(np.float32)
    maps = [shown(ramp), shown(5 * ramp), shown(9 * ramp, unit="years")]
    first, second, third = scales(maps, shared=True)
    assert first.high == second.high == pytest.approx(5, rel=0.01)
    assert third.high == pytest.approx(9, rel=0.01)


def test_derivatives_are_read_as_directions():
    sentences = " ".join(reading([shown(np.zeros((2, 2, 1)), derivative=True)], shared=False))
    assert "brighter voxel" in sentences
    assert "speak for" not in sentences
