"""The grey window, the colours of a map and their limits."""

import numpy as np
import pytest

from tests.report.made import attribution, picture, volume
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.report.display import STRONGEST_ALPHA, blend, grey_window, number, one_map, scale
from voxplain.types import Quantity

SPREAD = np.linspace(-1, 3, 4001, dtype=np.float32)


def test_ct_is_shown_in_the_soft_tissue_window():
    window = grey_window(np.array([-1000.0, 3000.0], dtype=np.float32), "HU")
    assert (window.low, window.high) == (-160, 240)
    assert window([-160, 40, 240, 900]).tolist() == [0, 0.5, 1, 1]


def test_mr_is_windowed_by_percentiles_of_what_is_not_zero():
    values = np.concatenate([np.zeros(10_000), np.arange(1, 1002)]).astype(np.float32)
    window = grey_window(values, "a.u.")
    assert window.low == pytest.approx(11)
    assert window.high == pytest.approx(991)
    assert window.words == "grey window 11 to 991 (a.u., 1st to 99th percentile of nonzero voxels)"


def test_an_asked_window_wins_over_the_unit():
    assert grey_window(SPREAD, "HU", (0, 80)).high == 80


def test_a_window_upside_down_is_refused():
    with pytest.raises(InputError, match=r"window must be \(low, high\)"):
        grey_window(SPREAD, "HU", (80, 0))


@pytest.mark.parametrize("values", [np.zeros(9), np.full(9, 7.0)])
def test_a_flat_image_still_has_a_window(values):
    grey = grey_window(values.astype(np.float32), "a.u.")(values)
    assert np.isfinite(grey).all()


def test_signed_quantities_get_symmetric_limits():
    found = scale(SPREAD, Quantity.RELEVANCE)
    assert found.low == -found.high
    assert found.high == pytest.approx(np.percentile(np.abs(SPREAD), 99.9))


def test_limits_ignore_the_zeros_around_a_small_map():
    values = np.zeros(100_000, dtype=np.float32)
    values[:20] = 5
    assert scale(values, Quantity.SCORE_UNITS).high == 5


def test_saliency_starts_at_zero_and_takes_other_colours():
    found = scale(np.abs(SPREAD), Quantity.SALIENCY)
    assert found.low == 0
    assert found.colours is not scale(SPREAD, Quantity.RELEVANCE).colours


def test_mask_probabilities_run_from_zero_to_one_whatever_they_reach():
    found = scale(np.array([0.1, 0.3], dtype=np.float32), Quantity.MASK)
    assert (found.low, found.high) == (0, 1)


def test_evidence_for_is_red_and_evidence_against_is_blue():
    red, _, blue, _ = scale(SPREAD, Quantity.SCORE_UNITS)([3.0, -3.0]).transpose()
    assert red[0] > blue[0]
    assert blue[1] > red[1]


def test_opacity_grows_with_strength_and_zero_is_transparent():
    found = scale(SPREAD, Quantity.SCORE_UNITS, limits=(-2, 2))
    assert found([-4.0, -1.0, 0.0, 1.0, 2.0])[:, 3] == pytest.approx(STRONGEST_ALPHA * np.array([1, 0.5, 0, 0.5, 1]))


def test_weak_saliency_is_transparent_too():
    assert scale(SPREAD, Quantity.SALIENCY, limits=(0, 4))([0.0, 1.0])[:, 3] == pytest.approx([0, STRONGEST_ALPHA / 4])


def test_strength_is_as_light_for_as_against():
    luminance = scale(SPREAD, Quantity.SCORE_UNITS, limits=(-1, 1))([-1.0, 1.0])[:, :3] @ np.array(
        [0.2126, 0.7152, 0.0722]
    )
    assert luminance[0] == pytest.approx(luminance[1], abs=0.1)


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_a_constant_map_gets_no_colour_and_says_so(value):
    found = scale(np.full(50, value, dtype=np.float32), Quantity.RELEVANCE)
    assert found.blank.startswith("constant map")
    assert not found(np.full(3, value)).any()


def test_a_map_below_float_resolution_counts_as_constant():
    assert scale(np.array([1, 1 + 1e-7], dtype=np.float32), Quantity.SALIENCY).blank


def test_rounding_noise_in_score_units_gets_no_colour():
    noise = np.random.default_rng(0).normal(0, 1e-10, 1000).astype(np.float32)
    assert "rounding noise" in scale(noise, Quantity.SCORE_UNITS).blank
    assert not scale(noise, Quantity.RELEVANCE).blank


def test_saliency_without_a_positive_value_gets_no_colour():
    assert scale(np.array([-1.0, 0.0], dtype=np.float32), Quantity.SALIENCY).blank


def test_not_a_number_is_transparent():
    found = scale(np.array([np.nan, 1.0, -1.0], dtype=np.float32), Quantity.RELEVANCE)
    assert found.raw == (-1.0, 1.0)
    assert found([np.nan])[0, 3] == 0


def test_asked_limits_must_be_symmetric_for_a_signed_map():
    with pytest.raises(InputError, match=r"limits must be \(-a, a\) for signed relevance, got \(0, 3\)"):
        scale(SPREAD, Quantity.RELEVANCE, limits=(0, 3))


def test_the_raw_range_is_kept_beside_the_limits():
    assert scale(SPREAD, Quantity.RELEVANCE, limits=(-0.5, 0.5)).raw == (-1.0, 3.0)


def test_blend_leaves_the_image_where_the_map_is_transparent():
    grey = np.array([0.25, 0.75], dtype=np.float32)
    colour = np.array([[1, 0, 0, 0], [1, 0, 0, 1]], dtype=np.float32)
    assert blend(grey, colour).tolist() == [[0.25, 0.25, 0.25], [1, 0, 0]]


def two_channels(quantity: Quantity):
    image = Image.of(np.ones((2, 4, 3, 2)), volume(shape=(4, 3, 2)).grid, channels=("t1", "flair"))
    values = np.stack([np.full((4, 3, 2), 1.0), np.full((4, 3, 2), -3.0)])
    return attribution(image, values, quantity, channels=("t1", "flair"))


def test_channels_that_add_up_are_summed_and_it_is_said():
    values, words = one_map(two_channels(Quantity.SCORE_UNITS))
    assert (values == -2).all()
    assert words == "sum over 2 channels"


def test_other_channels_show_the_strongest_value_with_its_sign():
    values, words = one_map(two_channels(Quantity.RELEVANCE))
    assert (values == -3).all()
    assert words.startswith("strongest of 2 channels")


def test_a_channel_is_picked_by_name():
    assert (one_map(two_channels(Quantity.SCORE_UNITS), "t1")[0] == 1).all()


def test_an_unknown_channel_is_named():
    with pytest.raises(InputError, match="unknown channel 'flare'; did you mean 'flair'"):
        one_map(two_channels(Quantity.SCORE_UNITS), "flare")


def test_a_map_of_one_channel_needs_no_words():
    assert one_map(attribution(picture()))[1] == ""


def test_numbers_are_short_and_keep_their_sign():
    assert [number(value) for value in (0.0, -0.012345, 1234567.0, float("nan"))] == ["0", "−0.0123", "1.23e+06", "nan"]
