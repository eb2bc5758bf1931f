"""A map beside its standard error, and where several maps agree."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.report.made import attribution, blob, picture, volume
from tests.report.seen import colourful, pictures, pixels, shown, spot, words
from voxplain.errors import InputError
from voxplain.report.figures_trust import (
    agreement_from_run,
    draw_agreement,
    draw_error,
    error_from_run,
    rank_correlations,
)
from voxplain.types import Quantity

IMAGE = picture()
SHAPE = IMAGE.grid.shape
MAP = spot(IMAGE, (10, 8, 0)) + spot(IMAGE, (30, 20, 0), -1.0)


def test_a_value_within_two_standard_errors_is_not_shown_as_sure():
    error = np.full(SHAPE, 0.01, np.float32)
    error[10, 8] = 0.499
    error[30, 20] = 0.501
    sure = colourful(pixels(pictures(draw_error(IMAGE, shown(MAP), error))[3]))
    assert sure[8, 10] > 0.2
    assert sure[20, 30] < 0.05
    assert "50% of the magnitude" in words(draw_error(IMAGE, shown(MAP), error))


def test_evidence_against_is_as_sure_as_evidence_for():
    error = np.full(SHAPE, 0.1, np.float32)
    sure = colourful(pixels(pictures(draw_error(IMAGE, shown(MAP), error))[3]))
    assert sure[8, 10] > 0.2
    assert sure[20, 30] > 0.2
    assert "100% of the magnitude" in words(draw_error(IMAGE, shown(MAP), error))


def test_the_error_has_the_maps_own_scale():
    small, large = (
        colourful(pixels(pictures(draw_error(IMAGE, shown(MAP), np.full(SHAPE, level, np.float32)))[2])).max()
        for level in (0.01, 0.9)
    )
    assert small < 0.05
    assert large > 0.3


def test_an_unknown_error_is_not_sure():
    text = words(draw_error(IMAGE, shown(MAP), np.full(SHAPE, np.nan, np.float32)))
    assert " 0% of the magnitude" in text


@pytest.mark.parametrize(
    ("error", "said"),
    [(np.full(SHAPE, -1.0), "must not be negative, got -1"), (np.zeros((3, 3)), "must have the image's shape")],
)
def test_errors_that_cannot_be_are_refused(error, said):
    with pytest.raises(InputError, match=said):
        draw_error(IMAGE, shown(MAP), error)


def test_a_constant_map_is_drawn_beside_its_error():
    text = words(draw_error(IMAGE, shown(np.zeros(SHAPE)), np.full(SHAPE, 0.1)))
    assert "constant map" in text
    assert "the map is 0" in text


def votes(*maps, **options) -> np.ndarray:
    """The picture of votes (rows, columns, 3) below the maps."""
    return pixels(pictures(draw_agreement(IMAGE, list(maps), **options))[len(maps) + 1])


def test_a_voxel_gets_a_vote_of_every_map_that_counts_it_in():
    lump = blob(SHAPE, (10, 8, 0), 3)
    both = votes(shown(lump), shown(2 * lump, Quantity.SALIENCY))
    one = votes(shown(lump), shown(blob(SHAPE, (30, 20, 0), 3)))
    bare = pixels(pictures(draw_agreement(IMAGE, [shown(lump)] * 2))[2])
    assert not np.allclose(both[8, 10], one[8, 10], atol=0.05)
    assert np.allclose(both[25, 2], bare[25, 2], atol=1e-6)


def test_evidence_against_has_no_vote_but_a_derivative_has():
    negative = -blob(SHAPE, (10, 8, 0), 3)
    bare = pixels(pictures(draw_agreement(IMAGE, [shown(negative)] * 2))[2])
    assert np.allclose(votes(shown(negative), shown(negative)), bare, atol=1e-6)
    slope = shown(negative, derivative=True)
    assert not np.allclose(votes(slope, slope)[8, 10], bare[8, 10], atol=0.05)


def test_the_share_says_how_many_voxels_vote():
    values = shown(np.random.default_rng(0).uniform(0.1, 1, SHAPE))
    bare = pixels(pictures(draw_agreement(IMAGE, [values] * 2))[2])
    for share in (0.05, 0.2):
        coloured = np.abs(votes(values, values, share=share) - bare).max(axis=-1) > 0.01
        assert coloured.mean() == pytest.approx(share, abs=0.01)


def test_rank_correlations_are_spearmans():
    random = np.random.default_rng(0)
    maps = [random.normal(size=(12, 10, 1)).astype(np.float32) for _ in range(3)]
    maps[2] = maps[0] ** 3
    found = rank_correlations(maps)
    expected = spearmanr(np.stack([one.ravel() for one in maps]), axis=1).statistic
    assert np.allclose(found, expected, atol=1e-12)
    assert found[0, 2] == pytest.approx(1)


def test_of_large_maps_evenly_spaced_voxels_are_compared():
    values = np.arange(300_000, dtype=np.float32).reshape(1000, 300, 1)
    assert rank_correlations([values, -values])[0, 1] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("count", "options", "said"), [(1, {}, "at least two"), (2, {"share": 1.0}, "between 0 and 1")]
)
def test_what_cannot_agree_is_refused(count, options, said):
    with pytest.raises(InputError, match=said):
        draw_agreement(IMAGE, [shown(MAP)] * count, **options)


def test_error_and_agreement_are_drawn_from_a_run_folder(run):
    image = volume()
    run.case(image)
    error = np.full((1, *image.grid.shape), 0.1, np.float32)
    run.map(attribution(image, method="rise(samples=9)", standard_error=error), image, "rise")
    run.map(attribution(image), image)
    assert "rise(samples=9)" in words(error_from_run(run.folder, "rise"))
    assert "1 rise(samples=9)" in words(agreement_from_run(run.folder))
    with pytest.raises(InputError, match="map of 'occlusion' must have a standard error"):
        error_from_run(run.folder, "occlusion")


def test_errors_of_channels_that_add_up_are_added(run):
    image = volume()
    two = image.with_values(np.concatenate([image.values] * 2))
    from dataclasses import replace

    two = replace(two, channels=("T1", "T2"))
    run.case(two)
    values = np.stack([blob(image.grid.shape, (10, 12, 6))] * 2)
    error = np.stack([np.full(image.grid.shape, 0.3), np.full(image.grid.shape, 0.1)]).astype(np.float32)
    found = attribution(two, values, channels=("T1", "T2"), method="rise", standard_error=error)
    run.map(found, two, "rise")
    assert "raw 0.4 to 0.4" in words(error_from_run(run.folder, "rise"))
