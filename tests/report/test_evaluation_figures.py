"""The figures and tables of an evaluation: mean curves over patients, ranks by metrics, and agreement of metrics."""

import pytest

from voxplain.report.evaluation_figures import draw_agreement, draw_ranks, gathered_curves, mean_curves
from voxplain.study.evaluate_words import beside_words, summary_words, too_few
from voxplain.study.evaluate_words import test_words as words_of_tests


def row(case, values, *, group="", method="m", control=False, at=(0, 0.5, 1)):
    curve = {"removed": {"at": at, "values": values, "along": "share"}}
    return {"case": case, "group": group, "target": "t", "metric": "d", "method": method, "layer": "",
            "control": control, "curves": curve}  # fmt: skip


def test_mean_curves_average_cases_within_patients():
    rows = [row("a1", [1, 2, 3], group="a"), row("a2", [3, 4, 5], group="a"), row("b", [10, 0, 2], group="b")]
    lines = gathered_curves(rows)["t", "d", "removed"]
    (curve,) = mean_curves(lines)
    assert curve.name == "m"
    assert list(curve.y) == [6, 1.5, 3]
    assert (curve.low[0], curve.high[0]) == (2, 10)


def test_curves_of_one_patient_have_no_band_and_controls_are_marked():
    lines = gathered_curves([row("a", [1, 2, 3], control=True)])["t", "d", "removed"]
    (curve,) = mean_curves(lines)
    assert curve.low is None
    assert curve.control


def test_curves_with_other_steps_or_without_numbers_are_left_out():
    rows = [row("a", [1, 2, 3]), row("b", [1, 2], at=(0, 1)), row("c", [1, None, 3])]
    lines = gathered_curves(rows)["t", "d", "removed"]
    assert list(lines["m"].by_patient) == ["case a"]


def texts(picture):
    return [one.get_text() for one in picture.axes[0].texts]


def test_agreement_is_symmetric_and_missing_pairs_are_told():
    pairs = [{"first": "a", "second": "b", "tau": -0.5}, {"first": "a", "second": "c", "tau": None}]
    assert texts(draw_agreement(pairs)) == ["1", "-0.5", "–", "-0.5", "1", "–", "–", "–", "1"]


def test_ranks_stand_with_the_best_method_on_top():
    groups = [
        {"metric": "x", "ranking": {"mean_ranks": {"bad": 2.0, "good": 1.0}}},
        {"metric": "y", "ranking": {"mean_ranks": {"bad": 1.75, "good": 1.25}}},
    ]
    picture = draw_ranks(groups)
    assert [one.get_text() for one in picture.axes[0].get_yticklabels()] == ["good", "bad"]
    assert texts(picture) == ["1", "1.2", "2", "1.8"]


def pair(p_holm, *, patients=20, second="random_map"):
    return {"first": "m", "second": second, "p_holm": p_holm, "patients": patients}


def test_words_say_which_methods_differ_from_a_control():
    (line,) = beside_words({"against_controls": [pair(0.01), {**pair(0.2), "first": "n"}]})
    assert line == "From random_map: m (p = 0.010) differs; no difference was found for n."
    (line,) = beside_words({"against_controls": [pair(0.2)]})
    assert line == "From random_map: no method was found to differ."


@pytest.mark.parametrize(("patients", "pairs", "few"), [(5, 1, True), (6, 1, False), (6, 2, True), (9, 10, False)])
def test_too_few_patients_for_any_pair_to_differ_are_told(patients, pairs, few):
    """The smallest p of n patients is 2 / 2^n; Holm's first step multiplies it by the number of pairs."""
    assert too_few([pair(1.0, patients=patients)] * pairs) is few
    assert (2 * 0.5**patients * pairs >= 0.05) is few
    group = {"against_controls": [pair(1.0, patients=patients)] * pairs}
    assert any("too few" in line for line in beside_words(group)) is few


def test_words_of_a_ranking():
    ranking = {"mean_ranks": {"a": 1, "b": 2, "c": 3}, "p_value": 0.0004, "cases": 20}
    group = {"metric": "deletion", "ranking": ranking, "pairs": [pair(0.01), pair(0.3)]}
    assert words_of_tests(group) == (
        "Friedman p < 0.001 over 20 patients; 1 of 2 pairs of methods differ (Wilcoxon, Holm)"
    )
    unclear = {**group, "ranking": {**ranking, "p_value": 0.5}}
    assert words_of_tests(unclear) == "Friedman p = 0.500 over 20 patients: no difference between methods was found"
    assert words_of_tests({**group, "metric": "seconds"}) == ""
    assert words_of_tests({**group, "ranking": None}) == ""


def mean(method, value, **more):
    told = {"method": method, "control": False, "value": value, "low": 0.1, "high": 0.9, "n": 4, "patients": 2,
            "mean_rank": None, "not_applicable": 0, "failed": 0, "reasons": {}}  # fmt: skip
    return {**told, **more}


def test_methods_stand_from_the_best_to_the_worst_and_missing_numbers_with_their_reasons():
    group = {
        "metric": "deletion", "target": "t", "ranking": None, "pairs": [],
        "means": [mean("worse", 0.7), mean("none", None, reasons={"no mask": 4}), mean("best", 0.2, control=True)],
    }  # fmt: skip
    found = {"interval": "x", "groups": [group], "metrics": {"deletion": {"better": "lower"}}, "disagreement": []}
    lines = summary_words(found)
    assert [line.split()[0] for line in lines[3:6]] == ["best", "worse", "none"]
    assert "0.2 (0.1 to 0.9), n = 4 of 2 patients" in lines[3]
    assert lines[5].endswith("no number: no mask")
    assert lines[-1] == "4 numbers missing: no mask"
