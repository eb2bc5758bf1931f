"""Agreement of readers against published numbers and closed forms."""

import numpy as np
import pytest

from voxplain.study.feedback_agreement import (
    coincidences,
    fleiss_kappa,
    kappa_sums,
    mean_of_readers,
    ordinal_alpha,
    over_patients,
    single_reader,
    variance_sums,
)
from voxplain.study.feedback_estimates import crossed

GAP = np.nan

KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
    [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
]).T  # fmt: skip
"""Krippendorff 2011, four observers of twelve units: ordinal alpha 0.815."""

SHROUT = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64
)
"""Shrout and Fleiss 1979, table 2: ICC(2,1) 0.29 and ICC(2,4) 0.62."""

FLEISS = (
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1), (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip
"""Ten units, fourteen readers, five answers: kappa 0.210."""

ROUNDED = 5e-4
"""Published numbers have three digits."""


def test_alpha_is_krippendorffs():
    assert ordinal_alpha(coincidences(KRIPPENDORFF).sum(axis=0)) == pytest.approx(0.815, abs=ROUNDED)


def test_alpha_does_not_depend_on_who_is_called_what():
    turned = KRIPPENDORFF[::-1, [2, 0, 3, 1]]
    assert ordinal_alpha(coincidences(turned).sum(axis=0)) == pytest.approx(0.8153, abs=ROUNDED)


def test_alpha_of_full_agreement_is_one_and_of_one_rating_undefined():
    alike = np.repeat(np.array([[1.0], [3.0], [5.0]]), 3, axis=1)
    assert ordinal_alpha(coincidences(alike).sum(axis=0)) == pytest.approx(1)
    assert np.isnan(ordinal_alpha(coincidences(np.full((4, 3), 2.0)).sum(axis=0)))


def test_a_unit_that_one_reader_rated_has_no_say():
    with_one = np.vstack([KRIPPENDORFF, [[5, GAP, GAP, GAP]]])
    assert coincidences(with_one)[-1].sum() == 0


def test_intraclass_correlations_are_those_of_shrout_and_fleiss():
    sums = variance_sums(SHROUT).sum(axis=0)
    assert single_reader(sums) == pytest.approx(0.290, abs=ROUNDED)
    assert mean_of_readers(sums) == pytest.approx(0.620, abs=ROUNDED)


def test_a_reader_who_is_always_stricter_costs_absolute_agreement():
    apart = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    # Mean squares: units 2, readers 1.5, rest 0: 2 / (2 + 2 * 1.5 / 3) by hand.
    assert single_reader(variance_sums(apart).sum(axis=0)) == pytest.approx(2 / 3)
    assert mean_of_readers(variance_sums(apart).sum(axis=0)) == pytest.approx(2 / 2.5)


def test_kappa_is_fleiss():
    readings = np.array([np.repeat(np.arange(5.0), counts) for counts in FLEISS])
    assert fleiss_kappa(kappa_sums(readings, 5).sum(axis=0)) == pytest.approx(0.210, abs=ROUNDED)


def test_patients_are_drawn_and_not_their_units():
    readings = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    of_two = over_patients(kappa_sums(readings, 2), ["a", "a", "b", "b"], fleiss_kappa)
    # Patient a agrees fully, b never: a draw holds a alone, b alone, or both.
    assert (of_two.value, of_two.low, of_two.high, of_two.patients) == pytest.approx((0, -1, 1, 2))
    of_one = over_patients(kappa_sums(readings, 2), ["a"] * 4, fleiss_kappa)
    assert (of_one.value, of_one.low, of_one.patients) == (pytest.approx(0), None, 1)


def test_what_is_not_defined_is_none():
    assert over_patients(coincidences(np.full((3, 2), 4.0)), ["a", "b", "c"], ordinal_alpha) is None
    assert over_patients(variance_sums(SHROUT[:1]), ["a"], single_reader) is None
    assert over_patients(np.zeros((0, 7)), [], single_reader) is None


PATIENTS = {"c1": "a", "c2": "a", "c3": "b"}


def test_cases_of_a_patient_count_once():
    found = crossed({("R1", "c1"): 1.0, ("R1", "c2"): 3.0, ("R1", "c3"): 5.0}, PATIENTS)
    assert (found.value, found.patients) == (3.5, 2)


def test_one_reader_leaves_the_patients_to_draw():
    found = crossed({("R1", "c1"): 1.0, ("R1", "c3"): 5.0}, PATIENTS)
    assert (found.low, found.high, found.interval) == (1, 5, "95 % by bootstrap over patients")


def test_readers_are_drawn_too():
    found = crossed(
        {(reader, case): value for reader, value in (("R1", 1.0), ("R2", 5.0)) for case in PATIENTS}, PATIENTS
    )
    assert (found.value, found.low, found.high) == (3, 1, 5)
    assert found.interval == "95 % by bootstrap over readers and patients"


def test_one_reader_of_one_patient_has_no_interval():
    found = crossed({("R1", "c1"): 2.0, ("R1", "c2"): 3.0}, PATIENTS)
    assert (found.value, found.low, found.high) == (2.5, None, None)


def test_a_case_that_a_reader_left_out_does_not_pull_the_mean_to_zero():
    values = {("R1", "c1"): 4.0, ("R1", "c3"): 4.0, ("R2", "c1"): 4.0}
    found = crossed(values, PATIENTS)
    assert (found.value, found.low, found.high) == pytest.approx((4, 4, 4))
