"""Superpixels, supervoxels, grids and given labels: consecutive numbers that cover the image."""

import builtins

import numpy as np
import pytest
import torch
from skimage.segmentation import quickshift as scikit_quickshift
from skimage.segmentation import slic as scikit_slic

from voxplain.errors import InputError, MissingExtra
from voxplain.ops import segments


def picture(channels: int = 3, rank: int = 2, side: int = 48) -> torch.Tensor:
    """Smooth waves (channel, *space) in 0..1 whose crests segmenters can tell apart."""
    axes = torch.meshgrid(
        *[torch.linspace(0, 6, side + 2 * n, dtype=torch.float64) for n in range(rank)], indexing="ij"
    )
    waves = [torch.sin(sum((n + 1.3 + k) * axis for k, axis in enumerate(axes))) for n in range(channels)]
    image = torch.stack(waves)
    return (image - image.min()) / (image.max() - image.min())


def is_consecutive(labels: torch.Tensor) -> bool:
    return torch.equal(labels.unique(), torch.arange(int(labels.max()) + 1))


def test_consecutive_keeps_the_order_of_labels():
    assert segments.consecutive(torch.tensor([[7, -2], [100, 7]])).tolist() == [[1, 0], [2, 1]]


# --- quickshift and slic ---------------------------------------------------------------------------------------------


def test_quickshift_has_the_defaults_of_lime():
    image = picture()
    theirs = scikit_quickshift(image.permute(1, 2, 0).numpy(), kernel_size=4, max_dist=200, ratio=0.2)
    ours = segments.quickshift(image, black_white=(0, 1))
    assert is_consecutive(ours)
    assert int(ours.max()) > 2
    assert np.array_equal(ours.numpy(), theirs)


def test_a_smaller_kernel_makes_more_superpixels():
    assert segments.quickshift(picture(), kernel=2).max() > segments.quickshift(picture(), kernel=4).max()


def test_one_channel_is_taken_as_grey():
    grey = picture(1)
    assert torch.equal(segments.quickshift(grey), segments.quickshift(grey.expand(3, -1, -1)))


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_count_by_their_lightness(channels):
    image = picture(channels)
    labels = segments.quickshift(image)
    assert labels.shape == image.shape[1:]
    assert is_consecutive(labels)
    assert int(labels.max()) > 1
    assert not torch.equal(labels, segments.quickshift(image[:1])), "the other channels count as well"


def test_intensities_are_stretched_between_black_and_white():
    image = picture()
    once = segments.quickshift(image)
    assert torch.equal(once, segments.quickshift(image * 50 - 20))
    assert torch.equal(once, segments.quickshift(image * 2 - 1, black_white=(-1, 1)))
    assert not torch.equal(once, segments.quickshift(image, black_white=(-9, 9)))


def test_slic_is_that_of_scikit_image():
    image = picture()
    theirs = scikit_slic(image.permute(1, 2, 0).numpy(), n_segments=12, start_label=0)
    assert np.array_equal(segments.slic(image, 12, black_white=(0, 1)).numpy(), theirs)


def test_slic_measures_compactness_in_lightness_whatever_the_channels():
    image = picture(1)
    theirs = scikit_slic(image[0].numpy(), n_segments=12, compactness=0.1, start_label=0, channel_axis=None)
    assert np.array_equal(segments.slic(image, 12, compactness=10).numpy(), theirs)


@pytest.mark.parametrize("channels", [1, 3])
def test_supervoxels_reach_as_far_in_millimetres_along_every_axis(channels):
    image = torch.rand(channels, 24, 24, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def reach(spacing):
        """How far the segments reach on average along the first axis, over the last one; in voxels."""
        labels = segments.slic(image, 24, spacing=spacing, compactness=1000)
        assert is_consecutive(labels)
        assert 12 <= int(labels.max()) < 48
        inside = [(labels == number).nonzero().double().std(dim=0) for number in labels.unique()]
        sides = torch.stack(inside).mean(dim=0)
        return float(sides[0] / sides[2])

    assert reach((1.0, 1.0, 4.0)) == pytest.approx(4, rel=0.25)
    assert reach((1.0, 1.0, 1.0)) == pytest.approx(1, rel=0.3)
    assert reach((0.5, 0.5, 0.5)) == reach(None), "the unit of length does not matter"


def test_a_blank_image_is_cut_by_place_alone():
    assert is_consecutive(segments.slic(torch.zeros(1, 16, 16), 4))


def test_labels_come_back_to_voxels_without_a_shift():
    """Cut on 17 x 34 voxels that are squares, laid back on 24 x 24: four columns of segments, equally wide."""
    labels = segments.slic(torch.zeros(1, 24, 24), 9, spacing=(1.0, 2.0))
    assert torch.equal(labels[0].unique_consecutive(return_counts=True)[1], torch.full((4,), 6))


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"needs the package 'scikit-image'; .*voxplain\[segments\]"):
        segments.slic(picture(), 4)


# --- grids -----------------------------------------------------------------------------------------------------------


def test_a_grid_of_49_is_seven_by_seven():
    labels = segments.grid((227, 227), 49)
    assert int(labels.max()) == 48
    assert set(torch.bincount(labels.flatten()).tolist()) == {32 * 32, 32 * 33, 33 * 33}


@pytest.mark.parametrize(
    ("size", "count", "spacing", "boxes"),
    [
        ((8, 8), 4, None, (2, 2)),
        ((8, 16), 8, None, (2, 4)),
        ((8, 8, 8), 8, None, (2, 2, 2)),
        ((8, 8), 9, (4.0, 1.0), (4, 2)),
        ((3, 3), 500, None, (3, 3)),
        ((100, 1), 10, None, (10, 1)),
    ],
)
def test_boxes_are_near_cubes_in_millimetres(size, count, spacing, boxes):
    labels = segments.grid(size, count, spacing)
    assert labels.shape == size
    assert is_consecutive(labels)
    assert tuple(len(labels.unique_consecutive(dim=axis).movedim(axis, 0)) for axis in range(len(size))) == boxes


def test_cells_start_at_the_first_voxel_and_are_cut_at_the_edge():
    assert segments.cells((3, 5), (2, 2)).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


# --- given -----------------------------------------------------------------------------------------------------------


def test_one_labelling_serves_a_whole_batch():
    labels = torch.tensor([[[3, 3], [5, 0]]], dtype=torch.int16)
    assert segments.given(labels, torch.zeros(2, 1, 2, 2), "lime").tolist() == labels.expand(2, 2, 2).tolist()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "lime: segments must be given, got none; pass segments=... or choose another segmenter"),
        (torch.zeros(2, 2, 2), "lime: segments must be whole numbers, got torch.float32"),
        (
            torch.zeros(1, 2, 3, dtype=torch.int64),
            "lime: segments must be (2, 2, 2) (or 1 for all samples) like the input, got (1, 2, 3)",
        ),
        (
            torch.zeros(3, 2, 2, dtype=torch.int64),
            "lime: segments must be (2, 2, 2) (or 1 for all samples) like the input, got (3, 2, 2)",
        ),
    ],
)
def test_labels_that_do_not_fit_are_told(labels, said):
    with pytest.raises(InputError) as caught:
        segments.given(labels, torch.zeros(2, 1, 2, 2), "lime")
    assert str(caught.value) == said


# --- means -----------------------------------------------------------------------------------------------------------


def test_each_segment_is_at_its_own_mean_channel_by_channel():
    image = picture(2, side=6)
    labels = segments.grid((6, 8), 4)
    ours = segments.segment_means(image, labels[None])
    for channel in range(2):
        for number in range(4):
            inside = labels == number
            torch.testing.assert_close(ours[channel][inside], image[channel][inside].mean().expand(int(inside.sum())))
    each = torch.stack([labels, labels + 4])
    torch.testing.assert_close(segments.segment_means(image, each), ours)
