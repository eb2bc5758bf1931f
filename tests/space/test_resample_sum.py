"""Pouring values onto another grid: what is there plus what is lost is what there was."""

import numpy as np
import pytest
import torch

from tests.space.grids import apart, centre_of_mass, marked, strongest, turned
from voxplain.space import resample as module
from voxplain.space.grid import Grid
from voxplain.space.layout import respaced
from voxplain.space.resample import resample_sum

ASKEW = (12, -25, 33)
SUM_TOLERANCE = 1e-6
"""Sums are kept in float64; only the storage of the map in float32 rounds them."""

SOURCE = turned((6, 5, 4), (2.0, 1.5, 3.0), (3, 2, 1), (0.4, -0.3, 0.2))
TARGETS = {
    "growing": turned((40, 40, 40), (0.7, 0.6, 0.5), (3, 2, 1)),
    "shrinking": turned((9, 9, 9), (5.0, 4.0, 7.0), (3, 2, 1)),
    "growing along one axis and shrinking along another": turned((40, 7, 20), (0.6, 4.0, 3.0), (3, 2, 1)),
    "flipped": turned((9, 9, 9), (2.0, 1.5, 3.0), (183, 2, 1), (1, 1, 1)),
    "oblique": turned((40, 40, 40), (0.8, 0.9, 1.0), ASKEW),
    "oblique and coarse": turned((9, 9, 9), (5.0, 4.0, 6.0), ASKEW),
}


def signed(grid, channels=2):
    return np.random.default_rng(0).normal(size=(channels, *grid.shape)).astype(np.float32)


@pytest.mark.parametrize("name", TARGETS)
def test_sums_of_a_signed_map_survive_where_everything_fits(name):
    values = signed(SOURCE)
    poured, lost = resample_sum(values, SOURCE, TARGETS[name])
    scale = float(np.abs(values).sum())
    assert np.abs(lost).max() < SUM_TOLERANCE * scale
    assert poured.sum(axis=(1, 2, 3), dtype=np.float64) == pytest.approx(
        values.sum(axis=(1, 2, 3), dtype=np.float64), abs=SUM_TOLERANCE * scale
    )


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_there_and_what_is_lost_make_up_the_sum(name):
    values = signed(SOURCE)
    i, j, k = (count // 2 - 2 for count in TARGETS[name].shape)
    target = TARGETS[name].window((i, j, k), (4, 3, 2))
    poured, lost = resample_sum(values, SOURCE, target)
    whole = resample_sum(values, SOURCE, TARGETS[name])[0]
    assert poured == pytest.approx(whole[:, i : i + 4, j : j + 3, k : k + 2], abs=1e-6)
    assert poured.sum(axis=(1, 2, 3), dtype=np.float64) + lost == pytest.approx(
        values.sum(axis=(1, 2, 3), dtype=np.float64), abs=SUM_TOLERANCE * float(np.abs(values).sum())
    )


def test_the_same_lattice_gives_bit_equal_values_and_loses_what_is_cropped():
    values = signed(SOURCE, 1)
    poured, lost = resample_sum(values, SOURCE, SOURCE.window((1, -1, 0), (9, 9, 4)))
    assert np.array_equal(poured[:, :5, 1:6], values[:, 1:])
    assert lost == pytest.approx(values[:, :1].sum(), abs=1e-5)


def test_positive_values_stay_positive():
    assert resample_sum(np.abs(signed(SOURCE)), SOURCE, TARGETS["oblique"])[0].min() >= 0


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("voxel", [(3, 2, 1), (0, 0, 0), (5, 4, 3), (0, 2, 3)])
def test_a_marked_voxel_is_found_within_half_a_voxel(name, voxel):
    target = TARGETS[name]
    poured = resample_sum(marked(SOURCE, voxel), SOURCE, target)[0][0]
    coarser = respaced(SOURCE, np.maximum(SOURCE.spacing, target.spacing))
    true = SOURCE.world(voxel)
    assert apart(centre_of_mass(poured, target), true, coarser) < 0.5
    assert apart(strongest(poured, target), true, coarser) < 0.5


@pytest.mark.parametrize("name", ["growing", "oblique"])
def test_an_inner_voxel_grows_about_its_own_middle(name):
    target = TARGETS[name]
    poured = resample_sum(marked(SOURCE, (3, 2, 1)), SOURCE, target)[0][0]
    assert apart(centre_of_mass(poured, target), SOURCE.world([3, 2, 1]), target) < 0.5


def test_an_inner_voxel_spreads_evenly_to_both_sides():
    source = Grid((5, 1, 1), np.diag([4.0, 1.0, 1.0, 1.0]))
    poured = resample_sum(marked(source, (2, 0, 0)), source, source.resized((20, 1, 1)))[0].ravel()
    assert poured == pytest.approx(poured[::-1], abs=1e-7)
    assert poured[9] > poured[8] > poured[7]


def test_doubling_the_voxels_halves_an_even_map():
    source = turned((4, 4, 4))
    poured = resample_sum(np.ones((1, 4, 4, 4)), source, source.resized((8, 8, 8)))[0]
    assert poured == pytest.approx(np.full((1, 8, 8, 8), 1 / 8), abs=1e-6)


def test_both_ways_of_pouring_agree(monkeypatch):
    monkeypatch.setattr(module.axes, "pouring_parts", module.axes.parts)  # obliquely, so many points would be too many
    source, target = turned((5, 6, 7), (1.0, 2.0, 3.0)), turned((9, 6, 4), (0.8, 2.7, 5.1), middle=(0.4, 2, 1))
    values, within = signed(source), turned((3, 3, 3), (1.3, 3.0, 6.0))
    plain = [resample_sum(values, source, target), resample_sum(values, source, target, within=within)]
    monkeypatch.setattr(module.axes, "runs", lambda *_: None)
    pointwise = [resample_sum(values, source, target), resample_sum(values, source, target, within=within)]
    for (out, lost), (other, other_lost) in zip(plain, pointwise, strict=True):
        assert other == pytest.approx(out, abs=1e-6)
        assert other_lost == pytest.approx(lost, abs=1e-6)


@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_nothing_is_poured_beyond_the_view(degrees):
    source, target = turned((4, 4, 4), (4.0, 4.0, 4.0)), turned((30, 30, 30), degrees=degrees)
    view = turned((5, 5, 5), (2.5, 2.5, 2.5))
    values = signed(source, 1)
    poured, lost = resample_sum(values, source, target, within=view)
    assert not poured[0][~module.inside(view, target)].any()
    assert np.abs(lost).max() < SUM_TOLERANCE * np.abs(values).sum()


def test_sums_survive_between_random_grids():
    random = np.random.default_rng(1)
    for _ in range(40):
        source = turned(random.integers(1, 6, 3), random.uniform(0.7, 3, 3), random.uniform(-180, 180, 3))
        target = turned((45, 45, 45), random.uniform(0.7, 3, 3), random.uniform(-180, 180, 3))
        values = random.normal(size=(1, *source.shape))
        lost = resample_sum(values, source, target)[1]
        assert np.abs(lost).max() < SUM_TOLERANCE * np.abs(values).sum()


def test_a_voxel_between_all_points_of_an_oblique_lattice_is_not_lost():
    source, target = turned((1, 1, 1)), turned((8, 8, 8), degrees=(0, 0, 45))
    poured, lost = resample_sum(np.full((1, 1, 1, 1), 5.0), source, target)
    assert lost == pytest.approx([0.0])
    assert apart(centre_of_mass(poured[0], target), np.zeros(3), target) <= 0.5 + 1e-9


def test_one_plane_at_a_time_gives_the_same(monkeypatch):
    target, values = TARGETS["oblique and coarse"], signed(SOURCE)
    whole, _ = resample_sum(values, SOURCE, target)
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 1)
    assert resample_sum(values, SOURCE, target)[0] == pytest.approx(whole, abs=1e-6)


def test_works_where_gradients_are_switched_off():
    values = signed(SOURCE)
    expected = resample_sum(values, SOURCE, TARGETS["oblique"])[0]
    with torch.inference_mode():
        assert np.array_equal(resample_sum(values, SOURCE, TARGETS["oblique"])[0], expected)


@pytest.mark.parametrize("count", [27, 41, 64, 90])
def test_an_even_map_poured_onto_finer_voxels_stays_even(count):
    """A lattice printed on it would be taken for a finding; at the rim less lies beyond, so the inside is compared."""
    source = Grid((23, 23, 1), np.diag([2.0, 2.0, 1.0, 1.0]))
    step = 46 / count
    target = Grid((count, count, 1), np.diag([step, step, 1.0, 1.0]))
    poured, lost = resample_sum(np.ones((1, 23, 23, 1)), source, target)
    inner = poured[0, 6:-6, 6:-6, 0]
    assert inner.max() / inner.min() < 1.02
    assert poured.sum() + lost.sum() == pytest.approx(23 * 23, rel=1e-6)
