"""Colours hold for colour-blind eyes, simulated after Machado, Oliveira and Fernandes, 2009."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from voxplain.report import (
    figures_labels,
    figures_overlay,
    figures_segments,
    figures_statistics,
    training_curves,
    training_scores,
)
from voxplain.report.display import DIVERGING, DIVERGING_WASH
from voxplain.report.palettes import PALETTES

# Severity 1.0, table 1 of "A Physiologically-based Model for Simulation of Color Vision Deficiency", on linear RGB.
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}

APART = 15.0
"""CIEDE2000 between colours that only their colour tells apart: three times what is told apart side by side at a
glance."""

WITH_A_SIGN = 8.0
"""Between colours that a dash, marker, sign or word tells apart as well."""

SLACK = 1.0
"""Lightness, 0 to 100, that a palette may fall back by in a thirtieth of its length: less than an eye sees."""

SIDES = 7.0
"""Between equally strong evidence for and against at a quarter of the limits; more than that further out."""

ONE_SIDED = [name for name, one in PALETTES.items() if not one.signed and name != "jet"]
TWO_SIDED = {"wash": DIVERGING_WASH, **{name: one.colours for name, one in PALETTES.items() if one.signed}}


def seen(colours, eyes: str) -> np.ndarray:
    """Colours (n, 3) in CIELAB as eyes of a kind see them."""
    rgb = np.asarray(colours, dtype=float)[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shifted = np.clip(linear @ np.asarray(EYES[eyes]).T, 0, 1)
    return rgb2lab(np.where(shifted <= 0.0031308, 12.92 * shifted, 1.055 * shifted ** (1 / 2.4) - 0.055)[None])[0]


def nearest(colours, eyes: str) -> float:
    """The smallest difference of two of the colours."""
    lab = seen([to_rgb(one) for one in colours], eyes)
    return min(float(deltaE_ciede2000(one, other)) for one, other in combinations(lab, 2))


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", ONE_SIDED)
def test_more_is_lighter_in_every_one_sided_palette(name, eyes):
    lightness = seen(PALETTES[name].colours(np.linspace(0, 1, 31)), eyes)[:, 0]
    assert np.diff(lightness).min() > -SLACK
    assert lightness[-1] - lightness[0] > 50


def test_jet_is_named_as_the_exception():
    lightness = seen(PALETTES["jet"].colours(np.linspace(0, 1, 31)), "normal")[:, 0]
    assert np.diff(lightness).min() < -5
    assert "not uniform" in PALETTES["jet"].source


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("colours", [DIVERGING, DIVERGING_WASH], ids=["diverging", "wash"])
def test_more_evidence_is_lighter_on_both_sides(colours, eyes):
    for side in (0.5, -0.5):
        lightness = seen(colours(0.5 + side * np.linspace(0.02, 1, 31)), eyes)[:, 0]
        assert np.diff(lightness).min() > -SLACK
        assert lightness[-1] - lightness[0] > 20


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", TWO_SIDED)
def test_evidence_for_and_against_stay_apart(name, eyes):
    for strength in (0.25, 0.5):
        both = TWO_SIDED[name]([0.5 + strength / 2, 0.5 - strength / 2])
        assert deltaE_ciede2000(*seen(both, eyes)) > SIDES


def test_zero_has_no_side_where_every_voxel_is_coloured():
    lightness, *sides = seen(DIVERGING_WASH([0.5]), "normal")[0]
    assert np.hypot(*sides) < 1
    assert lightness < 40


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(
    "colours", [figures_labels.LABELS, figures_overlay.RIMS], ids=["labels", "outlines"]
)  # fmt: skip
def test_labels_and_outlines_stay_apart(colours, eyes):
    assert nearest(colours, eyes) > APART


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize(
    "colours",
    [
        figures_statistics.COLOURS,
        (training_curves.TRAINING, training_curves.VALIDATION),
        (training_scores.BIAS, training_scores.MEAN, training_scores.MEDIAN),
        (figures_segments.FOR, figures_segments.AGAINST),
    ],
    ids=["curves", "training", "histogram", "segments"],
)
def test_colours_that_have_a_second_sign_stay_apart(colours, eyes):
    assert nearest(colours, eyes) > WITH_A_SIGN


def test_two_curves_differ_in_more_than_their_colour():
    styles = [(figures_statistics.DASHES[n % 4], figures_statistics.MARKERS[n % 8]) for n in range(8)]
    assert len({str(one) for one in styles}) == 8
