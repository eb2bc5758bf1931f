"""Ranks of methods over cases, and which differences hold."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from voxplain.errors import InputError
from voxplain.study.ranking import holm, ranking

# Demšar 2006, table 5: two-tailed Nemenyi critical values at level 0.05 for 2 to 10 methods.
NEMENYI = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


def table(levels, cases: int = 30, spread: float = 0.05) -> dict[str, np.ndarray]:
    """Scores of methods a, b ... around their levels."""
    random = np.random.default_rng(0)
    return {name: level + random.normal(0, spread, cases) for name, level in zip("abcdefghij", levels, strict=False)}


def test_the_best_method_of_every_case_has_rank_one():
    found = ranking({"worse": [0.1, 0.2, 0.3], "best": [0.9, 0.8, 0.7], "middle": [0.5, 0.5, 0.5]})
    assert found.mean_ranks == {"best": 1.0, "middle": 2.0, "worse": 3.0}
    assert list(found.mean_ranks) == ["best", "middle", "worse"]


def test_where_lower_is_better_ranks_turn_around():
    scores = {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert ranking(scores, better="lower").mean_ranks == {"a": 1.0, "b": 2.0}
    assert ranking(scores, better="higher").mean_ranks == {"b": 1.0, "a": 2.0}


def test_ties_share_their_ranks():
    found = ranking({"a": [1, 1], "b": [1, 1], "c": [0, 0]})
    assert found.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_cases_without_a_number_are_left_out_and_counted():
    found = ranking({"a": [1, 2, np.nan, 4], "b": [0, np.inf, 1, 2]})
    assert (found.cases, found.left_out) == (2, 2)


@pytest.mark.parametrize(("methods", "q"), NEMENYI.items())
def test_nemenyis_difference_is_that_of_the_table(methods, q):
    found = ranking(table(range(methods), cases=20), test="nemenyi")
    assert found.difference == pytest.approx(q * np.sqrt(methods * (methods + 1) / 120), abs=5e-4)


def test_friedmans_p_value_is_scipys():
    scores = table([0.5, 0.52, 0.55])
    assert ranking(scores).p_value == pytest.approx(stats.friedmanchisquare(*scores.values()).pvalue)
    assert ranking({"a": [1, 1, 1], "b": [1, 1, 1], "c": [1, 1, 1]}).p_value == 1


def test_far_methods_are_apart_and_near_ones_form_a_clique():
    for test in ("nemenyi", "wilcoxon_holm"):
        found = ranking(table([0.9, 0.9, 0.2]), test=test)
        assert [set(one) for one in found.cliques] == [{"a", "b"}]


def test_a_difference_exactly_at_the_critical_one_counts():
    # Three methods whose mean ranks are 1, 2 and 3 over n cases; n is such that the difference lies just below 1.
    cases = int(np.ceil(NEMENYI[3] ** 2 * 3 * 4 / 6)) + 1
    scores = {name: np.full(cases, level) for name, level in (("a", 3.0), ("b", 2.0), ("c", 1.0))}
    assert ranking(scores, test="nemenyi").cliques == ()
    fewer = {name: values[: cases - 2] for name, values in scores.items()}
    assert ranking(fewer, test="nemenyi").cliques == (("a", "b"), ("b", "c"))


def test_without_a_difference_all_methods_are_one_clique():
    found = ranking(table([0.5, 0.5, 0.5, 0.5]))
    assert found.p_value > 0.05
    assert found.cliques == (tuple(found.mean_ranks),)


def test_a_clique_within_another_is_not_told_twice():
    found = ranking(table([0.5, 0.51, 0.515, 0.9], spread=0.2), test="nemenyi")
    for one, other in combinations(found.cliques, 2):
        assert not set(one) <= set(other)
        assert not set(other) <= set(one)


def test_holms_steps_are_those_of_a_slow_second_way():
    scores = table([0.5, 0.52, 0.54, 0.6, 0.61], spread=0.05)
    pairs = list(combinations(scores, 2))
    p_values = sorted((stats.wilcoxon(scores[one], scores[other]).pvalue, one, other) for one, other in pairs)
    apart = set()
    for step, (p, one, other) in enumerate(p_values):
        if p * (len(pairs) - step) >= 0.05:
            break
        apart.add(frozenset((one, other)))
    found = ranking(scores)
    order = list(found.mean_ranks)
    runs = [tuple(order[i:j]) for i in range(5) for j in range(i + 2, 6)]
    alike = [run for run in runs if not any(frozenset(pair) in apart for pair in combinations(run, 2))]
    largest = {run for run in alike if not any(set(run) < set(other) for other in alike)}
    assert set(found.cliques) == largest
    assert 0 < len(apart) < len(pairs)


@pytest.mark.parametrize(
    ("scores", "options", "words"),
    [
        ({"a": [1, 2]}, {}, "at least two"),
        ({}, {}, "none"),
        ({"a": [1, 2], "b": [1]}, {}, "one score for each case, got a 2, b 1"),
        ({"a": [1, np.nan], "b": [1, 2]}, {}, "two cases with a score of every method, got 1"),
        ({"a": [1, 2], "b": [1, 3]}, {"alpha": 0}, "alpha must be between 0 and 1"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, options, words):
    with pytest.raises(InputError, match=words):
        ranking(scores, **options)


def test_a_step_of_holms_never_falls_below_the_one_before():
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
