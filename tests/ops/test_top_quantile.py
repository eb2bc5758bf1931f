"""Exact quantiles of a stream from two histograms."""

import numpy as np
import pytest

from voxplain.ops.top_quantile import TopQuantile, number, ordered


def test_the_order_of_numbers_is_that_of_their_places_and_comes_back():
    values = np.array([-np.finfo(np.float32).max, -3.5, -1e-40, 0, 1e-40, 1e-8, 0.5, 3.5, 1e30], np.float32)
    places = ordered(values)
    assert (np.diff(places.astype(np.int64)) > 0).all()
    assert [number(int(place)) for place in places] == values.tolist()


def test_zero_has_one_place_whatever_its_sign():
    assert ordered(np.float32(-0.0)) == ordered(np.float32(0.0))


def thresholds(values: np.ndarray, share: float, parts: int = 3) -> np.ndarray:
    top = TopQuantile(len(values), share)
    for part in np.array_split(values, parts, axis=1):
        top.count(part)
    for part in np.array_split(values, parts, axis=1):
        top.refine(part)
    return top.thresholds


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.999])
def test_thresholds_are_those_of_sorting_everything(share):
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=1001), rng.exponential(size=1001) - 0.2, 1e-6 * rng.random(1001)])
    values = values.astype(np.float32)
    expected = np.sort(values, axis=1)[:, ::-1][:, int(share * 1001)]
    np.testing.assert_array_equal(thresholds(values, share), expected)
    assert ((values > expected[:, None]).mean(axis=1) <= share).all()


def test_ties_are_never_exceeded_by_more_than_the_share():
    values = np.array([[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]], np.float32)
    assert thresholds(values, 0.3) == 0  # two of ten exceed it, all others tie
    assert thresholds(values, 0.1) == 1
    assert thresholds(values, 0.05) == 2  # nothing exceeds the largest


def test_several_axes_are_read_like_one():
    values = np.random.default_rng(1).random((2, 4, 5, 6)).astype(np.float32)
    whole, flat = TopQuantile(2, 0.1), values.reshape(2, -1)
    whole.count(values)
    whole.refine(values)
    np.testing.assert_array_equal(whole.thresholds, thresholds(flat, 0.1, parts=1))


def test_thresholds_need_both_readings():
    top = TopQuantile(1, 0.1)
    top.count(np.ones((1, 3), np.float32))
    with pytest.raises(RuntimeError, match="second reading"):
        _ = top.thresholds
