"""Metrics of where a map's evidence lies: what all of them promise, and each in closed form."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.metrics.maps import GRIDS, attribution, box, drawn, image, voxels
from voxplain.errors import InputError, OptionError
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base_evidence import Localisation
from voxplain.space.grid import Grid

NAMES = sorted(name for name, cls in METRICS.items() if issubclass(cls, Localisation))
every_one = pytest.mark.parametrize("name", NAMES)
both_ranks = pytest.mark.parametrize("rank", [2, 3])

LESION = {2: ((2, 3, 0), (5, 5, 1)), 3: ((1, 1, 1), (3, 3, 3))}
"""First and past-the-last voxel of a lesion: 6 of 63 voxels, or 8 of 120."""

SHARE = {2: 6 / 63, 3: 8 / 120}


def ask(spec, values, mask, grid, body=None):
    found = None if body is None else image(body, grid)
    return metric(spec)(attribution(values, grid), image(mask, grid), found)


def lesion(rank):
    return box(GRIDS[rank], *LESION[rank])


@both_ranks
@every_one
def test_a_perfect_map_gets_the_best_value(rank, name):
    found = ask(name if name != "top_k" else "top_k(k=3)", lesion(rank), lesion(rank), GRIDS[rank])
    assert found.value == (0.0 if METRICS[name].better == "lower" else 1.0)


@both_ranks
@every_one
def test_a_constant_map_gets_exactly_the_chance_level(rank, name):
    """Ties are never broken by the order of the voxels, which would reward lesions near the first corner."""
    found = ask(name, np.full(GRIDS[rank].shape, 3.0), lesion(rank), GRIDS[rank])
    assert found.value == pytest.approx(found.chance, abs=1e-12)


@both_ranks
@every_one
def test_maps_that_know_nothing_get_the_chance_level_on_average(rank, name):
    spec = "top_k(k=5)" if name == "top_k" else name
    found = [ask(spec, np.abs(drawn(GRIDS[rank], seed)), lesion(rank), GRIDS[rank]) for seed in range(100)]
    values, chances = np.array([[one.value, one.chance] for one in found]).T
    if name == "mass_distance":  # the centre of a random map scatters about the middle
        assert abs(values.mean() - chances.mean()) < 0.4
    elif name == "auprc":  # finite samples find a little more than the share
        assert chances.mean() <= values.mean() < 2 * chances.mean()
    else:
        assert abs((values - chances).mean()) < 4 * (values - chances).std() / np.sqrt(100)


@both_ranks
@every_one
@pytest.mark.parametrize("sign", ["positive", "absolute"])
def test_stays_within_its_bounds_on_signed_maps(rank, name, sign):
    least, most = METRICS[name].bounds
    for seed in range(10):
        value = ask(f"{name}(sign={sign!r})", drawn(GRIDS[rank], seed), lesion(rank), GRIDS[rank]).value
        assert value >= least
        assert most is None or value <= most


@every_one
def test_an_empty_mask_is_never_a_hit(name):
    """Quantus' pointing game counts every case without a lesion as found."""
    found = ask(name, np.abs(drawn(GRIDS[3])), np.zeros(GRIDS[3].shape), GRIDS[3])
    assert (found.value, found.chance, found.reason) == (None, None, "the mask is empty")


@every_one
def test_a_mask_outside_the_body_is_empty(name):
    body = box(GRIDS[3], (4, 0, 0), (6, 5, 4))
    assert ask(name, np.abs(drawn(GRIDS[3])), lesion(3), GRIDS[3], body).reason == "the mask is empty inside the body"


@every_one
def test_a_map_with_nan_is_not_applicable(name):
    broken = drawn(GRIDS[3])
    broken[5, 4, 3] = np.nan
    found = ask(name, broken, lesion(3), GRIDS[3])
    assert (found.value, found.reason) == (None, "the map holds values that are NaN or infinite")


@every_one
def test_a_map_without_evidence_is_not_applicable(name):
    assert ask(name, -np.abs(drawn(GRIDS[3])), lesion(3), GRIDS[3]).reason == "the map has no positive values"
    nothing = ask(f"{name}(sign='absolute')", np.zeros(GRIDS[3].shape), lesion(3), GRIDS[3])
    assert nothing.reason == "the map has no values but 0"


@every_one
def test_negative_values_count_as_nothing_unless_asked_for(name):
    values = drawn(GRIDS[3])
    mask = lesion(3)
    assert ask(name, values, mask, GRIDS[3]) == ask(name, np.maximum(values, 0), mask, GRIDS[3])
    whole = ask(f"{name}(sign='absolute')", values, mask, GRIDS[3])
    assert whole == ask(name, np.abs(values), mask, GRIDS[3])


@every_one
def test_channels_are_summed_before_the_sign_is_taken(name):
    one, other = drawn(GRIDS[3], 1), drawn(GRIDS[3], 2)
    both = metric(name)(attribution([one, other], GRIDS[3], ("a", "b")), image(lesion(3), GRIDS[3]))
    single = metric(name)(attribution(np.float32(one) + np.float32(other), GRIDS[3]), image(lesion(3), GRIDS[3]))
    # The sum of two float32 numbers is rounded once more where it is stored as a map.
    assert both.value == pytest.approx(single.value, abs=1e-6)


@every_one
def test_the_scale_of_a_map_does_not_matter(name):
    values, mask = np.abs(drawn(GRIDS[3])), lesion(3)
    assert ask(name, 1024 * values, mask, GRIDS[3]).value == pytest.approx(ask(name, values, mask, GRIDS[3]).value)


@every_one
def test_nothing_outside_the_body_counts(name):
    body, values = box(GRIDS[3], (0, 0, 0), (4, 5, 4)), np.abs(drawn(GRIDS[3]))
    louder = np.where(body > 0, values, 100.0)
    assert ask(name, louder, lesion(3), GRIDS[3], body) == ask(name, values, lesion(3), GRIDS[3], body)


@every_one
def test_masks_of_several_channels_are_refused(name):
    with pytest.raises(InputError, match="mask must have one channel, got 2"):
        metric(name)(attribution(drawn(GRIDS[3]), GRIDS[3]), image(np.ones((2, *GRIDS[3].shape)), GRIDS[3]))


# --- order and mass


@both_ranks
def test_relevance_mass_never_exceeds_one_on_a_signed_map(rank):
    """Quantus divides by the sum of signed values and returned 10.0."""
    values = lesion(rank) - 0.999 * (1 - lesion(rank)) * lesion(rank).sum() / (1 - lesion(rank)).sum()
    assert ask("relevance_mass", values, lesion(rank), GRIDS[rank]).value == 1.0
    assert 0 < ask("relevance_mass(sign='absolute')", values, lesion(rank), GRIDS[rank]).value < 1


def test_relevance_rank_looks_at_as_many_voxels_as_the_mask_has():
    grid, mask = GRIDS[2], voxels(GRIDS[2], (1, 1, 0), (2, 2, 0), (3, 3, 0))
    values = voxels(grid, (1, 1, 0)) * 9 + voxels(grid, (5, 5, 0)) * 8 + voxels(grid, (2, 2, 0)) * 7
    values += voxels(grid, (3, 3, 0)) * 6
    assert ask("relevance_rank", values, mask, grid).value == pytest.approx(2 / 3)
    assert ask("relevance_rank", values, mask, grid).chance == pytest.approx(3 / 63)


@pytest.mark.parametrize(("k", "expected"), [(1, 1.0), (2, 0.5), (3, 2 / 3), (4, 3 / 4)])
def test_top_k_is_the_share_of_the_strongest_voxels_inside(k, expected):
    grid, mask = GRIDS[2], voxels(GRIDS[2], (1, 1, 0), (2, 2, 0), (3, 3, 0))
    values = voxels(grid, (1, 1, 0)) * 9 + voxels(grid, (5, 5, 0)) * 8 + voxels(grid, (2, 2, 0)) * 7
    values += voxels(grid, (3, 3, 0)) * 6
    assert ask(f"top_k(k={k})", values, mask, grid).value == pytest.approx(expected)


def test_top_k_takes_all_voxels_of_a_small_image():
    assert ask("top_k(k=1000)", np.abs(drawn(GRIDS[3])), lesion(3), GRIDS[3]).value == pytest.approx(SHARE[3])


@both_ranks
@pytest.mark.parametrize("name", ["auroc", "auprc"])
def test_areas_equal_scikit_learn_with_ties(rank, name):
    values = np.maximum(drawn(GRIDS[rank]), 0).round(1)
    theirs = {"auroc": roc_auc_score, "auprc": average_precision_score}[name](
        lesion(rank).ravel(), np.float32(values).ravel()
    )
    assert ask(name, values, lesion(rank), GRIDS[rank]).value == pytest.approx(theirs, abs=1e-12)


def test_auroc_of_a_mask_that_fills_everything_is_not_applicable():
    found = ask("auroc", np.abs(drawn(GRIDS[2])), np.ones(GRIDS[2].shape), GRIDS[2])
    assert found.reason == "the mask fills all that counts"


# --- the peak


def test_the_pointing_game_hits_within_its_tolerance_in_millimetres():
    """A voxel next to the lesion lies 1.5 mm away along the second axis and 2 mm along the first."""
    grid, mask = GRIDS[2], voxels(GRIDS[2], (4, 3, 0))
    beside = {axis: voxels(grid, place) for axis, place in {1: (4, 4, 0), 0: (5, 3, 0)}.items()}
    found = {
        (axis, mm): ask(f"pointing_game(tolerance_mm={mm})", values, mask, grid).value
        for axis, values in beside.items()
        for mm in (1.4, 1.5, 1.9, 2.0)
    }
    assert [found[1, mm] for mm in (1.4, 1.5)] == [0, 1]
    assert [found[0, mm] for mm in (1.9, 2.0)] == [0, 1]


def test_the_pointing_game_takes_a_tolerance_in_pixels_where_there_are_no_millimetres():
    grid = Grid((9, 7, 1), np.diag([2.0, 1.5, 1.0, 1.0]), "px")
    values, mask = voxels(grid, (6, 3, 0)), voxels(grid, (4, 3, 0))
    assert ask("pointing_game(tolerance=2)", values, mask, grid).value == 1
    assert ask("pointing_game(tolerance=1.9)", values, mask, grid).value == 0
    with pytest.raises(InputError, match="tolerance_mm needs a grid in mm"):
        ask("pointing_game(tolerance_mm=2)", values, mask, grid)


def test_a_generous_tolerance_raises_the_chance_level():
    grid, mask = GRIDS[2], voxels(GRIDS[2], (4, 3, 0))
    values = voxels(grid, (0, 0, 0))
    assert ask("pointing_game", values, mask, grid).chance == pytest.approx(1 / 63)
    assert ask("pointing_game(tolerance=1)", values, mask, grid).chance == pytest.approx(5 / 63)
    assert ask("pointing_game(tolerance=100)", values, mask, grid).chance == 1


@pytest.mark.parametrize("name", ["pointing_game", "hit_rate"])
def test_of_several_peaks_the_share_that_hits_counts(name):
    """The first of them would do, were it taken by `argmax`."""
    grid, mask = GRIDS[2], lesion(2)
    values = voxels(grid, (2, 3, 0), (0, 0, 0), (1, 6, 0), (8, 6, 0))
    assert ask(name, values, mask, grid).value == pytest.approx(1 / 4)


@pytest.mark.parametrize("name", ["pointing_game", "hit_rate"])
def test_a_peak_outside_the_body_does_not_share_the_credit(name):
    grid, body = GRIDS[2], box(GRIDS[2], (1, 0, 0), (9, 7, 1))
    assert ask(name, voxels(grid, (2, 3, 0), (0, 0, 0)), lesion(2), grid, body).value == 1


def test_hits_of_two_cases_do_not_crash():
    """Quantus' weighted pointing game fails as soon as two cases hit: here every case is a row."""
    grid = GRIDS[2]
    found = [ask("pointing_game", voxels(grid, place), lesion(2), grid).value for place in [(2, 3, 0), (4, 4, 0)]]
    assert found == [1, 1]


@pytest.mark.parametrize(
    "spec",
    ["pointing_game(tolerance_mm=-1)", "pointing_game(tolerance=-1)", "pointing_game(tolerance_mm=1, tolerance=2)"],
)
def test_the_pointing_game_refuses_impossible_tolerances(spec):
    with pytest.raises(OptionError, match="pointing_game: tolerance"):
        metric(spec)


# --- overlap


@both_ranks
@pytest.mark.parametrize("name", ["iou", "dice"])
def test_overlaps_are_those_of_the_marked_voxels(rank, name):
    grid, mask = GRIDS[rank], lesion(rank)
    start, stop = LESION[rank]
    values = box(grid, start, (stop[0] - 1, *stop[1:])) * 5 + voxels(grid, (0, 0, 0)) * 4
    marks, inside = values > 0, mask > 0
    hits = (marks & inside).sum()
    expected = {"iou": hits / (marks | inside).sum(), "dice": 2 * hits / (marks.sum() + inside.sum())}[name]
    assert ask(f"{name}(threshold=0.5)", values, mask, grid).value == pytest.approx(expected)
    assert ask(name, values, mask, grid).value == pytest.approx(expected)


@pytest.mark.parametrize("name", ["iou", "dice", "lesion_sensitivity"])
def test_a_fixed_threshold_is_a_share_of_the_largest_value(name):
    grid, mask = GRIDS[2], lesion(2)
    values = 10 * voxels(grid, (0, 0, 0)) + 4 * mask
    assert ask(f"{name}(threshold=0.39)", values, mask, grid).value > 0.8
    assert ask(f"{name}(threshold=0.41)", values, mask, grid).value == 0


@pytest.mark.parametrize("threshold", ["0", "1.1", "'li'"])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(OptionError, match="iou: threshold must be"):
        metric(f"iou(threshold={threshold})")


def test_every_lesion_counts_alike_however_large():
    grid = GRIDS[2]
    mask = box(grid, (0, 0, 0), (4, 4, 1)) + voxels(grid, (6, 6, 0)) + voxels(grid, (8, 0, 0))
    found = ask("lesion_sensitivity(threshold=0.5)", voxels(grid, (6, 6, 0), (8, 0, 0)), mask, grid)
    assert (found.value, found.numbers) == (pytest.approx(2 / 3), {"lesions": 3, "found": 2})


def test_a_lesion_is_found_where_enough_of_it_is_marked():
    grid, mask = GRIDS[2], box(GRIDS[2], (0, 0, 0), (5, 2, 1))
    values = voxels(grid, (0, 0, 0), (1, 0, 0), (2, 0, 0))
    assert ask("lesion_sensitivity(threshold=0.5, overlap=0.3)", values, mask, grid).value == 1
    assert ask("lesion_sensitivity(threshold=0.5, overlap=0.31)", values, mask, grid).value == 0


@both_ranks
def test_voxels_that_touch_at_a_corner_are_one_lesion(rank):
    grid = GRIDS[rank]
    mask = voxels(grid, (1, 1, 0), (2, 2, 0 if rank == 2 else 1))
    assert ask("lesion_sensitivity", mask, mask, grid).numbers["lesions"] == 1


# --- distance


def test_the_distance_is_zero_inside_and_counted_in_millimetres_to_the_nearest_face():
    grid, mask = GRIDS[2], box(GRIDS[2], (2, 3, 0), (5, 5, 1))
    assert ask("mass_distance", voxels(grid, (3, 4, 0)), mask, grid).value == 0
    # From the centre of voxel 7 to the far face of voxel 4: two and a half voxels of 2 mm.
    assert ask("mass_distance", voxels(grid, (7, 4, 0)), mask, grid).value == pytest.approx(5.0)
    # Two voxels and a half of 2 mm, and one and a half of 1.5 mm.
    assert ask("mass_distance", voxels(grid, (7, 6, 0)), mask, grid).value == pytest.approx(np.hypot(5.0, 2.25))


def test_the_centre_is_that_of_the_mass():
    grid, mask = GRIDS[3], voxels(GRIDS[3], (0, 0, 0))
    values = voxels(grid, (2, 0, 0)) * 3 + voxels(grid, (4, 0, 0))
    assert ask("mass_distance", values, mask, grid).value == pytest.approx(2.0)


def test_the_distance_follows_an_oblique_grid():
    affine = np.eye(4)
    affine[:3, :3] = np.diag([1.0, 2.0, 3.0])
    angle = np.deg2rad(30)
    affine[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]] @ affine[:3, :3]
    grid = Grid((6, 5, 4), affine)
    values, mask = drawn(grid), lesion(3)
    assert ask("mass_distance", values, mask, grid).value == pytest.approx(
        ask("mass_distance", values, mask, GRIDS[3]).value
    )
