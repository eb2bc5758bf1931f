"""Samples in batches: every case once an epoch, the order a function of seed and epoch, large sets in a file."""

import numpy as np
import pytest
import torch

from voxplain.training.augmentation import Augmentation, change
from voxplain.training.samples import Epochs, Samples, Served, loader, store


def drawn(epochs):
    return [[number for number, _ in batch] for batch in epochs]


def test_an_epoch_has_every_case_once():
    batches = drawn(Epochs(range(10, 33), batch=5, seed=0))
    assert sorted(number for batch in batches for number in batch) == list(range(10, 33))
    assert [len(batch) for batch in batches] == [5, 5, 5, 4, 4]


def test_no_batch_is_of_one_case():
    # 17 cases in batches of 8 would leave one over, which batch norm cannot take.
    assert min(len(batch) for batch in drawn(Epochs(range(17), batch=8, seed=0))) > 1


def test_repeats_of_a_case_are_served_as_often_and_changed_differently():
    batch = next(iter(Epochs([3, 3, 3], batch=3, seed=0)))
    assert [number for number, _ in batch] == [3, 3, 3]
    assert len({seed for _, seed in batch}) == 3


def test_order_and_seeds_follow_from_seed_and_epoch_alone():
    one, other = Epochs(range(20), 6, seed=1), Epochs(range(20), 6, seed=1)
    list(one)
    list(one)
    one.epoch = other.epoch = 5
    assert list(one) == list(other)
    other.epoch = 6
    assert drawn(one) != drawn(other)
    assert drawn(Epochs(range(20), 6, seed=1)) != drawn(Epochs(range(20), 6, seed=2))


def test_a_case_is_changed_differently_in_every_epoch():
    epochs = Epochs(range(4), 4, seed=0)
    first = dict(next(iter(epochs)))
    epochs.epoch = 1
    second = dict(next(iter(epochs)))
    assert all(first[number] != second[number] for number in range(4))


def test_validation_keeps_the_order_of_cases():
    assert drawn(Epochs([5, 3, 8], 2, seed=0, shuffle=False)) == [[5, 3], [8]]


def test_devices_share_each_batch_without_overlap():
    whole = list(Epochs(range(12), 4, seed=0))
    parts = []
    for rank in range(2):
        epochs = Epochs(range(12), 4, seed=0)
        epochs.share = (rank, 2)
        parts.append(list(epochs))
    for batch, first, second in zip(whole, *parts, strict=True):
        assert sorted(first + second) == sorted(batch)
        assert len(first) == len(second) == 2


def test_small_sets_stay_in_memory_and_large_ones_lie_in_a_file(tmp_path):
    assert not isinstance(store((2, 1, 4, 4), tmp_path, budget=128), np.memmap)
    kept = store((2, 1, 4, 4), tmp_path / "inputs", budget=127)
    assert isinstance(kept, np.memmap)
    kept[1] = 5
    assert np.load(tmp_path / "inputs" / "inputs.npy")[1].min() == 5


def test_changes_do_not_reach_the_store():
    inputs = np.ones((2, 1, 8, 8), np.float32)
    samples = Samples(inputs, np.array([0, 1]))
    x, truth = next(
        iter(loader(Served(samples, change(Augmentation(noise=1.0), 2), dense=False), Epochs(range(2), 2, 0)))
    )
    assert x.shape == (2, 1, 8, 8)
    assert truth.dtype == torch.int64
    assert not torch.equal(x, torch.ones_like(x))
    assert (inputs == 1).all()


@pytest.mark.parametrize("dense", [False, True])
def test_truth_is_changed_with_the_input_only_where_it_is_an_image(dense):
    inputs = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    truth = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    served = Served(Samples(inputs, truth), change(Augmentation(flip=(0.0, 1.0)), 2), dense)
    _, labels = served[0, 0]
    assert torch.equal(labels, torch.from_numpy(truth[0]).flip(1) if dense else torch.from_numpy(truth[0]))
