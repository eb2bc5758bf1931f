import numpy as np
import pytest

from tests.metrics.maps import GRIDS, attribution, box, image, voxels
from voxplain.errors import InputError, OptionError
from voxplain.metrics import metric

NAMES = ("t1", "flair")
both_ranks = pytest.mark.parametrize("rank", [2, 3])


def ask(spec, values, masks, grid, names=NAMES, body=None):
    own = {"channels": names} if np.ndim(masks) == 4 else {}
    found = None if body is None else image(body, grid)
    return metric(spec)(attribution(values, grid, NAMES), image(masks, grid, **own), found)


def case(rank):
    """Half of the first channel's evidence and all of the second's lies in its own lesion."""
    grid = GRIDS[rank]
    first, second = voxels(grid, (0, 0, 0)), voxels(grid, (3, 3, 0), (4, 4, 0))
    return [first + voxels(grid, (5, 1, 0)), 7 * second], [first, second], grid


@both_ranks
def test_is_the_weighted_mean_of_each_channels_share_in_its_own_lesion(rank):
    values, masks, grid = case(rank)
    assert ask("msfi", values, masks, grid).value == pytest.approx((0.5 + 1) / 2)
    assert ask("msfi(importances=[3, 1])", values, masks, grid).value == pytest.approx((3 * 0.5 + 1) / 4)
    assert ask("msfi(importances=[0, 0.2])", values, masks, grid).value == pytest.approx(1)


@both_ranks
def test_tells_each_channels_share(rank):
    assert ask("msfi", *case(rank)).numbers == {"t1": 0.5, "flair": 1.0}


@both_ranks
def test_a_constant_map_gets_the_chance_level(rank):
    _, masks, grid = case(rank)
    found = ask("msfi(importances=[3, 1])", np.ones((2, *grid.shape)), masks, grid)
    assert found.value == pytest.approx(found.chance)
    size = np.prod(grid.shape)
    assert found.chance == pytest.approx((3 * 1 / size + 1 * 2 / size) / 4)


def test_masks_are_found_by_the_names_of_their_channels():
    values, masks, grid = case(2)
    straight = ask("msfi", values, masks, grid)
    assert ask("msfi", values, masks[::-1], grid, names=NAMES[::-1]) == straight


def test_one_mask_holds_for_all_channels():
    values, masks, grid = case(2)
    assert ask("msfi", values, masks[1], grid).value == pytest.approx((0 + 1) / 2)


def test_masks_of_other_channels_are_refused():
    values, masks, grid = case(2)
    with pytest.raises(InputError, match="mask must have one channel, got 2"):
        ask("msfi", values, masks, grid, names=("t1", "t2"))


def test_negative_values_do_not_count():
    values, masks, grid = case(2)
    values[0] = values[0] - 5 * voxels(grid, (8, 6, 0))
    assert ask("msfi", values, masks, grid).value == pytest.approx(0.75)


def test_a_channel_without_positive_values_or_without_a_lesion_counts_nothing():
    values, masks, grid = case(2)
    assert ask("msfi", [-values[0], values[1]], masks, grid).value == pytest.approx(0.5)
    assert ask("msfi", values, [0 * masks[0], masks[1]], grid).value == pytest.approx(0.5)


def test_only_the_body_counts():
    values, masks, grid = case(2)
    assert ask("msfi", values, masks, grid, body=box(grid, (0, 0, 0), (5, 7, 1))).value == pytest.approx(1)


def test_says_where_it_does_not_apply():
    values, masks, grid = case(2)
    nothing = np.zeros((2, *grid.shape))
    assert ask("msfi", values, nothing, grid).reason == "the mask is empty"
    assert ask("msfi", nothing, masks, grid).reason == "the map has no positive values"
    assert ask("msfi", [np.full(grid.shape, np.nan), values[1]], masks, grid).reason.startswith("the map holds values")
    alone = metric("msfi")(attribution(values[0], grid), image(masks[0], grid))
    assert alone.reason == "the map has one channel for the whole image"


@pytest.mark.parametrize("importances", ["[-1, 2]", "[0, 0]"])
def test_impossible_importances_are_refused(importances):
    with pytest.raises(OptionError, match="msfi: importances must be numbers of at least 0, not all of them 0"):
        metric(f"msfi(importances={importances})")


def test_importances_must_fit_the_channels():
    with pytest.raises(InputError, match="one for each of the map's channels t1, flair, got 3"):
        ask("msfi(importances=[1, 1, 1])", *case(2))
