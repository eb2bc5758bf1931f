"""Sliding windows against the slow way: every voxel asked on its own."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxplain.ops.patches import painted, windows


@st.composite
def slides(draw):
    """Sizes, windows and strides of one to three axes; a stride never leaves voxels out."""
    size = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    window = [draw(st.integers(1, length)) for length in size]
    return size, window, [draw(st.integers(1, side)) for side in window]


def spans(length: int, side: int, hop: int) -> list[tuple[int, int]]:
    """The slow way along one axis: step until the far edge is reached."""
    found, start = [], 0
    while True:
        found.append((start, min(start + side, length)))
        if start + side >= length:
            return found
        start += hop


@given(slides())
def test_windows_are_those_of_the_slow_way_in_order(slide):
    size, window, stride = slide
    expected = list(product(*(spans(*axis) for axis in zip(size, window, stride, strict=True))))
    found = [tuple((one.start, one.stop) for one in place) for place in windows(size, window, stride)]
    assert found == expected


@given(slides())
def test_every_voxel_lies_in_a_window_and_no_window_is_empty(slide):
    size, window, stride = slide
    covered = torch.zeros(size)
    for place in windows(size, window, stride):
        assert covered[place].numel() > 0
        covered[place] += 1
    assert (covered > 0).all()


@given(slides(), st.integers(0, 99))
def test_each_voxel_gets_the_mean_over_the_windows_that_cover_it(slide, seed):
    size, window, stride = slide
    places = windows(size, window, stride)
    values = torch.randn(2, len(places), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = painted(places, values, size)
    assert found.shape == (2, *size)
    for sample in range(2):
        for voxel in product(*map(range, size)):
            inside = [
                float(values[sample, n])
                for n, place in enumerate(places)
                if all(one.start <= at < one.stop for one, at in zip(place, voxel, strict=True))
            ]
            assert float(found[(sample, *voxel)]) == pytest.approx(sum(inside) / len(inside), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("size", "window", "stride", "starts"),
    [
        ((10,), (4,), (4,), [0, 4, 8]),
        ((8,), (4,), (4,), [0, 4]),
        ((9,), (4,), (4,), [0, 4, 8]),
        ((9,), (4,), (2,), [0, 2, 4, 6]),
        ((4,), (4,), (4,), [0]),
        ((5,), (5,), (1,), [0]),
    ],
)
def test_windows_stop_when_the_far_edge_is_covered(size, window, stride, starts):
    assert [place[0].start for place in windows(size, window, stride)] == starts


def test_tiling_windows_cover_each_voxel_once():
    count = torch.zeros(7, 5)
    for place in windows((7, 5), (3, 2), (3, 2)):
        count[place] += 1
    assert torch.equal(count, torch.ones(7, 5))


def test_the_mean_is_taken_in_float64():
    values = torch.tensor([[1e8, 1.0, -1e8]], dtype=torch.float32)
    place = (slice(0, 1),)
    assert painted([place] * 3, values, (1,)).dtype == torch.float64
    assert float(painted([place] * 3, values, (1,))) == pytest.approx(1 / 3, rel=1e-12)
