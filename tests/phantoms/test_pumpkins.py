"""Pumpkins against the formulas of the study that they are rebuilt from."""

import numpy as np
import pytest
from scipy.ndimage import minimum_filter

from voxplain.errors import OptionError
from voxplain.phantoms import phantom
from voxplain.phantoms.pumpkins import body, drawn_count, grow_atrophies, grow_lesions, grow_tumour


def pixels(sample):
    """Brightness (rows, columns) from 0 to 1."""
    return sample.image.values[0, :, :, 0].T / 65535


def mask_of(sample):
    return sample.mask.values[0, :, :, 0].T


def places(text):
    return [tuple(map(int, one.split(":"))) for one in str(text).split()]


def adult(seed=0):
    return body(80, 65, np.random.default_rng(seed))


def fresh(seed=0):
    return np.random.default_rng(seed)


def test_a_sample_depends_on_seed_and_number_alone():
    first, again, other = (phantom("pumpkins").sample(3, seed) for seed in (1, 1, 2))
    assert first.image.content_hash == again.image.content_hash
    assert first.truth == again.truth
    assert first.image.content_hash != other.image.content_hash


def test_an_adult_body_has_the_area_of_its_ellipses():
    assert abs((adult() > 0).sum() - np.pi * (40 * 32.5 - 16 * 13)) < 40


def test_flesh_varies_by_five_percent_around_four_fifths():
    flesh = adult()[adult() > 0]
    assert flesh.mean() == pytest.approx(0.8, abs=0.005)
    assert flesh.std() == pytest.approx(0.04, abs=0.003)


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("human", lambda age: (80, 65)),
        ("eternal", lambda age: (age, 65 * age / 80)),
        ("tang_ping", lambda age: (100 - age, age)),
        ("no_growth", lambda age: (80, 65)),
    ],
)
def test_sizes_follow_the_growth_mode(mode, size):
    truths = [phantom(f"pumpkins(growth_mode='{mode}')").sample(n, 5).truth for n in range(80)]
    off = np.array([(t["height"] - size(t["age"])[0], t["width"] - size(t["age"])[1]) for t in truths])
    spread = np.array([[size(t["age"])[0] / 20] for t in truths])
    assert np.abs((off / spread).mean(axis=0)).max() < 0.4
    assert (off / spread).std(axis=0) == pytest.approx([1, 1], abs=0.3)


def test_counts_of_marks_follow_the_age():
    for number in range(40):
        truth = phantom("pumpkins").sample(number, 8).truth
        assert abs(truth["atrophies"] - min(5 * truth["age"], 400)) <= 6
        assert abs(truth["lesions"] - max(truth["age"] - 40, 0)) <= 4


@pytest.mark.parametrize(("expected", "most", "count"), [(-20, 40, 0), (60, 40, 40), (-1, 400, 0)])
def test_counts_out_of_range_are_none_or_the_most(expected, most, count):
    assert drawn_count(expected, 0.01, most, fresh()) == count


def test_every_mark_lies_where_the_table_says():
    sample = phantom("pumpkins").sample(0, 1)
    mask, picture = mask_of(sample), pixels(sample)
    taken = places(sample.truth["atrophy_places"])
    assert len(set(taken)) == sample.truth["atrophies"] == (mask == 1).sum()
    assert all(picture[row, column] == 0 and mask[row, column] == 1 for column, row in taken)
    for column, row in places(sample.truth["lesion_places"]):
        assert (mask[row - 1 : row + 2, column - 1 : column + 2] > 0).all()


def test_lesions_brighten_three_by_three_pixels_and_nothing_else():
    flesh = adult()
    before, labels = flesh.copy(), np.zeros(flesh.shape, np.uint8)
    centres = grow_lesions(flesh, labels, 46, fresh(1))
    assert len(centres)
    assert ((flesh - before != 0) == (labels == 2)).all()
    row, column = centres[0]
    assert (labels[row - 1 : row + 2, column - 1 : column + 2] == 2).all()
    assert (minimum_filter(before, 5)[tuple(centres.T)] > 0).all()
    assert np.median((flesh - before)[labels == 2]) == pytest.approx(0.2, abs=0.05)


def test_atrophies_eat_the_rims_inwards():
    flesh = adult()
    before, labels = flesh.copy(), np.zeros(flesh.shape, np.uint8)
    taken = grow_atrophies(flesh, labels, 60, fresh(2))
    assert ((flesh == 0) & (before > 0)).sum() == len(taken) == (labels == 1).sum()
    left = before > 0
    for row, column in taken:
        assert left[row, column], "a pixel that is gone cannot go again"
        assert not left[row - 1 : row + 2, column - 1 : column + 2].all(), "only a pixel at a rim can go"
        left[row, column] = False


def test_pixels_inside_can_go_once_their_neighbours_have_gone():
    flesh = np.zeros((98, 98))
    flesh[40:45, 50:55] = 0.8
    taken = grow_atrophies(flesh, np.zeros(flesh.shape, np.uint8), 80, fresh(4))
    assert len(taken) == 25
    assert not flesh.any()


def test_the_chance_of_an_atrophy_is_the_share_of_empty_neighbours():
    flesh = np.zeros((98, 98))
    flesh[40:60, 40:60] = 0.8
    flesh[50, 50] = 0  # its eight neighbours have one empty pixel each: one in eight
    first = [grow_atrophies(flesh.copy(), np.zeros(flesh.shape, np.uint8), 2, fresh(n))[0] for n in range(1500)]
    inner = np.mean([abs(row - 50) <= 1 and abs(column - 50) <= 1 for row, column in first])
    sides, corners = 4 * 18 * 3, 4 * 5  # empty neighbours of all pixels on the outer rim
    assert inner == pytest.approx(8 / (8 + sides + corners), abs=0.016)


def test_the_tumour_is_as_bright_as_the_age():
    flesh = adult()
    labels = np.zeros(flesh.shape, np.uint8)
    grow_tumour(flesh, labels, 40, fresh(3))
    inside = flesh[labels == 3]
    assert inside.size > 50
    assert inside.min() == inside.max() == pytest.approx(0.5, abs=0.12)
    assert not (labels[49:] > 0).any()


def test_only_human_pumpkins_get_marks():
    for mode in ("eternal", "tang_ping"):
        assert not mask_of(phantom(f"pumpkins(growth_mode='{mode}')").sample(1, 0)).any()


def test_uniform_ages_are_spread_evenly():
    simulation = phantom("pumpkins(growth_mode='eternal')")
    ages = [simulation.sample(n, 3).truth["age"] for n in range(400)]
    assert min(ages) >= 20
    assert max(ages) <= 80
    assert np.mean(ages) == pytest.approx(50, abs=3)
    assert np.std(ages) == pytest.approx(17.6, abs=1.5)


def test_biased_ages_have_a_fifth_around_the_bias():
    simulation = phantom("pumpkins(growth_mode='eternal', uniform=False, target_bias=70)")
    ages = np.array([simulation.sample(n, 3).truth["age"] for n in range(600)])
    expected = 0.2 * 0.955 + 0.8 * 16 / 60
    assert np.mean(np.abs(ages - 70) <= 8) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pumpkins(growth_mode='fast')", "growth_mode must be one of"),
        ("pumpkins(uniform=False)", "target_bias must be from 20 to 80 years with uniform=False, got None"),
        ("pumpkins(uniform=False, target_bias=90)", "target_bias must be from 20 to 80"),
        ("pumpkins(target_bias=55)", "target_bias needs uniform=False"),
        ("pumpkins(growthmode='human')", "did you mean 'growth_mode'"),
        ("pumpkin", "did you mean 'pumpkins'"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(spec, words):
    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        phantom(spec)
