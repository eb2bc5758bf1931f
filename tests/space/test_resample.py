"""Reading values on another grid: exact on a lattice, the half-pixel convention, edges, averages, oblique grids."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from tests.space.grids import apart, centre_of_mass, linear_field, marked, strongest, turned
from voxplain.errors import InputError, OptionError
from voxplain.space import resample as module
from voxplain.space.grid import Grid
from voxplain.space.resample import inside, resample

RANDOM = np.random.default_rng(0)
ASKEW = (12, -25, 33)


def noise(grid, channels=1):
    return RANDOM.normal(size=(channels, *grid.shape)).astype(np.float32)


@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_the_same_grid_gives_bit_equal_values(degrees):
    grid = turned((5, 6, 7), (0.9, 1.3, 2.2), degrees, (3, 4, 5))
    values = noise(grid, 2)
    assert np.array_equal(resample(values, grid, grid), values)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_a_flipped_permuted_padded_lattice_gives_bit_equal_values(mode):
    grid = turned((5, 6, 7), (0.9, 1.3, 2.2), ASKEW, (3, 4, 5))
    values = noise(grid)
    target = grid.flipped((1,)).permuted((2, 0, 1)).window((-2, 1, -1), (10, 3, 8))
    expected = np.pad(np.flip(values, 2).transpose(0, 3, 1, 2), [(0, 0), (2, 1), (0, 0), (1, 1)])[:, :, 1:4]
    assert np.array_equal(resample(values, grid, target, mode=mode), expected)


def test_a_hole_does_not_spread_on_a_lattice():
    grid = turned((4, 4, 4))
    values = noise(grid)
    values[0, 1, 1, 1] = np.nan
    assert np.isnan(resample(values, grid, grid.window((1, 0, 0), (4, 4, 4)))).sum() == 1


def test_a_hole_does_not_spread_to_centres_that_need_no_neighbour():
    grid = Grid((3, 1, 1))
    values = np.array([1, 2, np.nan], dtype=np.float32).reshape(1, 3, 1, 1)
    read = resample(values, grid, Grid((5, 1, 1), np.diag([0.5, 1.0, 1.0, 1.0])))
    assert read.ravel() == pytest.approx([1, 1.5, 2, np.nan, np.nan], nan_ok=True)


def test_an_affine_rounded_to_float32_is_the_same_lattice():
    grid = turned((30, 30, 30), (0.9, 1.3, 2.2), ASKEW, (103, 94, 85))
    values = noise(grid)
    rounded = Grid(grid.shape, grid.affine.astype(np.float32))
    assert np.array_equal(resample(values, grid, rounded), values)


def test_sub_points_are_never_farther_apart_than_source_voxels():
    source, target = turned((9, 9, 9), (1.0, 2.0, 3.0)), turned((3, 3, 3), (1.5, 2.0, 10.0))
    assert module.axes.parts(source, target) == (2, 1, 4)


@pytest.mark.parametrize(
    ("have", "want"), [((7, 9), (31, 12)), ((16, 12), (21, 30)), ((1, 5), (4, 10)), ((5, 5), (5, 8))]
)
def test_enlarging_agrees_with_torch_in_the_half_pixel_convention(have, want):
    grid = Grid((*have, 1), np.diag([-1.0, -1.0, 1.0, 1.0]), "px")
    values = noise(grid)
    plain = torch.from_numpy(values[..., 0].astype(np.float64))[None]
    expected = torch.nn.functional.interpolate(plain, want, mode="bilinear", align_corners=False)[0].numpy()
    assert resample(values, grid, grid.resized((*want, 1)))[..., 0] == pytest.approx(expected, abs=1e-6)


def test_enlarging_a_volume_agrees_with_torch():
    grid = turned((4, 5, 6), (3.0, 2.0, 1.0), ASKEW)
    values = noise(grid, 2)
    plain = torch.from_numpy(values.astype(np.float64))[None]
    expected = torch.nn.functional.interpolate(plain, (9, 5, 20), mode="trilinear", align_corners=False)[0].numpy()
    assert resample(values, grid, grid.resized((9, 5, 20))) == pytest.approx(expected, abs=1e-6)


def test_shrinking_without_antialias_agrees_with_torch():
    grid = Grid((16, 12, 1))
    values = noise(grid)
    plain = torch.from_numpy(values[..., 0].astype(np.float64))[None]
    expected = torch.nn.functional.interpolate(plain, (7, 5), mode="bilinear", align_corners=False)[0].numpy()
    assert resample(values, grid, grid.resized((7, 5, 1)))[..., 0] == pytest.approx(expected, abs=1e-6)


def test_antialias_averages_whole_blocks():
    grid = turned((6, 8, 4), (1.0, 2.0, 3.0), ASKEW)
    values = noise(grid)
    expected = values.reshape(1, 2, 3, 4, 2, 4).mean(axis=(2, 4))
    assert resample(values, grid, grid.resized((2, 4, 4)), antialias=True) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_antialias_keeps_the_spread_of_noise_down(degrees):
    grid = turned((24, 24, 24))
    values = noise(grid)
    target = turned((6, 6, 6), (3.0, 3.0, 3.0), degrees)
    assert resample(values, grid, target, antialias=True).std() < 0.5 * resample(values, grid, target).std()


def test_antialias_changes_nothing_where_voxels_shrink():
    grid = turned((4, 5, 6))
    values, target = noise(grid), grid.resized((9, 11, 6))
    assert np.array_equal(resample(values, grid, target, antialias=True), resample(values, grid, target))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_an_even_slope_is_read_exactly(degrees, antialias):
    source, target = turned((20, 20, 20), (1.0, 1.1, 1.2)), turned((4, 5, 6), (1.3, 1.2, 2.1), degrees, (0.3, 0.2, 0.1))
    read = resample(linear_field(source), source, target, antialias=antialias)
    assert read == pytest.approx(linear_field(target), abs=1e-4)


def test_oblique_reading_agrees_with_scipy():
    source, target = turned((9, 8, 7), (1.0, 1.5, 2.0), (5, 6, 7)), turned((5, 4, 3), (1.1, 1.2, 1.3), ASKEW)
    values = noise(source)
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij"), axis=-1)
    places = np.moveaxis(source.voxels(target.world(voxels)), -1, 0)
    assert resample(values, source, target)[0] == pytest.approx(map_coordinates(values[0], places, order=1), abs=1e-5)


def test_both_ways_of_reading_agree(monkeypatch):
    source, target = turned((5, 6, 7), (1.0, 2.0, 3.0)), turned((9, 6, 4), (0.8, 1.7, 9.1), middle=(0.4, 2, 1))
    values, options = noise(source, 2), [{}, {"outside": "edge"}, {"mode": "nearest"}, {"antialias": True}]
    plain = [resample(values, source, target, **option) for option in options]
    monkeypatch.setattr(module.axes, "runs", lambda *_: None)
    pointwise = [resample(values, source, target, **option) for option in options]
    assert np.stack(pointwise) == pytest.approx(np.stack(plain), abs=1e-6)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_the_outer_half_voxel_repeats_the_edge_and_beyond_it_is_nothing(mode):
    source = Grid((3, 1, 1))
    values = np.array([2.0, 3.0, 4.0], dtype=np.float32).reshape(1, 3, 1, 1)
    target = Grid((4, 1, 1), np.diag([1.0, 1.0, 1.0, 1.0])).window((-0.6, 0, 0), (1, 1, 1))
    near = Grid((1, 1, 1)).window((-0.4, 0, 0), (1, 1, 1))
    assert resample(values, source, target, mode=mode).item() == 0.0
    assert resample(values, source, near, mode=mode).item() == 2.0
    assert resample(values, source, target, mode=mode, outside="edge").item() == 2.0


def test_labels_are_never_mixed_on_an_oblique_grid():
    source, target = turned((8, 8, 8)), turned((9, 9, 9), degrees=ASKEW)
    labels = RANDOM.choice([0, 3, 7], size=(1, 8, 8, 8))
    assert set(np.unique(resample(labels, source, target, mode="nearest"))) <= {0.0, 3.0, 7.0}


@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_a_marked_voxel_is_found_where_it_was(degrees):
    source = turned((9, 10, 11), (2.0, 1.5, 3.0), (3, 4, 5))
    target = turned((60, 60, 60), (0.8, 0.8, 0.8), degrees)
    read = resample(marked(source, (4, 6, 5)), source, target)[0]
    true = source.world([4, 6, 5])
    assert apart(centre_of_mass(read, target), true, target) < 0.5
    assert apart(strongest(read, target), true, target) < 0.9


def test_a_thousand_planes_at_a_time_or_one_give_the_same(monkeypatch):
    source, target = turned((6, 7, 8)), turned((9, 5, 4), (0.7, 1.9, 1.2), ASKEW)
    values = noise(source)
    whole = resample(values, source, target, antialias=True)
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 1)
    assert np.array_equal(resample(values, source, target, antialias=True), whole)


@pytest.mark.parametrize("degrees", [(0, 0, 0), ASKEW])
def test_inside_is_where_ones_are_read(degrees):
    view, target = turned((5, 6, 7), (1.0, 2.0, 1.5)), turned((12, 12, 12), (1.1, 1.2, 1.3), degrees, (1, 0, 0))
    ones = resample(np.ones((1, *view.shape)), view, target)[0]
    assert np.array_equal(inside(view, target), ones > 0.5)


def test_values_off_their_grid_are_refused():
    with pytest.raises(InputError, match=r"\(1, 2, 2, 3\) but their grid is \(2, 2, 2\)"):
        resample(np.zeros((1, 2, 2, 3)), Grid((2, 2, 2)), Grid((2, 2, 2)))


def test_pixels_and_millimetres_do_not_mix():
    with pytest.raises(InputError, match="must share a unit, got mm and px"):
        resample(np.zeros((1, 2, 2, 1)), Grid((2, 2, 1)), Grid((2, 2, 1), unit="px"))


def test_averaged_labels_are_refused():
    with pytest.raises(OptionError, match="antialias must be false with mode 'nearest'"):
        resample(np.zeros((1, 2, 2, 1)), Grid((2, 2, 1)), Grid((2, 2, 1)), mode="nearest", antialias=True)
