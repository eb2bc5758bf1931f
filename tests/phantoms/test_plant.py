"""Causes planted into given images lie in their masks, and only there."""

import numpy as np
import pytest

from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.errors import InputError, OptionError
from voxplain.phantoms import phantom
from voxplain.phantoms.plant import planted
from voxplain.space.grid import Grid

KINDS = ("lesion", "marker", "blur", "bias_field", "shift")
SHAPES = ((40, 30, 1), (20, 24, 16))


def image(shape=(40, 30, 1), channels=1):
    """A grainy object on black, in every channel."""
    draw = np.random.default_rng(0)
    middle = np.array(shape)[:, None, None, None] / 2 - 0.5
    away = np.sqrt((((np.indices(shape) - middle) / np.maximum(middle, 1)) ** 2).sum(axis=0))
    values = (away < 0.8) * (100 + 20 * draw.standard_normal((channels, *shape)))
    names = tuple(f"c{n}" for n in range(channels))
    return Image.of(values, Grid(shape), channels=names, identifier="made-up")


def plant(source, spec, seed=0):
    return planted(source, phantom(spec), np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_lie_in_the_mask(kind, shape, channels):
    before = image(shape, channels)
    after, mask = plant(before, f"plant(kind='{kind}', radius=0.15)")
    changed = (before.values != after.values).any(axis=0)
    assert changed.any()
    assert not (changed & (mask.values[0] == 0)).any()
    assert changed.sum() > 0.5 * mask.values.sum() or kind == "bias_field"
    assert mask.grid.same_as(before.grid)


@pytest.mark.parametrize("kind", KINDS)
def test_the_given_image_stays_as_it_was(kind):
    before = image()
    kept = before.values.copy()
    plant(before, f"plant(kind='{kind}')")
    assert np.array_equal(before.values, kept)


def test_only_the_named_channel_shows_the_sign():
    before = image((20, 24, 16), 3)
    after, _ = plant(before, "plant(kind='lesion', channels=['c1'])")
    assert [np.array_equal(before.values[n], after.values[n]) for n in range(3)] == [True, False, True]


def test_a_lesion_adds_its_strength_of_the_range():
    before = image()
    low, high = np.percentile(before.values, (1, 99))
    after, mask = plant(before, "plant(kind='lesion', strength=0.25, radius=0.2)")
    added = (after.values - before.values)[0]
    assert added.max() == pytest.approx(0.25 * (high - low), rel=1e-3)
    assert (mask.values[0] > 0).sum() == pytest.approx(np.pi * 6.5**2, rel=0.2)


def test_a_negative_strength_darkens():
    before = image()
    after, _ = plant(before, "plant(kind='shift', strength=-0.5)")
    low, high = np.percentile(before.values, (1, 99))
    assert np.allclose(after.values - before.values, -0.5 * (high - low), atol=1e-3)


def test_a_lesion_lies_in_the_object():
    for seed in range(20):
        before = image((20, 24, 16))
        _, mask = plant(before, "plant(kind='lesion', radius=0.1)", seed)
        assert before.values[mask.values > 0].mean() > 50


def test_a_marker_lies_near_the_border_and_has_one_brightness():
    before = image()
    after, mask = plant(before, "plant(kind='marker', strength=1.0, radius=0.05)")
    inside = after.values[mask.values > 0]
    assert inside.min() == inside.max()
    columns, rows = np.nonzero(mask.values[0, :, :, 0])
    assert min(columns.min(), 39 - columns.max()) <= 5
    assert min(rows.min(), 29 - rows.max()) <= 5


def test_a_blur_makes_its_place_smoother():
    before = image()
    after, mask = plant(before, "plant(kind='blur', strength=1.0, radius=0.2)")
    inside = mask.values > 0
    assert after.values[inside].std() < 0.6 * before.values[inside].std()


def test_a_bias_field_multiplies_smoothly():
    before = image()
    after, _ = plant(before, "plant(kind='bias_field', strength=0.3)")
    bright = before.values > 0
    ratio = np.log(after.values[bright] / before.values[bright])
    assert 0.02 < ratio.std() < 0.6


def test_pictures_keep_whole_numbers_in_their_range():
    grid = Grid((16, 16, 1), PICTURE_AFFINE, "px")
    values = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1))
    after, _ = plant(Image.of(values, grid, unit="8-bit grey"), "plant(kind='shift', strength=0.7)")
    assert np.array_equal(after.values, np.rint(after.values))
    assert after.values.max() == 255


def test_an_absent_channel_is_an_error():
    with pytest.raises(InputError, match="no channel 't9'"):
        plant(image(), "plant(channels=['t9'])")


def test_a_constant_image_is_an_error():
    flat = Image.of(np.ones((8, 8, 1)), Grid((8, 8, 1)))
    with pytest.raises(InputError, match="must have contrast"):
        plant(flat, "plant")


def test_a_plant_without_a_table_says_what_is_missing():
    with pytest.raises(OptionError, match="cases must name a table of images"):
        phantom("plant").count()
