"""Quantus on metrics of maps and of methods, where its definitions are the papers', and its faults there."""

import copy
import warnings

import numpy as np
import pytest
import torch

from tests.metrics.explaining import case, explain
from tests.metrics.maps import GRIDS, attribution, box, drawn, image
from voxplain.metrics import metric
from voxplain.ops.nuisances import uniform_noise

quantus = pytest.importorskip("quantus")

GRID = GRIDS[2]
MASK = box(GRID, (2, 3, 0), (5, 5, 1))

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs: about options, empty masks, and NumPy


class Nothing(torch.nn.Module):
    """The metrics of maps ask for a model and never use it."""

    def forward(self, x):
        return x.flatten(1)


def theirs(name, values, masks=MASK, **options):
    """What Quantus says about maps (case, i, j, k) of one slice."""
    maps = np.float32(np.reshape(values, (-1, 1, *GRID.shape[:2])))
    masks = np.broadcast_to(masks[..., 0], maps.shape)
    made = getattr(quantus, name)(normalise=False, abs=False, disable_warnings=True, **options)
    x = np.zeros_like(maps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made(Nothing(), x, np.zeros(len(x), int), maps, masks, channel_first=True)


def ours(spec, values, mask=MASK):
    found = metric(spec)
    inputs = () if found.need == "map" else (image(mask, GRID),)
    return found(attribution(values, GRID), *inputs).value


PAIRS = [
    ("PointingGame", "pointing_game", {}, 0),
    ("RelevanceMassAccuracy", "relevance_mass", {}, 1e-6),
    ("RelevanceRankAccuracy", "relevance_rank", {}, 0),
    ("TopKIntersection", "top_k(k=7)", {"k": 7}, 0),
    ("AUC", "auroc", {}, 1e-12),
    # They add 1e-7 to every value, and 1e-12 within the logarithm; maps are float32 there.
    ("Sparseness", "sparseness", {}, 1e-5),
    ("Complexity", "entropy", {}, 1e-5),
]


@pytest.mark.parametrize(("name", "spec", "options", "tolerance"), PAIRS, ids=[pair[1] for pair in PAIRS])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_non_negative_maps_without_ties_agree(name, spec, options, tolerance, seed):
    values = np.abs(drawn(GRID, seed))
    assert ours(spec, values) == pytest.approx(float(theirs(name, values, **options)[0]), abs=tolerance)


def test_their_pointing_game_counts_an_empty_mask_as_a_hit_and_ours_has_no_number():
    values, nothing = np.abs(drawn(GRID)), np.zeros(GRID.shape)
    assert bool(theirs("PointingGame", values, nothing)[0])
    assert ours("pointing_game", values, nothing) is None


def test_their_weighted_pointing_game_crashes_where_two_cases_hit():
    values = np.stack([MASK, MASK])
    with pytest.raises(TypeError, match="boolean array indexing assignment"):
        theirs("PointingGame", values, weighted=True)
    assert [ours("pointing_game", one) for one in values] == [1, 1]


def test_their_relevance_mass_leaves_its_range_on_signed_maps_and_ours_does_not():
    values = MASK - 0.9 * (1 - MASK) * MASK.sum() / (1 - MASK).sum()
    assert theirs("RelevanceMassAccuracy", values)[0] == pytest.approx(10, rel=1e-4)
    assert ours("relevance_mass", values) == 1


def neighbour_of(x, number):
    return uniform_noise(x, 0.02, 0, number)


@pytest.mark.parametrize("name", ["RelativeInputStability", "RelativeOutputStability"])
def test_relative_stabilities_agree_on_the_same_neighbours(name):
    score, x = case()
    ask, frozen = explain("gradient"), score.freeze(x)[1]
    draws = iter(range(3))

    def perturbed(arr, **_):  # they hand over every image as a row
        return neighbour_of(x, next(draws)).numpy().reshape(arr.shape)

    def explained(model, inputs, targets, **_):
        return ask(frozen, torch.as_tensor(inputs, dtype=torch.float64)).numpy()

    made = getattr(quantus, name)(nr_samples=3, perturb_func=perturbed, disable_warnings=True)
    found = made(
        copy.deepcopy(frozen.model.module).float(),
        x.numpy(),
        frozen.classes.numpy(),
        explain_func=explained,
        channel_first=True,
    )
    spec = {
        "RelativeInputStability": "relative_input_stability",
        "RelativeOutputStability": "relative_output_stability",
    }
    assert metric(f"{spec[name]}(samples=3)")(score, x, ask).value == pytest.approx(
        float(found[0]), rel=1e-3
    )  # theirs predicts in single precision


@pytest.mark.parametrize("name", ["RelativeInputStability", "RelativeOutputStability"])
def test_their_relative_stabilities_refuse_volumes_and_ours_measure_them(name):
    score, x = case(3)
    ask, frozen = explain("gradient"), score.freeze(x)[1]
    made = getattr(quantus, name)(nr_samples=1, disable_warnings=True)
    with pytest.raises((ValueError, AssertionError, IndexError, RuntimeError, TypeError, AttributeError)):
        made(
            copy.deepcopy(frozen.model.module).float(),
            x.numpy(),
            frozen.classes.numpy(),
            explain_func=lambda model, inputs, targets, **_: ask(frozen, torch.as_tensor(inputs)).numpy(),
        )
    spec = {
        "RelativeInputStability": "relative_input_stability",
        "RelativeOutputStability": "relative_output_stability",
    }
    assert metric(f"{spec[name]}(samples=1)")(score, x, ask).value > 0
