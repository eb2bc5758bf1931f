"""Fitting a network: phases, frozen parameters, the best epoch, early stopping, and going on after a cut."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from voxplain.errors import InputError, OptionError
from voxplain.training import fitting
from voxplain.training.augmentation import Augmentation
from voxplain.training.fitting import Work, fit_network
from voxplain.training.keeping import BEST, LAST, Keeper
from voxplain.training.learner import _optimiser
from voxplain.training.network import network_spec, new_network
from voxplain.training.recipe import Recipe
from voxplain.training.samples import Samples

TRAIN, VAL = range(16), range(16, 24)


@pytest.fixture
def samples():
    """Bright or dark pictures; the class is which."""
    rng = np.random.default_rng(0)
    truth = np.arange(24) % 2
    inputs = rng.normal(0, 1, (24, 1, 8, 8)) + truth[:, None, None, None]
    return Samples(inputs.astype(np.float32), truth.astype(np.int64))


@pytest.fixture
def recipe():
    return Recipe(
        task="classification",
        network="small_cnn_2d(width=4)",
        epochs=4,
        batch=4,
        rate=0.01,
        schedule="one_cycle",
        augment=Augmentation(noise=0.2, flip=(0.5, 0.5)),
    )


def fitted(recipe, samples, folder, val=VAL, **work):
    module = new_network(recipe, network_spec(recipe, 2))
    done = fit_network(module, samples, TRAIN, val, recipe, Work(folder=folder, device="cpu", **work))
    return module, done


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class Cut(Exception):
    """Stands for a killed process."""


def test_it_learns_and_tells_every_epoch(recipe, samples, tmp_path):
    lines, ticks = [], []
    work = {"say": lines.append, "tick": lambda *counts: ticks.append(counts), "title": "bright"}
    _, done = fitted(replace(recipe, epochs=12), samples, tmp_path, **work)
    assert [row["epoch"] for row in done.history] == list(range(1, 13))
    assert done.history[-1]["train_loss"] < done.history[0]["train_loss"]
    assert set(done.history[0]) == {
        "phase",
        "epoch",
        "rate",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
    }
    assert len(lines) == 12
    assert lines[0].startswith("bright, all: epoch 1 of 12: ")
    assert ticks[-1] == (48, 48)


def test_equal_requests_give_equal_weights_and_leave_the_random_state(recipe, samples, tmp_path):
    state = torch.get_rng_state()
    one, _ = fitted(recipe, samples, tmp_path / "one")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    other, _ = fitted(recipe, samples, tmp_path / "other")
    assert same(one, other)
    third, _ = fitted(replace(recipe, seed=1), samples, tmp_path / "third")
    assert not same(one, third)


@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("best", ["last", "loss"])
def test_a_cut_training_ends_with_the_weights_of_an_uncut_one(recipe, samples, tmp_path, after, best):
    recipe = replace(recipe, best=best, network="pumpkin_net(classes=2)", optimiser="adam")
    samples = Samples(np.pad(samples.inputs, ((0, 0), (0, 0), (45, 45), (45, 45))), samples.truth)
    whole, uncut = fitted(recipe, samples, tmp_path / "whole")

    def cut(done, total):
        if done == 4 * after + (1 if after < 4 else 0):
            raise Cut

    with pytest.raises(Cut):
        fitted(recipe, samples, tmp_path / "cut", tick=cut)
    resumed, done = fitted(recipe, samples, tmp_path / "cut")
    assert same(whole, resumed)
    assert done.history == uncut.history
    assert done.best_epoch == uncut.best_epoch


def test_dropout_and_changes_are_drawn_anew_in_every_epoch(recipe, samples, tmp_path):
    # Without learning, the loss of two epochs is the same unless dropout, changes and order differ.
    recipe = replace(recipe, rate=1e-12, schedule="constant", network="small_cnn_2d(width=4)", optimiser="sgd")
    _, done = fitted(recipe, samples, tmp_path)
    assert len({row["train_loss"] for row in done.history}) == 4


def test_the_best_epoch_on_validation_data_is_kept(recipe, samples, tmp_path):
    for best, key, sign in (("loss", "val_loss", 1), ("score", "val_accuracy", -1)):
        _, done = fitted(replace(recipe, best=best, epochs=6), samples, tmp_path / best)
        values = [sign * row[key] for row in done.history]
        assert done.best_epoch == 1 + int(np.argmin(values))  # of equal ones the first


def test_the_kept_weights_are_those_of_the_best_epoch(recipe, samples, tmp_path):
    recipe = replace(recipe, schedule="constant", rate=0.05)
    module, done = fitted(recipe, samples, tmp_path / "loss")
    shorter, _ = fitted(replace(recipe, epochs=done.best_epoch, best="last"), samples, tmp_path / "last")
    assert same(module, shorter)


def test_without_validation_cases_the_training_data_choose(recipe, samples, tmp_path):
    _, done = fitted(recipe, samples, tmp_path, val=())
    assert "val_loss" not in done.history[0]
    assert done.best_epoch == 1 + int(np.argmin([row["train_loss"] for row in done.history]))


def test_frozen_parameters_stay_in_the_first_phase_and_learn_in_the_second(recipe, samples, tmp_path):
    recipe = replace(recipe, frozen=("blocks.*",), frozen_epochs=1, epochs=0)
    before = new_network(recipe, network_spec(recipe, 2)).state_dict()
    first, _ = fitted(recipe, samples, tmp_path / "first")
    assert torch.equal(first.blocks[0].conv.weight, before["blocks.0.conv.weight"])
    assert not torch.equal(first.head.weight, before["head.weight"])
    second, done = fitted(replace(recipe, epochs=1), samples, tmp_path / "second")
    assert not torch.equal(second.blocks[0].conv.weight, before["blocks.0.conv.weight"])
    assert [row["phase"] for row in done.history] == [1.0, 2.0]


def test_the_second_phase_starts_from_the_best_weights_of_the_first(recipe, samples, tmp_path):
    recipe = replace(recipe, frozen=("blocks.*",), frozen_epochs=2, epochs=0, frozen_rate=0.1)
    first, _ = fitted(recipe, samples, tmp_path / "first")
    both, _ = fitted(replace(recipe, epochs=1, rate=1e-12), samples, tmp_path / "both")
    assert torch.allclose(first.head.weight, both.head.weight, rtol=0, atol=1e-7)


def test_the_head_learns_at_its_own_rate(recipe, samples, tmp_path):
    slow = replace(recipe, optimiser="sgd", schedule="constant", epochs=1, batch=16, rate=0.05, augment=Augmentation())
    start = new_network(slow, network_spec(slow, 2))
    plain, _ = fitted(slow, samples, tmp_path / "plain", val=())
    fast, _ = fitted(replace(slow, head=("head.*",), head_factor=10.0), samples, tmp_path / "fast", val=())
    moved = [(one.head.weight - start.head.weight).detach() for one in (plain, fast)]
    assert torch.allclose(moved[1], 10 * moved[0], rtol=1e-3, atol=1e-8)  # float32 differences of near numbers
    assert torch.equal(plain.blocks[0].conv.weight, fast.blocks[0].conv.weight)


def test_a_one_cycle_rises_to_the_rate_and_falls(recipe, samples, tmp_path):
    _, done = fitted(replace(recipe, epochs=10), samples, tmp_path)
    rates = [row["rate"] for row in done.history]
    assert max(rates) == pytest.approx(0.01, rel=0.05)  # the top lies between two ends of epochs
    assert 0 < int(np.argmax(rates)) < 4
    assert rates[-1] < 1e-4


def test_early_stopping_ends_a_phase_and_a_resumed_one_stays_ended(recipe, samples, tmp_path):
    recipe = replace(recipe, epochs=30, patience=2, delta=5.0, stopping_rule="strict")
    one, done = fitted(recipe, samples, tmp_path)
    assert done.epochs == 3  # the first epoch is the minimum, two more are no better
    (tmp_path / "phase-1" / "done.json").unlink()  # as if killed between the last epoch and the end
    other, again = fitted(recipe, samples, tmp_path)
    assert again.epochs == 3
    assert same(one, other)


def test_a_finished_phase_is_not_run_again(recipe, samples, tmp_path):
    one, _ = fitted(recipe, samples, tmp_path)
    lines = []
    other, done = fitted(recipe, samples, tmp_path, say=lines.append)
    assert not lines
    assert same(one, other)
    assert len(done.history) == 4


def test_a_loss_that_is_no_number_names_the_step_and_keeps_the_last_good_weights(recipe, samples, tmp_path):
    recipe = replace(recipe, epochs=3, schedule="constant", augment=Augmentation())

    def poison(done, total):
        if done == 9:  # in the third epoch of four steps each
            samples.inputs[:] = np.nan

    with pytest.raises(
        InputError, match=r"the loss became nan at step 10, in epoch 3 of phase 'all'; .* lower the rate"
    ):
        fitted(recipe, samples, tmp_path, tick=poison)
    assert (tmp_path / "phase-1" / BEST).is_file()
    assert (tmp_path / "phase-1" / LAST).is_file()


def test_checkpoints_hold_nothing_that_must_be_unpickled(recipe, samples, tmp_path, monkeypatch):
    def cut(done, total):
        if done == 9:
            raise Cut

    with pytest.raises(Cut):
        fitted(recipe, samples, tmp_path, tick=cut)
    state = torch.load(tmp_path / "phase-1" / LAST, weights_only=True)
    assert len(state["callbacks"]["Keeper"]["history"]) == 2
    loads = []
    load = torch.load
    monkeypatch.setattr(
        torch, "load", lambda *given, **named: loads.append(named["weights_only"]) or load(*given, **named)
    )
    fitted(recipe, samples, tmp_path)
    assert loads == [True]


def test_an_interrupt_stays_an_interrupt(recipe, samples, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, samples, tmp_path, tick=interrupt)


def test_logs_of_every_epoch_are_tables_and_tensorboard_events(recipe, samples, tmp_path):
    fitted(recipe, samples, tmp_path)
    with next(tmp_path.glob("logs/csv-phase-1/version_0/metrics.csv")).open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["epoch"] for row in rows} == {"0", "1", "2", "3"}
    assert list(tmp_path.glob("logs/tensorboard/phase-1/events*"))


@pytest.mark.parametrize(("patterns", "sentence"), [
    ({"frozen": ("block.*",), "frozen_epochs": 1}, "recipe: frozen must fit parameters such as"),
    ({"head": ("classifier.*",)}, "recipe: head must fit parameters such as"),
    ({"frozen": ("*",), "frozen_epochs": 1}, "recipe: frozen must leave parameters that learn"),
])  # fmt: skip
def test_patterns_that_fit_nothing_are_told(recipe, samples, tmp_path, patterns, sentence):
    with pytest.raises(OptionError, match=sentence):
        fitted(replace(recipe, **patterns), samples, tmp_path)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "rmsprop"])
def test_every_optimiser_takes_a_step(recipe, samples, tmp_path, optimiser):
    recipe = replace(recipe, optimiser=optimiser, epochs=1, momentum=0.9, weight_decay=0.01)
    before = new_network(recipe, network_spec(recipe, 2))
    after, _ = fitted(recipe, samples, tmp_path)
    assert not same(before, after)


def test_the_first_step_of_rmsprop_is_as_long_as_in_keras_and_matlab(recipe):
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([1e-3, 1.0, -1e3])
    asked = replace(recipe, optimiser="rmsprop", momentum=0.0, weight_decay=0.0)
    _optimiser(asked, 1e-3, [{"params": [weight], "lr": 1e-3}]).step()
    assert weight.tolist() == pytest.approx([-1e-3 / 0.1**0.5, -1e-3 / 0.1**0.5, 1e-3 / 0.1**0.5], rel=1e-4)


def test_the_keeper_says_which_score_is_better():
    rows = [{"val_loss": 1.0, "val_mae": 3.0}, {"val_loss": 2.0, "val_mae": 2.0}]
    recipe = Recipe(task="regression", network="pumpkin_net", loss="squared", best="score")
    worths = [Keeper(recipe, None, None)._worth(row) for row in rows]
    assert worths[1] > worths[0]
    worths = [Keeper(replace(recipe, best="loss"), None, None)._worth(row) for row in rows]
    assert worths[0] > worths[1]


@pytest.mark.parametrize("batch", [2, 3, 4, 8, 16])
def test_a_cycle_of_few_steps_has_a_rise_and_a_fall(recipe, samples, tmp_path, batch):
    for epochs in (1, 2, 5):
        _, done = fitted(replace(recipe, epochs=epochs, batch=batch), samples, tmp_path / str(epochs))
        assert all(row["rate"] > 0 for row in done.history)


@pytest.mark.parametrize("fast", [True, False])
def test_mixed_precision_is_for_devices_that_are_built_for_it(recipe, samples, tmp_path, monkeypatch, fast):
    monkeypatch.setattr(fitting, "fast_in_bfloat16", lambda device: fast)
    plain, _ = fitted(recipe, samples, tmp_path / "plain")
    mixed, done = fitted(replace(recipe, mixed=True), samples, tmp_path / "mixed")
    assert same(plain, mixed) is not fast
    for one, other in zip(plain.state_dict().values(), mixed.state_dict().values(), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.double(), other.double(), rtol=0.3, atol=0.1)  # steps of Adam, 3 digits
    assert all(np.isfinite(value) for row in done.history for value in row.values())


def test_a_cut_training_in_mixed_precision_ends_with_the_same_weights(recipe, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "fast_in_bfloat16", lambda device: True)
    recipe = replace(recipe, mixed=True)
    whole, _ = fitted(recipe, samples, tmp_path / "whole")

    def cut(done, total):
        if done == 9:
            raise Cut

    with pytest.raises(Cut):
        fitted(recipe, samples, tmp_path / "cut", tick=cut)
    resumed, _ = fitted(recipe, samples, tmp_path / "cut")
    assert same(whole, resumed)


@pytest.mark.parametrize(
    ("rank", "mixed", "order"),
    [
        (1, False, torch.contiguous_format),
        (2, False, torch.channels_last),
        (2, True, torch.channels_last),
        (3, False, torch.channels_last_3d),
        (3, True, torch.contiguous_format),
    ],
)
def test_the_order_of_numbers_in_memory_is_the_fastest(rank, mixed, order):
    assert fitting.memory_order(rank, mixed) is order


def test_brightness_of_inputs_beyond_0_to_1_is_refused(recipe, samples, tmp_path):
    """They would be cut off in training and not in validation."""
    bright = replace(recipe, augment=Augmentation(brightness=0.2))
    with pytest.raises(OptionError, match=r"augment: brightness must be 0 for inputs beyond 0 to 1, got 0\.2"):
        fitted(bright, samples, tmp_path)
    fitted(replace(bright, epochs=1), Samples(samples.inputs.clip(0, 1), samples.truth), tmp_path)
