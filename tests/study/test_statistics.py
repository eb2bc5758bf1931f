"""Numbers of cases as numbers of patients: averages, intervals, paired tests, and orders that metrics give."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import bootstrap, kendalltau, wilcoxon

from voxplain.study.ranking import holm, signed_rank
from voxplain.study.statistics import by_patient, complete, differences, mean, ranked
from voxplain.study.statistics_disagreement import disagreements, kendall

rng = np.random.default_rng(0)


def people(values):
    return {f"p{number:02}": float(value) for number, value in enumerate(values)}


def test_cases_of_one_patient_are_averaged_and_others_stand_alone():
    values = {"a1": 1.0, "a2": 3.0, "b": 10.0, "c": 4.0}
    found = by_patient(values, {"a1": "a", "a2": "a", "b": "b"})
    assert sorted(found.values()) == [2.0, 4.0, 10.0]
    assert found["a"] == 2.0


def test_a_case_without_a_patient_is_not_taken_for_a_patient_of_that_name():
    assert len(by_patient({"a": 1.0, "x": 2.0}, {"x": "a"})) == 2


def test_the_interval_is_that_of_scipys_percentile_bootstrap():
    values = rng.normal(size=25)
    found = mean(people(values))
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    assert found.value == pytest.approx(values.mean())
    # Ends of 2000 draws move by a few percent of the interval's width from seed to seed.
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.08 * (theirs.high - theirs.low))
    assert found.patients == 25


def test_the_interval_does_not_depend_on_the_order_of_patients():
    values = people(rng.normal(size=9))
    assert mean(dict(reversed(values.items()))) == mean(values)


def test_one_patient_has_no_interval_and_it_is_said():
    found = mean({"a": 2.0})
    assert (found.value, found.low, found.high) == (2.0, None, None)
    assert "one patient" in found.interval


def test_differences_are_first_minus_second_over_common_patients():
    scores = {"one": {"a": 3.0, "b": 4.0, "c": 9.0}, "other": {"a": 1.0, "b": 1.0, "d": 100.0}}
    (found,) = differences(scores, [("one", "other")])
    assert found.difference.value == 2.5
    assert found.difference.patients == 2
    assert found.difference.low >= 2.0


def test_tests_are_wilcoxons_and_corrected_over_the_family():
    columns = {name: people(rng.normal(shift, 1, 20)) for name, shift in (("a", 0), ("b", 0.8), ("c", 2))}
    found = differences(columns, combinations(columns, 2))
    plain = [
        wilcoxon([*columns[one].values()], [*columns[other].values()]).pvalue for one, other in combinations(columns, 2)
    ]
    assert [one.p_value for one in found] == pytest.approx(plain)
    order = np.argsort(plain)
    running, expected = 0.0, [0.0] * 3
    for place, index in enumerate(order):
        running = max(running, plain[index] * (3 - place))
        expected[index] = min(running, 1.0)
    assert [one.p_holm for one in found] == pytest.approx(expected)


def test_holm_keeps_the_order_of_what_it_was_given_and_never_exceeds_one():
    # 0.01 * 3, max(0.03 * 2, 0.03), max(0.04 * 1, 0.06): the classic example.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_numbers_do_not_differ():
    assert signed_rank(np.ones(5), np.ones(5)) == 1.0


def test_pairs_without_a_common_patient_are_left_out():
    assert differences({"a": {"x": 1.0}, "b": {"y": 1.0}}, [("a", "b")]) == []


def test_ranks_heed_the_direction_of_the_metric():
    scores = {"good": people([3, 4, 5]), "bad": people([1, 2, 3])}
    assert ranked(scores, "higher").mean_ranks == {"good": 1.0, "bad": 2.0}
    assert ranked(scores, "lower").mean_ranks == {"bad": 1.0, "good": 2.0}


def test_patients_without_all_numbers_are_counted_as_left_out():
    scores = {"a": people([1, 2, 3]), "b": {"p00": 1.0, "p01": 0.0}}
    found = ranked(scores, "higher")
    assert (found.cases, found.left_out) == (2, 1)


def test_a_method_without_any_number_does_not_keep_the_others_from_being_ranked():
    found = ranked({"a": people([1, 2, 3]), "b": people([2, 3, 4]), "c": {}}, "higher")
    assert list(found.mean_ranks) == ["b", "a"]
    assert complete({"a": people([1]), "c": {}})[0] == ["a"]


def test_one_patient_is_not_ranked():
    assert ranked({"a": people([1]), "b": people([2])}, "higher") is None


def test_kendalls_tau_is_scipys_with_ties_too():
    for _ in range(20):
        orders = rng.integers(0, 5, (2, 7)).astype(float)
        assert kendall(orders[None])[0] == pytest.approx(kendalltau(*orders).statistic, nan_ok=True)


def table(order, patients=6):
    """Every patient orders the methods alike."""
    return {name: people(value + np.zeros(patients)) for name, value in zip("abcd", order, strict=True)}


def test_opposite_orders_are_found_first_with_their_best_methods():
    scores = {"one": table([4, 3, 2, 1]), "two": table([4, 3, 2, 1]), "three": table([1, 2, 3, 4])}
    better = dict.fromkeys(scores, "higher")
    found = disagreements(scores, better)
    assert [one.tau for one in found] == [-1.0, -1.0, 1.0]
    assert found[0].best == ("a", "d")
    assert len(found[0].turned) == 6
    assert ("a", "d") in found[0].turned
    assert (found[0].low, found[0].high) == (-1.0, -1.0)


def test_a_metric_of_which_less_is_better_is_turned_round():
    scores = {"one": table([4, 3, 2, 1]), "two": table([1, 2, 3, 4])}
    (found,) = disagreements(scores, {"one": "higher", "two": "lower"})
    assert found.tau == 1.0
    assert found.turned == ()


def test_methods_that_only_one_metric_knows_do_not_count():
    scores = {"one": table([4, 3, 2, 1]), "two": {**table([1, 2, 3, 9]), "d": {}}}
    (found,) = disagreements(scores, dict.fromkeys(scores, "higher"))
    assert found.best == ("a", "c")
    assert found.tau == -1.0


def test_two_methods_say_nothing_about_agreement():
    scores = {name: {method: people([1.0, 2.0]) for method in "ab"} for name in ("one", "two")}
    assert disagreements(scores, dict.fromkeys(scores, "higher")) == []


def test_a_metric_that_ties_all_methods_has_no_tau_and_comes_last():
    scores = {"one": table([4, 3, 2, 1]), "flat": table([1, 1, 1, 1]), "two": table([4, 3, 2, 1])}
    found = disagreements(scores, dict.fromkeys(scores, "higher"))
    assert [one.tau for one in found] == [1.0, None, None]
    assert {one.turned for one in found} == {()}
