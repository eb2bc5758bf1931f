"""Preparation: one grid out of many steps, intensities and their gain, and masks."""

import numpy as np
import pytest

from tests.space.grids import apart, centre_of_mass, linear_field, marked, turned
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare, prepare_mask
from voxplain.errors import InputError
from voxplain.space.grid import Grid
from voxplain.space.layout import oriented

PIXELS = Grid((5, 4, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
VOLUME = turned((9, 8, 7), (1.0, 1.5, 2.0), (12, -7, 25), (10, 20, 30))


def noise(grid, count=1, **named):
    values = np.random.default_rng(0).normal(100, 30, size=(count, *grid.shape))
    return Image.of(values, grid, unit="HU", identifier="scan", **named)


# --- the tensor's grid ------------------------------------------------------------------------------------------------


def test_an_empty_preparation_passes_a_volume_through_bit_by_bit():
    image = noise(VOLUME, 2)
    prepared = Prepare()(image, 3)
    assert np.array_equal(prepared.values, image.values)
    assert prepared.grid.same_as(VOLUME)
    assert (prepared.gain, prepared.unit, prepared.channels) == ((1.0, 1.0), "HU", image.channels)


def test_an_empty_preparation_turns_a_picture_into_rows_and_columns():
    image = noise(PIXELS, 3)
    prepared = Prepare()(image, 2)
    assert np.array_equal(prepared.values, image.values[..., 0].transpose(0, 2, 1))
    assert prepared.grid.shape == (4, 5, 1)
    assert prepared.grid.world([3, 1, 0]) == pytest.approx(PIXELS.world([1, 3, 0]))


@pytest.mark.parametrize("stored", ["RAS", "LPS", "SAR", "IPL"])
def test_the_tensor_does_not_depend_on_how_the_volume_is_stored(stored):
    grid = oriented(VOLUME, stored)
    prepared = Prepare(orientation="RAS", spacing_mm=(1.2, 1.2, 1.2))(Image.of(linear_field(grid), grid), 3)
    reference = Prepare(orientation="RAS", spacing_mm=(1.2, 1.2, 1.2))(Image.of(linear_field(VOLUME), VOLUME), 3)
    assert prepared.grid.orientation == "RAS"
    assert prepared.values == pytest.approx(reference.values, abs=1e-3)


def test_every_geometric_step_shows_in_the_grid():
    options = Prepare(orientation="LPS", spacing_mm=(2, 2, 2), size=(10, 9, 8), crop_pad=(7, 7, 9), pad_multiple=4)
    grid = options(noise(VOLUME), 3).grid
    assert grid.shape == (8, 8, 12)
    assert grid.orientation == "LPS"
    assert grid.spacing == pytest.approx((5 * 2 / 10, 6 * 2 / 9, 7 * 2 / 8))


def test_spacing_is_given_axis_by_axis():
    assert Prepare(spacing_mm=(2, 1, 3))(noise(VOLUME), 3).grid.spacing == pytest.approx((2, 1, 3))
    flat = Grid((6, 8, 1), np.diag([-1.0, -1.0, 4.0, 1.0]))
    prepared = Prepare(spacing_mm=(2, 0.5))(noise(flat), 2)
    assert prepared.values.shape == (1, 4, 12)
    assert prepared.grid.spacing == pytest.approx((2, 0.5, 4))


def test_composed_steps_read_the_voxels_where_they_lie():
    options = Prepare(orientation="LPS", spacing_mm=(0.9, 1, 1.1), size=(12, 12, 15), crop_pad=(8, 8, 8))
    prepared = options(Image.of(linear_field(VOLUME), VOLUME), 3)
    inner = (slice(None), *[slice(2, -2)] * 3)
    assert prepared.values[inner] == pytest.approx(linear_field(prepared.grid)[inner], abs=1e-3)


def test_a_picture_is_resized_by_rows_then_columns():
    prepared = Prepare(size=(8, 15))(noise(PIXELS), 2)
    assert prepared.values.shape == (1, 8, 15)
    assert prepared.grid.edges().mean(axis=0) == pytest.approx(PIXELS.edges().mean(axis=0))


def test_a_marked_pixel_lies_at_its_row_and_column():
    image = Image.of(marked(PIXELS, (4, 1, 0)), PIXELS)
    assert np.argwhere(Prepare()(image, 2).values[0]).tolist() == [[1, 4]]


def test_shrinking_averages():
    grid = Grid((4, 4, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    checks = np.indices((4, 4)).sum(axis=0)[..., None] % 2
    assert Prepare(size=(2, 2))(Image.of(checks, grid), 2).values == pytest.approx(np.full((1, 2, 2), 0.5))


def test_a_marked_voxel_is_prepared_where_it_lies():
    prepared = Prepare(orientation="RAS", spacing_mm=(0.7, 0.7, 0.7))(Image.of(marked(VOLUME, (4, 3, 2)), VOLUME), 3)
    found = centre_of_mass(prepared.values[0], prepared.grid)
    assert apart(found, VOLUME.world([4, 3, 2]), VOLUME) < 0.1


# --- intensities ------------------------------------------------------------------------------------------------------


def ramp(values, **named):
    row = np.array(values, dtype=np.float32)
    return Image.of(row.reshape(1, -1, 1, 1), Grid((len(values), 1, 1), np.diag([-1.0, -1.0, 1, 1]), "px"), **named)


def row_of(options, values):
    return options(ramp(values), 2).values[:, 0]


def test_a_window_clips_and_stretches_to_one():
    assert row_of(Prepare(window=(0, 80)), [-5, 0, 20, 80, 300]) == pytest.approx(np.array([[0, 0, 0.25, 1, 1]]))


def test_percentiles_are_a_window_of_the_image_itself():
    assert row_of(Prepare(percentile=(25, 75)), [0, 1, 2, 3, 4]) == pytest.approx(np.array([[0, 0, 0.5, 1, 1]]))


def test_zscore_gives_every_channel_mean_0_and_deviation_1():
    values = Prepare(zscore=True)(noise(VOLUME, 2), 3).values
    assert values.mean(axis=(1, 2, 3)) == pytest.approx(np.zeros(2), abs=1e-5)
    assert values.std(axis=(1, 2, 3)) == pytest.approx(np.ones(2), abs=1e-5)


def test_nonzero_leaves_the_background_alone():
    row = row_of(Prepare(zscore=True, nonzero=True), [0, 0, 4, 6])
    assert row == pytest.approx(np.array([[0, 0, -1, 1]]))


@pytest.mark.parametrize("nonzero", [False, True])
def test_statistics_do_not_see_the_padding(nonzero):
    row = row_of(Prepare(zscore=True, nonzero=nonzero, crop_pad=(1, 6)), [2, 2, 8])
    assert row == pytest.approx(np.array([[0, -(0.5**0.5), -(0.5**0.5), 2**0.5, 0, 0]]))


def test_padding_holds_its_value_before_mean_and_std():
    options = Prepare(window=(0, 10), pad_value=0.5, mean=(0.25,), std=(0.5,), crop_pad=(1, 4))
    assert row_of(options, [10, 10]) == pytest.approx(np.array([[0.5, 1.5, 1.5, 0.5]]))


def test_padding_does_not_bleed_into_the_image():
    values = Prepare(size=(1, 3), crop_pad=(1, 5))(ramp([100] * 7), 2).values
    assert values[0, 0].tolist() == [0, 100, 100, 100, 0]


def test_a_voxel_that_reaches_beyond_the_image_keeps_the_level_of_its_edge():
    grid = Grid((10, 10, 10))
    values = Prepare(spacing_mm=(4, 4, 4))(Image.of(np.full((1, 10, 10, 10), -1000.0), grid), 3).values
    assert values == pytest.approx(np.full((1, 3, 3, 3), -1000.0))


def test_grey_becomes_red_green_and_blue_with_their_own_mean_and_std():
    options = Prepare(scale=1 / 255, grey_to_rgb=True, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))
    prepared = options(ramp([0, 255]), 2)
    assert prepared.values[:, 0] == pytest.approx(np.array([[-1, 1], [-1.6, 2.4], [-1.5, 3.5]]))
    assert prepared.replicated
    assert prepared.channels == ("image",) * 3


def test_channels_are_chosen_and_ordered_by_name():
    image = noise(VOLUME, 3, channels=("T1", "T2", "FLAIR"))
    prepared = Prepare(channels=("FLAIR", "T1"))(image, 3)
    assert np.array_equal(prepared.values, image.values[[2, 0]])
    assert prepared.channels == ("FLAIR", "T1")


@pytest.mark.parametrize(
    "options",
    [
        Prepare(window=(0, 300), scale=3.0, mean=(0.2,), std=(0.5,)),
        Prepare(scale=1 / 255, grey_to_rgb=True, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)),
        Prepare(scale=-2.0),
        Prepare(),
    ],
)
def test_gain_is_the_derivative_of_the_tensor_by_the_raw_intensity(options):
    first, second = options(ramp([100, 200]), 2).values, options(ramp([110, 210]), 2).values
    gain = np.array(options(ramp([100, 200]), 2).gain)
    assert (second - first)[:, 0] / 10 == pytest.approx(np.stack([gain, gain], axis=1), rel=1e-4)


def test_gain_of_statistics_is_that_of_the_line_they_define():
    image = ramp([0, 40, 50, 100])
    for options in (Prepare(zscore=True), Prepare(percentile=(0, 100))):
        prepared = options(image, 2)
        assert prepared.values[0, 0, 2] - prepared.values[0, 0, 1] == pytest.approx(10 * prepared.gain[0])


def test_the_unit_says_whether_intensities_were_changed():
    assert Prepare(crop_pad=(2, 2, 2))(noise(VOLUME), 3).unit == "HU"
    assert Prepare(zscore=True)(noise(VOLUME), 3).unit == "normalised"
    assert Prepare(zscore=True)(noise(VOLUME), 3).raw_unit == "HU"


def test_constant_channels_cannot_be_scaled_by_their_spread():
    flat = Image.of(np.ones((1, 3, 3, 1)), Grid((3, 3, 1), unit="px"), channels=("T2",))
    with pytest.raises(InputError, match="channel 'T2' must not be constant"):
        Prepare(zscore=True)(flat, 2)
    with pytest.raises(InputError, match="channel 'T2' must differ between its percentiles 1 and 99"):
        Prepare(percentile=(1, 99))(flat, 2)


# --- masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_takes_the_same_way_with_whole_labels():
    labels = np.zeros((1, *VOLUME.shape))
    labels[0, 3:6, 2:5, 2:4] = 4
    prepared = Prepare(orientation="LPS", spacing_mm=(0.8, 0.8, 0.8), crop_pad=(12, 12, 20))(noise(VOLUME), 3)
    mask = prepare_mask(Image.of(labels, VOLUME), prepared)
    assert mask.shape == prepared.values.shape[1:]
    assert set(np.unique(mask)) == {0, 4}
    assert apart(centre_of_mass(mask.astype(np.float32), prepared.grid), VOLUME.world([4, 3, 2.5]), VOLUME) < 0.5


def test_a_mask_of_a_picture_has_rows_and_columns():
    labels = marked(PIXELS, (4, 1, 0), 7)
    mask = prepare_mask(Image.of(labels, PIXELS), Prepare()(noise(PIXELS), 2))
    assert mask.dtype == np.int64
    assert mask[1, 4] == 7


def test_a_mask_of_two_channels_is_refused():
    with pytest.raises(InputError, match="must have one channel, got 2"):
        prepare_mask(noise(PIXELS, 2), Prepare()(noise(PIXELS), 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_lies_outside_the_mask_is_0_after_everything_else(channels):
    labels = np.zeros((1, *PIXELS.shape))
    labels[0, 2:5, 1:3] = 3
    mask = Image.of(labels, PIXELS)
    options = {"zscore": True, "size": (7, 9), "mean": (0.5,) * channels}
    plain, masked = (Prepare(masked=on, **options)(noise(PIXELS, channels), 2, mask) for on in (False, True))
    inside = prepare_mask(mask, masked) > 0
    assert np.array_equal(masked.values[:, inside], plain.values[:, inside])
    assert not masked.values[:, ~inside].any()
    assert plain.values[:, ~inside].all()


def test_a_masked_preparation_needs_the_mask():
    with pytest.raises(InputError, match="prepare: masked needs the mask of image"):
        Prepare(masked=True)(noise(PIXELS), 2)
