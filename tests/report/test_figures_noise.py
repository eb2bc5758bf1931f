"""A map of chance says so, and a map of evidence is not called chance."""

import numpy as np
import pytest

from tests.report.made import attribution, blob, picture, volume
from tests.report.seen import pictures, shown, words
from voxplain.report import figures
from voxplain.report.display import scale
from voxplain.report.figures_rows import draw_methods
from voxplain.report.figures_view import view
from voxplain.report.noise import noise_words
from voxplain.types import Quantity

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(size=(40, 30, 1)),
        RANDOM.uniform(size=(40, 30, 1)),
        RANDOM.uniform(-1, 1, size=(20, 24, 16)),
        1e-12 * RANDOM.normal(size=(64, 64)),
        RANDOM.normal(size=(48, 48, 60)) * (np.hypot(*np.indices((48, 48)) - 24) < 15)[..., None],
    ],
    ids=["normal", "uniform", "volume", "tiny", "inside a body only"],
)
def test_noise_is_called_so(values):
    assert noise_words(values).startswith("like noise: neighbours unrelated (correlation ")


@pytest.mark.parametrize(
    "values",
    [
        blob((40, 30, 1), (10, 10, 0)),
        blob((40, 30, 1), (10, 10, 0)) + 0.02 * RANDOM.normal(size=(40, 30, 1)),
        np.repeat(np.repeat(RANDOM.normal(size=(10, 8, 1)), 4, axis=0), 4, axis=1),
        np.where(RANDOM.uniform(size=(64, 64, 1)) > 0.99, 900 * RANDOM.uniform(size=(64, 64, 1)), 1.0),
        RANDOM.normal(size=(12, 12, 1)),
        np.full((40, 30, 1), 0.3),
        np.zeros((40, 30, 1)),
        np.full((40, 30, 1), np.nan),
        RANDOM.normal(size=2000),
    ],
    ids=["lump", "lump and noise", "coarse cells", "few strong voxels", "too few", "constant", "zero", "nan", "a list"],
)
def test_evidence_is_not_called_noise(values):
    assert noise_words(values) == ""


def test_how_sure_the_rule_is():
    called = [bool(noise_words(np.random.default_rng(n).normal(size=(32, 32)))) for n in range(200)]
    assert np.mean(called) > 0.98


def test_the_correlation_is_that_of_neighbours():
    values = np.abs(RANDOM.normal(size=(50, 40)))
    both = [(values[1:].ravel(), values[:-1].ravel()), (values[:, 1:].ravel(), values[:, :-1].ravel())]
    expected = np.corrcoef(*(np.concatenate([pair[side] for pair in both]) for side in (0, 1)))[0, 1]
    assert noise_words(values) == f"like noise: neighbours unrelated (correlation {round(expected, 2) + 0.0:g})"


def test_a_picture_of_noise_says_so_and_points_nowhere():
    image = volume()
    noisy = RANDOM.normal(size=image.grid.shape).astype(np.float32)
    drawn = figures.draw(image, attribution(image, noisy))
    assert "LIKE NOISE" in words(drawn)
    assert "Planes through the middle" in words(drawn)
    assert all(panel.cross is None for panel in drawn.scene.plain)
    plain = figures.draw(image, attribution(image))
    assert "LIKE NOISE" not in words(plain)
    assert all(panel.cross is not None for panel in plain.scene.plain)


def test_noise_has_no_say_in_where_a_figure_cuts():
    image = volume()
    lump = shown(blob(image.grid.shape, (10, 12, 4)))
    noisy = np.zeros(image.grid.shape, np.float32)
    noisy[..., 11] = 1
    noisy += RANDOM.normal(size=image.grid.shape)
    assert view(image, [shown(noisy), shown(noisy), lump]).cut.index == 4
    assert "the middle one" in view(image, [shown(noisy)]).words[0]


def test_a_row_of_methods_says_which_one_is_noise():
    image = picture()
    noisy = shown(RANDOM.normal(size=image.grid.shape), "chance", Quantity.RELEVANCE)
    figure = draw_methods(image, [shown(blob(image.grid.shape, (10, 10, 0))), noisy])
    assert words(figure).count("like noise") == 1
    assert len(pictures(figure)) == 3


def test_a_map_that_is_not_shown_is_not_called_noise_as_well():
    assert scale(np.zeros((40, 30, 1), np.float32), Quantity.RELEVANCE).doubt == ""
    tiny = scale((1e-12 * RANDOM.normal(size=(40, 30, 1))).astype(np.float32), Quantity.SCORE_UNITS)
    assert "rounding noise" in tiny.blank
    assert tiny.doubt == ""
