"""The two stopping rules, epoch by epoch."""

import pytest

from voxplain.errors import InputError, OptionError
from voxplain.training.stopping import Stopping


def stops(losses, **options) -> int | None:
    """The epoch (from 1) after which the training stops."""
    rule = Stopping(**options)
    return next((epoch for epoch, loss in enumerate(losses, start=1) if rule.update(loss)), None)


def test_tolerant_counts_only_losses_above_the_minimum_by_more_than_delta():
    # Exact binary fractions: the comparison with minimum + delta must not hang on rounding.
    assert stops([1.0, 1.25, 1.25, 1.25, 1.25], patience=2, delta=0.25) is None
    assert stops([1.0, 1.5, 1.25, 1.5, 1.0], patience=2, delta=0.25) == 4


def test_tolerant_resets_at_any_new_minimum_however_small():
    assert stops([1.0, 2.0, 0.999, 2.0, 2.0], patience=2, delta=0.5) == 5


def test_tolerant_does_not_reset_where_the_minimum_is_only_met_again():
    assert stops([1.0, 2.0, 1.0, 2.0], patience=2, delta=0.5) == 4


def test_tolerant_compares_with_the_lowest_loss_so_far():
    assert stops([1.0, 0.5, 1.0, 1.0], patience=2, delta=0.25) == 4


def test_strict_counts_every_loss_that_is_not_lower_by_more_than_delta():
    assert stops([1.0, 0.75, 0.75], patience=2, delta=0.25, rule="strict") == 3


def test_strict_keeps_its_minimum_until_a_real_improvement():
    # A slow descent of 0.2 an epoch passes the first loss minus 0.25 in every second epoch.
    assert stops([1.0, 0.8, 0.6, 0.4, 0.2, 0.0], patience=2, delta=0.25, rule="strict") is None
    assert stops([1.0, 0.9, 0.8, 0.7], patience=3, delta=0.5, rule="strict") == 4


def test_the_studys_defaults_are_patience_5_and_delta_0_006():
    assert stops([1.0, *[1.0061] * 9]) == 6
    assert stops([1.0, *[1.0059] * 9]) is None


def test_it_tells_after_how_many_epochs_it_stopped():
    rule = Stopping(patience=1, delta=0.0)
    assert [rule.update(loss) for loss in (3.0, 2.0, 2.5)] == [False, False, True]
    assert rule.epochs == 3
    assert rule.minimum == 2.0


def test_a_restored_rule_goes_on_as_if_never_interrupted():
    losses = [1.0, 2.0, 0.5, 2.0, 2.0, 2.0]
    first = Stopping(patience=3, delta=0.1)
    for loss in losses[:4]:
        first.update(loss)
    second = Stopping(patience=3, delta=0.1)
    second.restore(first.state())
    assert [second.update(loss) for loss in losses[4:]] == [False, True]
    assert second.epochs == 6


def test_a_loss_that_is_no_number_names_its_epoch():
    rule = Stopping()
    rule.update(1.0)
    with pytest.raises(InputError, match="got nan in epoch 2"):
        rule.update(float("nan"))


@pytest.mark.parametrize("options", [{"patience": 0}, {"delta": -0.1}, {"delta": float("nan")}, {"rule": "tollerant"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError):
        Stopping(**options)
