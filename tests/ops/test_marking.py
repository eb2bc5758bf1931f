import numpy as np
import pytest
from skimage.filters import threshold_otsu

from voxplain.ops.marking import marked, otsu


@pytest.mark.parametrize("seed", range(4))
def test_otsu_equals_scikit_image(seed):
    generator = np.random.default_rng(seed)
    values = np.concatenate([generator.gamma(2, 1, 500), generator.normal(9, 1, 80)])
    assert otsu(values) == pytest.approx(threshold_otsu(values), abs=1e-12)


def test_otsu_marks_the_upper_of_two_groups():
    assert marked(np.array([0.0, 0.1, 5.0, 0.12, 6.0]), "otsu").tolist() == [False, False, True, False, True]


def test_a_fixed_threshold_is_a_share_of_the_largest_value_and_belongs_to_it():
    assert marked(np.array([0.0, 4.0, 5.0, 10.0]), 0.5).tolist() == [False, False, True, True]


@pytest.mark.parametrize("threshold", ["otsu", 0.5])
def test_values_that_are_all_the_same_are_all_marked(threshold):
    assert marked(np.full(3, 2.0), threshold).all()
