import numpy as np
import pytest

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError, OptionError
from voxplain.metrics import metric
from voxplain.metrics.relevance_mass import RelevanceMass
from voxplain.space.grid import Grid
from voxplain.types import Quantity

GRID = Grid((4, 5, 1))


def attribution(values, channels=1):
    voxels = np.broadcast_to(np.asarray(values, dtype=np.float32), (channels, *GRID.shape)).copy()
    return Attribution(voxels, GRID, Quantity.RELEVANCE, "gradient", "class_score(1)", channels=("a", "b")[:channels])


def mask_of(*voxels):
    values = np.zeros(GRID.shape)
    for voxel in voxels:
        values[voxel] = 1
    return Image.of(values, GRID)


def map_with(**values):
    voxels = np.zeros(GRID.shape)
    for name, value in values.items():
        i, j = map(int, name.removeprefix("at"))
        voxels[i, j, 0] = value
    return voxels


def test_is_the_positive_mass_inside_over_all_positive_mass():
    found = RelevanceMass()(attribution(map_with(at01=3, at12=1)), mask_of((0, 1, 0), (3, 3, 0)))
    assert found.value == pytest.approx(0.75)


def test_negative_values_do_not_count():
    found = RelevanceMass()(attribution(map_with(at01=3, at12=1, at00=-7, at33=-2)), mask_of((0, 1, 0), (3, 3, 0)))
    assert found.value == pytest.approx(0.75)


def test_negative_values_count_by_size_on_request():
    found = RelevanceMass(sign="absolute")(attribution(map_with(at01=3, at12=1, at33=-4)), mask_of((0, 1, 0)))
    assert found.value == pytest.approx(3 / 8)


def test_chance_is_the_share_of_the_mask():
    found = RelevanceMass()(attribution(1.0), mask_of((0, 1, 0), (3, 3, 0)))
    assert found.chance == pytest.approx(2 / 20)


def test_a_constant_map_gets_the_chance_level():
    found = RelevanceMass()(attribution(1.0), mask_of((0, 1, 0), (3, 3, 0)))
    assert found.times_chance == pytest.approx(1.0)


def test_only_the_body_counts_where_it_is_given():
    body = mask_of((0, 1, 0), (1, 2, 0), (2, 2, 0), (2, 3, 0))
    found = RelevanceMass()(attribution(map_with(at01=1, at12=1, at34=8)), mask_of((0, 1, 0), (3, 4, 0)), body)
    assert (found.value, found.chance) == (pytest.approx(0.5), pytest.approx(0.25))


def test_channels_are_summed_before_the_sign_is_taken():
    values = np.stack([map_with(at01=3, at12=2), map_with(at01=-1, at12=-4)])
    found = RelevanceMass()(attribution(values, channels=2), mask_of((0, 1, 0)))
    assert found.value == pytest.approx(1.0)


def test_does_not_apply_to_an_empty_mask():
    found = RelevanceMass()(attribution(1.0), mask_of())
    assert (found.value, found.chance, found.reason) == (None, None, "the mask is empty")


def test_does_not_apply_to_a_mask_outside_the_body():
    found = RelevanceMass()(attribution(1.0), mask_of((0, 0, 0)), mask_of((1, 1, 0)))
    assert (found.value, found.reason) == (None, "the mask is empty inside the body")


def test_does_not_apply_to_a_map_without_positive_values():
    found = RelevanceMass()(attribution(map_with(at01=-1)), mask_of((0, 1, 0)))
    assert (found.value, found.times_chance, found.reason) == (None, None, "the map has no positive values")


def test_still_tells_the_chance_of_a_map_without_positive_values():
    assert RelevanceMass()(attribution(0.0), mask_of((0, 1, 0))).chance == pytest.approx(1 / 20)


def test_does_not_apply_to_a_map_with_nan():
    found = RelevanceMass()(attribution(map_with(at01=np.nan)), mask_of((0, 1, 0)))
    assert (found.value, found.reason) == (None, "the map holds values that are NaN or infinite")


def test_every_label_of_the_mask_counts():
    mask = Image.of(2.0 * mask_of((0, 1, 0)).values, GRID)
    assert RelevanceMass()(attribution(map_with(at01=1)), mask).value == 1.0


def test_refuses_a_mask_on_another_grid():
    with pytest.raises(InputError, match="mask must lie on the map's grid"):
        RelevanceMass()(attribution(1.0), Image.of(np.ones((4, 5, 1)), Grid((4, 5, 1), np.diag([2.0, 1, 1, 1]))))


def test_refuses_a_mask_of_several_channels():
    with pytest.raises(InputError, match="mask must have one channel, got 2"):
        RelevanceMass()(attribution(1.0), Image.of(np.ones((2, 4, 5, 1)), GRID))


def test_is_built_from_its_spec():
    assert metric("relevance_mass(sign='absolute')") == RelevanceMass(sign="absolute")


def test_refuses_an_unknown_metric_with_the_nearest_name():
    with pytest.raises(OptionError, match="unknown metric 'relevance_mas'; did you mean 'relevance_mass'"):
        metric("relevance_mas")


def test_refuses_an_unknown_sign():
    with pytest.raises(OptionError, match="relevance_mass: sign must be one of"):
        RelevanceMass(sign="negative")
