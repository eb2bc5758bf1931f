"""Palettes by name, constant opacity, and black-fire-red with its scale."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from voxplain.errors import InputError
from voxplain.report.display import scale
from voxplain.report.palettes import PALETTES, fire, painted, shared_limits, stepped
from voxplain.types import Quantity

BLACK_FIRE_RED = {-1: "white", -0.5: "cyan", -0.25: "blue", 0: "black", 0.25: "red", 0.5: "yellow", 1: "white"}
EIGHT_BITS = 1.5 / 255
"""Colour tables are cut into steps: half of one and the rounding of the other."""
RAMP_STEP = 4 / 255
"""A step of the black-fire-red table, where one channel runs from 0 to 1 within an eighth of it."""


def luminance(colours) -> np.ndarray:
    """Lightness CIE L* of colours (n, 3)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize(("strength", "colour"), BLACK_FIRE_RED.items())
def test_black_fire_red_ramps_one_primary_colour_after_the_other(strength, colour):
    found = PALETTES["black_fire_red"].colours((strength + 1) / 2)[:3]
    assert np.allclose(found, to_rgb(colour), atol=RAMP_STEP)


@pytest.mark.parametrize("name", ["parula_like", "sequential", "viridis"])
def test_lightness_rises_along_uniform_palettes(name):
    steps = luminance(PALETTES[name].colours(np.linspace(0, 1, 64))[:, :3])
    assert (np.diff(steps) > 0).all()


def test_parula_like_climbs_evenly():
    steps = np.diff(luminance(PALETTES["parula_like"].colours(np.linspace(0, 1, 21))[:, :3]))
    assert steps.max() < 3 * steps.min()


@pytest.mark.parametrize("name", [name for name, one in PALETTES.items() if one.signed])
def test_two_sided_palettes_are_warm_for_and_cold_against(name):
    against, plus = PALETTES[name].colours(0.35), PALETTES[name].colours(0.65)
    assert against[2] > against[0]
    assert plus[0] > plus[2]


@pytest.mark.parametrize(("name", "quantity"), [("jet", Quantity.RELEVANCE), ("black_fire_red", Quantity.SALIENCY)])
def test_a_palette_must_have_the_sides_of_the_quantity(name, quantity):
    with pytest.raises(InputError, match=name):
        painted(np.ones((2, 2, 1), np.float32), quantity, colours=name)


def test_an_unknown_palette_gets_a_suggestion():
    with pytest.raises(InputError, match="did you mean 'viridis'"):
        painted(np.ones((2, 2, 1), np.float32), Quantity.SALIENCY, colours="viridiss")


def test_a_named_palette_keeps_limits_and_words():
    values = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    plain, named = painted(values, Quantity.SALIENCY), painted(values, Quantity.SALIENCY, colours="jet")
    assert (plain.low, plain.high, plain.words) == (named.low, named.high, named.words)
    assert not np.allclose(plain([3.0])[0, :3], named([3.0])[0, :3])


def test_opacity_is_the_same_everywhere():
    values = np.array([[[0.0], [-1.0], [2.0]]], np.float32)
    assert np.allclose(painted(values, Quantity.RELEVANCE, opacity=0.4)(values)[..., 3], 0.4)


def test_a_constant_map_gets_no_wash():
    values = np.full((3, 3, 1), 0.7, np.float32)
    assert (painted(values, Quantity.SALIENCY, opacity=0.5)(values)[..., 3] == 0).all()


@pytest.mark.parametrize("opacity", [0, -0.1, 1.1])
def test_opacity_out_of_range_is_told(opacity):
    with pytest.raises(InputError, match="opacity must be more than 0 and at most 1"):
        painted(np.ones((2, 2, 1), np.float32), Quantity.SALIENCY, opacity=opacity)


def relevance() -> np.ndarray:
    """A thousand nonzero values from -2 to 1 among as many zeros."""
    values = np.zeros(2000, np.float32)
    values[::2] = np.linspace(-2, 1, 1000)
    return values.reshape(40, 50, 1)


def test_clip_leaves_its_share_of_the_nonzero_voxels_beyond():
    found = fire(relevance(), clip=0.01)
    assert found.high == pytest.approx(1.97, abs=0.01)
    assert found.low == -found.high
    assert found.raw == (-2.0, 1.0)
    assert "1 % of the nonzero voxels" in found.words


def test_the_limit_may_follow_the_weaker_side():
    assert fire(relevance(), clip=0.01, weaker_side=True).high == pytest.approx(0.97, abs=0.01)


def test_a_one_sided_map_has_no_weaker_side():
    with pytest.raises(InputError, match="weaker_side"):
        fire(np.abs(relevance()), weaker_side=True)


def test_opacity_is_a_power_of_strength():
    found = fire(relevance(), limits=(-1, 1), gamma=0.5)
    assert np.allclose(found([0.0, 0.25, -0.25, 1.0, 5.0])[:, 3], [0, 0.5, 0.5, 1, 1])


def test_the_intensifier_multiplies_colours_and_cuts_them():
    found = fire(relevance(), limits=(-1, 1), intensifier=5)
    assert np.allclose(found([0.05])[0, :3], [1.0, 0, 0], atol=5 * RAMP_STEP)
    assert found([1.0])[0, :3].max() == 1


def test_limits_as_asked_override_the_clip():
    assert fire(relevance(), limits=(-7, 7)).high == 7


@pytest.mark.parametrize(("option", "value"), [("clip", -0.1), ("clip", 0.5), ("gamma", 0), ("intensifier", 0)])
def test_fire_refuses_options_out_of_range(option, value):
    with pytest.raises(InputError, match=option):
        fire(relevance(), **{option: value})


def test_a_constant_map_of_relevance_stays_uncoloured():
    found = fire(np.zeros((4, 4, 1), np.float32))
    assert found.blank
    assert (found([0.0, 1.0])[:, 3] == 0).all()


def test_shared_limits_are_those_of_the_strongest_map():
    weak, strong = np.linspace(-1, 1, 100, dtype=np.float32), np.linspace(-3, 2, 100, dtype=np.float32)
    limit = scale(strong, Quantity.RELEVANCE).high
    assert shared_limits([weak, strong], Quantity.RELEVANCE) == (-limit, limit)


def test_constant_maps_have_no_limits_to_share():
    with pytest.raises(InputError, match="not constant"):
        shared_limits([np.zeros((3, 3, 1), np.float32)], Quantity.SALIENCY)


def test_steps_count_whole_numbers_and_leave_zero_bare():
    values = np.array([[[0.0], [1.0], [3.0]]], np.float32)
    found = stepped(values, 4)
    assert found(values)[0, :, 0, 3].tolist() == [0, 0.5, 0.5]
    assert (found.low, found.high) == (0, 4)


@pytest.mark.parametrize("value", [0.5, -1, 5])
def test_steps_refuse_what_is_no_level(value):
    with pytest.raises(InputError, match="whole numbers from 0 to 4"):
        stepped(np.array([[[value]]], np.float32), 4)
