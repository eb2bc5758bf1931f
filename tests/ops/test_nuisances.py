from functools import partial

import pytest
import torch

from tests.nets import batch
from voxplain.ops.nuisances import uniform_noise, with_bias_field, with_noise, with_window

EVERY = {"bias_field": with_bias_field, "noise": with_noise, "window": with_window, "uniform": uniform_noise}
every_kind = pytest.mark.parametrize("kind", sorted(EVERY))
both_ranks = pytest.mark.parametrize("rank", [2, 3])


@both_ranks
@every_kind
def test_draws_depend_on_seed_and_number_only(rank, kind):
    x, before = batch(rank), torch.get_rng_state()
    altered = partial(EVERY[kind], x, 0.1)
    assert torch.equal(altered(1, 2), altered(1, 2))
    assert not torch.equal(altered(1, 2), altered(1, 3))
    assert not torch.equal(altered(1, 2), altered(2, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(altered(1, 2)[:1], EVERY[kind](x[:1], 0.1, 1, 2))


@both_ranks
@every_kind
def test_without_strength_nothing_changes(rank, kind):
    x = batch(rank)
    torch.testing.assert_close(EVERY[kind](x, 0.0, 0, 0), x)


@both_ranks
def test_a_bias_field_multiplies_what_lies_above_the_minimum_within_its_strength(rank):
    x = batch(rank, count=1)
    low = x.amin(dim=tuple(range(2, x.ndim)), keepdim=True)
    gain = ((with_bias_field(x, 0.3, 0, 0) - low) / (x - low)).log()[x > low]
    assert gain.abs().max() == pytest.approx(0.3, rel=0.2)
    assert gain.abs().max() <= 0.3 + 1e-12


def test_a_bias_field_is_smooth():
    gain = with_bias_field(1 + torch.eye(64, dtype=torch.float64)[None, None], 0.3, 0, 0)[0, 0].diagonal() - 1
    assert gain.log().diff().abs().max() < 0.05


def test_noise_has_the_asked_share_of_each_channels_spread():
    x = torch.cat([batch(2, channels=1, side=60), 100 * batch(2, channels=1, side=60)], dim=1)
    off = with_noise(x, 0.1, 0, 0) - x
    expected = 0.1 * x.std(dim=(2, 3))
    # 3720 draws: their standard deviation is known to about 1 in 86.
    torch.testing.assert_close(off.std(dim=(2, 3)), expected, rtol=0.06, atol=0)


def test_uniform_noise_stays_within_its_radius_and_fills_it():
    x = batch(2, side=40)
    span = x.amax(dim=(2, 3)) - x.amin(dim=(2, 3))
    off = (uniform_noise(x, 0.02, 0, 0) - x).abs().amax(dim=(2, 3)) / span
    assert (off <= 0.02 + 1e-12).all()
    assert (off > 0.019).all()


def test_a_window_keeps_the_range_and_the_order():
    x = batch(2, count=1, channels=1)
    found = with_window(x, 0.3, 0, 1)
    assert found.min() >= x.min()
    assert found.max() <= x.max()
    order = x.flatten().argsort()
    assert (found.flatten()[order].diff() >= -1e-12).all()
    inner = (found > x.min()) & (found < x.max())
    slope = (found[inner].max() - found[inner].min()) / (x[inner].max() - x[inner].min())
    assert 1 / 1.3 <= slope <= 1 / 0.7
    assert slope != pytest.approx(1, abs=0.01)
