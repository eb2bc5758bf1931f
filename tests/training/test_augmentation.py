"""Random changes of inputs: each follows from its seed, moves masks with the image, and leaves the caller's state."""

import pytest
import torch

from voxplain.errors import OptionError
from voxplain.training.augmentation import Augmentation, change, shifted, stream

SOME = {
    "flip": Augmentation(flip=(0.5, 0.5)),
    "blur": Augmentation(blur=(0.1, 0.5)),
    "light": Augmentation(brightness=0.3, contrast=0.3),
    "noise": Augmentation(noise=0.1),
    "moves": Augmentation(rotation=20.0, shear=5.0, zoom=0.2, shift=0.1),
    "steps": Augmentation(shift_voxels=3),
}
VOLUMES = {
    "flip": Augmentation(flip=(0.5, 0.5, 0.5)),
    "light": Augmentation(brightness=0.3),
    "noise": Augmentation(noise=0.1),
    "moves": Augmentation(rotation=20.0, zoom=0.2, shift=0.1),
    "steps": Augmentation(shift_voxels=2),
}


@pytest.fixture
def picture():
    return torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def volume():
    return torch.rand(2, 12, 10, 8, generator=torch.Generator().manual_seed(0))


def test_streams_differ_in_every_number_and_fit_a_seed():
    seeds = {stream(*numbers) for numbers in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0)]}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("options", SOME.values(), ids=SOME)
def test_equal_seeds_change_pictures_alike_and_others_do_not(options, picture):
    apply = change(options, 2)
    first, _ = apply(picture, None, 7)
    again, _ = apply(picture, None, 7)
    assert torch.equal(first, again)
    assert any(not torch.equal(first, apply(picture, None, seed)[0]) for seed in range(5))
    assert first.shape == picture.shape
    assert type(first) is torch.Tensor


@pytest.mark.parametrize("options", VOLUMES.values(), ids=VOLUMES)
def test_equal_seeds_change_volumes_alike_and_others_do_not(options, volume):
    first, _ = change(options, 3)(volume, None, 7)
    again, _ = change(options, 3)(volume, None, 7)
    assert torch.equal(first, again)
    assert any(not torch.equal(first, change(options, 3)(volume, None, seed)[0]) for seed in range(5))
    assert first.shape == volume.shape
    assert type(first) is torch.Tensor


def test_the_caller_s_random_state_and_image_stay(picture):
    kept, state = picture.clone(), torch.get_rng_state()
    change(Augmentation(rotation=10.0, noise=0.5, shift_voxels=2, contrast=0.5), 2)(picture, None, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(picture, kept)


@pytest.mark.parametrize("options", [SOME["flip"], SOME["moves"], SOME["steps"]], ids=["flip", "moves", "steps"])
@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_picture_move_with_it(options, seed):
    x = torch.zeros(1, 32, 32)
    x[0, 4:16, 6:22] = 1
    moved, labels = change(options, 2)(x, x[0].to(torch.uint8), seed)
    assert labels.dtype == torch.uint8
    # Linear and nearest sampling differ along the edge alone.
    assert ((moved[0] > 0.5) != (labels > 0)).float().mean() < 0.02


@pytest.mark.parametrize(
    "options", [VOLUMES["flip"], VOLUMES["moves"], VOLUMES["steps"]], ids=["flip", "moves", "steps"]
)
@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_volume_move_with_it(options, seed):
    x = torch.zeros(1, 16, 16, 16)
    x[0, 2:8, 3:11, 4:12] = 1
    moved, labels = change(options, 3)(x, x[0].to(torch.uint8), seed)
    assert labels.shape == x.shape[1:]
    assert ((moved[0] > 0.5) != (labels > 0)).float().mean() < 0.03


def test_flips_follow_the_axes_of_the_input(picture):
    assert torch.equal(change(Augmentation(flip=(1.0, 0.0)), 2)(picture, None, 0)[0], picture.flip(1))
    assert torch.equal(change(Augmentation(flip=(0.0, 1.0)), 2)(picture, None, 0)[0], picture.flip(2))


def test_flips_of_volumes_follow_the_axes_of_the_input(volume):
    for axis in range(3):
        chances = tuple(float(axis == one) for one in range(3))
        assert torch.equal(change(Augmentation(flip=chances), 3)(volume, None, 0)[0], volume.flip(axis + 1))


def test_shifts_stay_within_their_steps_and_reach_both_ends():
    x = torch.zeros(1, 15, 15)
    x[0, 7, 7] = 1
    apply = change(Augmentation(shift_voxels=3), 2)
    places = torch.stack([apply(x, None, seed)[0][0].nonzero()[0] for seed in range(300)]) - 7
    assert places.min(dim=0).values.tolist() == [-3, -3]
    assert places.max(dim=0).values.tolist() == [3, 3]


def test_what_a_shift_brings_in_is_zero():
    x = torch.arange(1.0, 13).reshape(1, 3, 4)
    assert shifted(x, [1, -2])[0].tolist() == [[0, 0, 0, 0], [3, 4, 0, 0], [7, 8, 0, 0]]


@pytest.mark.parametrize(("options", "rank", "sentence"), [
    ({"blur": (0.1, 0.5)}, 3, "augment: blur must be left out for volumes, got (0.1, 0.5)"),
    ({"shear": 3.0}, 3, "augment: shear must be left out for volumes, got 3.0"),
    ({"flip": (0.5,)}, 2, "augment: flip must be 2 chances, one for each axis of the input, got (0.5,)"),
    ({"zoom": 1.0}, 2, "augment: zoom must be from 0 to below 1, got 1.0"),
    ({"blur": (0.5, 0.1)}, 2, "augment: blur must be low, then high, above 0, got (0.5, 0.1)"),
])  # fmt: skip
def test_options_that_cannot_be_are_told(options, rank, sentence):
    with pytest.raises(OptionError) as told:
        change(Augmentation(**options), rank)
    assert str(told.value) == sentence


def test_nothing_is_changed_by_default():
    assert not Augmentation()
    assert Augmentation(noise=0.1)
