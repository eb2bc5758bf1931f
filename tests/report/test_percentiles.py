"""Percentiles of volumes are NumPy's, whatever the order and the spread of the voxels."""

import numpy as np
import pytest

from voxplain.report.percentiles import kth_largest, percentiles_of_positive

SHARES = (0.0, 1.0, 50.0, 99.0, 99.9, 100.0)
DRAWS = np.random.default_rng(0)

VOLUMES = {
    "a body in air": np.where(DRAWS.random(200_000) < 0.6, 0, DRAWS.gamma(2, 50, 200_000)),
    "sorted voxels": np.linspace(-1, 1, 150_001),
    "few levels": DRAWS.integers(0, 4, 300_000).astype(float),
    "strong where the sample never looks": np.where(np.arange(400_000) % 10 == 3, 1e3, 1e-3),
    "a single voxel": np.eye(1, 100_000, 7)[0],
    "few voxels": np.array([0, 3, 1, 2.0]),
    "one far voxel": np.append(DRAWS.random(90_000), 1e9),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_percentiles_are_those_of_numpy(name):
    values = VOLUMES[name].astype(np.float32)
    wanted = np.percentile(values[values > 0].astype(np.float64), SHARES)
    # NumPy interpolates between two float32 voxels in float64 here, as we do.
    assert percentiles_of_positive(values, SHARES) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", VOLUMES)
def test_the_kth_largest_has_as_many_above_it_as_asked(name):
    values = VOLUMES[name].astype(np.float32)
    for count in (1, 3, len(values) // 20 or 1, len(values)):
        assert kth_largest(values, count) == np.sort(values)[-count]


def test_the_shape_of_a_volume_does_not_matter():
    values = VOLUMES["a body in air"].astype(np.float32)
    assert percentiles_of_positive(values.reshape(40, 50, 100), SHARES) == percentiles_of_positive(values, SHARES)


def test_nothing_above_zero_is_zero():
    assert percentiles_of_positive(np.array([-1, 0], np.float32), (1.0, 99.0)) == (0.0, 0.0)
    assert percentiles_of_positive(np.zeros((0,), np.float32), (99.9,)) == (0.0,)
