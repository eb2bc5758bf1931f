"""Metrics of the map alone: its complexity, and what lies outside the body."""

import numpy as np
import pytest
from scipy.stats import entropy

from tests.metrics.maps import GRIDS, attribution, box, drawn, image, voxels
from voxplain.errors import InputError, OptionError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_evidence import Complexity

NAMES = sorted(name for name, cls in METRICS.items() if issubclass(cls, Complexity))
every_one = pytest.mark.parametrize("name", NAMES)
both_ranks = pytest.mark.parametrize("rank", [2, 3])


def ask(spec, values, grid, body=None):
    return metric(spec)(attribution(values, grid), None if body is None else image(body, grid))


@both_ranks
@pytest.mark.parametrize(
    ("name", "single", "constant"), [("sparseness", 1, 0), ("entropy", 0, 1), ("effective_complexity", 0, 1)]
)
def test_a_single_voxel_and_a_constant_map_are_the_ends_of_the_scale(rank, name, single, constant):
    grid = GRIDS[rank]
    count = int(np.prod(grid.shape))
    most = {"sparseness": 1 - 1 / count, "entropy": np.log(count), "effective_complexity": count}[name]
    least = 1 if name == "effective_complexity" else 0
    assert ask(name, voxels(grid, (1, 1, 0)), grid).value == pytest.approx(most if single else least, abs=1e-12)
    assert ask(name, np.full(grid.shape, -3.0), grid).value == pytest.approx(most if constant else least, abs=1e-12)


@both_ranks
def test_entropy_equals_scipy(rank):
    values = np.float32(drawn(GRIDS[rank])).astype(float)
    assert ask("entropy", values, GRIDS[rank]).value == pytest.approx(entropy(np.abs(values).ravel()), abs=1e-12)


@both_ranks
def test_the_gini_index_is_half_the_mean_difference_over_the_mean(rank):
    values = np.abs(np.float32(drawn(GRIDS[rank])).astype(float)).ravel()
    differences = np.abs(values[:, None] - values).mean()
    found = ask("sparseness", values.reshape(GRIDS[rank].shape), GRIDS[rank]).value
    assert found == pytest.approx(differences / (2 * values.mean()), abs=1e-12)


def test_effective_complexity_counts_what_is_not_negligible():
    grid = GRIDS[2]
    values = voxels(grid, (0, 0, 0)) * -100 + voxels(grid, (1, 1, 0)) * 2 + voxels(grid, (2, 2, 0)) * 0.5
    assert ask("effective_complexity(epsilon=0.01)", values, grid).value == 2
    assert ask("effective_complexity(epsilon=0)", values, grid).value == 3
    with pytest.raises(OptionError, match="effective_complexity: epsilon must be at least 0 and below 1, got 1"):
        metric("effective_complexity(epsilon=1)")


@every_one
def test_the_scale_and_the_sign_of_a_map_do_not_matter(name):
    values = drawn(GRIDS[3])
    assert ask(name, -8 * values, GRIDS[3]).value == pytest.approx(ask(name, values, GRIDS[3]).value)


@every_one
def test_where_a_voxel_lies_does_not_matter(name):
    values = drawn(GRIDS[3])
    assert ask(name, values[::-1, :, ::-1], GRIDS[3]).value == pytest.approx(ask(name, values, GRIDS[3]).value)


@every_one
def test_only_the_body_counts(name):
    grid, values = GRIDS[3], drawn(GRIDS[3])
    body = box(grid, (0, 0, 0), (3, 5, 4))
    assert ask(name, values, grid, body) == ask(name, np.where(body > 0, values, 9.0), grid, body)
    assert ask(name, values, grid, body) != ask(name, values, grid)


@every_one
def test_says_where_it_does_not_apply(name):
    grid, broken = GRIDS[3], drawn(GRIDS[3])
    broken[0, 0, 0] = np.inf
    assert ask(name, broken, grid).reason == "the map holds values that are NaN or infinite"
    assert ask(name, 0 * drawn(grid), grid).reason == "the map has no values but 0"
    assert ask(name, drawn(grid), grid, 0 * drawn(grid)).reason == "the body is empty"


@every_one
def test_has_no_chance_level(name):
    """One voxel drawn at random is the sparsest of all maps."""
    assert ask(name, drawn(GRIDS[3]), GRIDS[3]).chance is None


# --- outside the body


@both_ranks
def test_the_share_outside_is_that_of_the_magnitude(rank):
    grid = GRIDS[rank]
    body = box(grid, (0, 0, 0), (4, 4, grid.shape[2]))
    values = voxels(grid, (1, 1, 0)) * 3 - voxels(grid, (5, 4, 0)) * 2
    found = ask("outside_share", values, grid, body)
    assert found.value == pytest.approx(2 / 5)
    assert found.chance == pytest.approx(1 - body.mean())


@both_ranks
def test_a_constant_map_lies_outside_as_often_as_chance(rank):
    grid = GRIDS[rank]
    found = ask("outside_share", np.ones(grid.shape), grid, box(grid, (0, 0, 0), (4, 4, 1)))
    assert found.value == pytest.approx(found.chance)


def test_the_share_outside_needs_a_body():
    grid, values = GRIDS[3], drawn(GRIDS[3])
    assert ask("outside_share", values, grid).reason == "no mask of the body was given"
    assert ask("outside_share", values, grid, 0 * values).reason == "the body is empty"
    assert ask("outside_share", 0 * values, grid, 1 + 0 * values).reason == "the map has no values but 0"


def test_a_body_on_another_grid_is_refused():
    with pytest.raises(InputError, match="body must lie on the map's grid"):
        metric("outside_share")(attribution(drawn(GRIDS[3]), GRIDS[3]), image(drawn(GRIDS[2]), GRIDS[2]))
