"""Answers of readers: letters, checks, and what they add up to."""

import csv
import json

import pytest

from tests.study.answering import SHAM, answers, key, saved
from voxplain.errors import FileError, InputError
from voxplain.study.feedback import CAUSABILITY, ITEMS, Question, lettered, read_key, run_hash, shuffled, write_key
from voxplain.study.feedback_answers import collected, write_csv
from voxplain.study.feedback_summary import summary
from voxplain.study.feedback_words import missing_words, summary_words


def found(folder, of, *told):
    return collected(saved(folder, *told), [of])


def told_of(folder, of, *told):
    return summary(found(folder, of, *told))


def item(table, name="location"):
    return next(one for one in table["items"] if one["item"] == name)


def means(table, name="location"):
    return {one["method"]: one["value"] for one in item(table, name)["means"]}


def reading(table, name):
    return next(one["value"] for one in table["readings"] if one["measure"] == name)


# --- letters and keys


def test_letters_follow_from_seed_and_case_and_from_nothing_else():
    methods = [f"m{n}" for n in range(8)]
    first = lettered(methods, "run", 0, "c1")
    assert first == lettered(methods, "run", 0, "c1")
    assert [*first] == [*"ABCDEFGH"]
    assert sorted(first.values()) == methods
    others = [lettered(methods, *told) for told in (("run", 1, "c1"), ("run", 0, "c2"), ("other", 0, "c1"))]
    assert all(one != first for one in others)


def test_every_method_comes_first_equally_often():
    firsts = [shuffled(["a", "b", "c"], seed)[0] for seed in range(600)]
    # 200 of 600 with a standard deviation of 11.5.
    assert all(150 < firsts.count(name) < 250 for name in "abc")


def test_more_maps_than_letters_are_refused():
    with pytest.raises(InputError, match="at most 26 for a reader, got 27"):
        lettered([str(n) for n in range(27)], "run")


def test_a_run_that_changed_has_another_hash(tmp_path):
    (tmp_path / "plan.toml").write_text("a")
    (tmp_path / "rows.jsonl").write_text("b")
    before = run_hash(tmp_path)
    (tmp_path / "rows.jsonl").write_text("c")
    assert run_hash(tmp_path) != before


def test_a_key_comes_back_as_it_went(tmp_path):
    of = key(sham=SHAM, causability=True)
    write_key(tmp_path / "form.key.json", of)
    assert read_key(tmp_path / "form.key.json") == of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be a readable JSON file"),
        ("[]", "must be of voxplain-feedback-key/1, got 'list'"),
        ('{"schema": "voxplain-feedback-answers/1"}', "got 'voxplain-feedback-answers/1'"),
        ('{"schema": "voxplain-feedback-key/1"}', "as voxplain feedback form wrote it"),
        ('{"schema": "voxplain-feedback-key/1", "question": 3, "cases": []}', "as voxplain feedback form wrote it"),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path, text, words):
    (tmp_path / "form.key.json").write_text(text)
    with pytest.raises(FileError, match=words):
        read_key(tmp_path / "form.key.json")


# --- checks of answers


def test_letters_become_methods_again(tmp_path):
    of = key()
    table = told_of(tmp_path, of, answers(of, near=5, far=2))
    assert means(table) == {"near": 5, "far": 2}
    assert [one["n"] for one in item(table)["means"]] == [3, 3]
    assert [one["counts"] for one in item(table)["means"]] == [[0, 0, 0, 0, 3], [0, 3, 0, 0, 0]]


def test_answers_to_another_form_are_refused(tmp_path):
    with pytest.raises(InputError, match="must answer form f00d, got 'beef'"):
        found(tmp_path, key(), answers(key(form="beef")))


def test_a_reader_answers_once(tmp_path):
    of = key()
    with pytest.raises(InputError, match=r"reader 'R1' must answer once, got 'answers-0.json' and 'answers-1.json'"):
        found(tmp_path, of, answers(of), answers(of, " R1 "))


def test_a_reader_must_be_named(tmp_path):
    of = key()
    with pytest.raises(InputError, match="must name its reader by a code, got ' '"):
        found(tmp_path, of, answers(of, " "))


@pytest.mark.parametrize(
    ("place", "name", "value", "words"),
    [
        ("map", "location", 6, "location must be a whole number from 1 to 5, got 6"),
        ("map", "location", 0, "from 1 to 5, got 0"),
        ("map", "clarity", 2.5, "whole number"),
        ("map", "clarity", True, "got True"),
        ("map", "clarity", "4", "got '4'"),
        ("map", "seconds", -1, "seconds must be a number from 0"),
        ("before", "answer", 2, "answer_before must be a whole number from 0 to 1, got 2"),
        ("after", "confidence", 101, "confidence_after must be a number from 0 to 100, got 101"),
        ("before", "confidence", float("nan"), "got nan"),
    ],
)
def test_a_value_out_of_its_range_is_refused(tmp_path, place, name, value, words):
    of = key()
    told = answers(of)
    case = told["cases"][0]
    (case["maps"]["A"] if place == "map" else case[place])[name] = value
    with pytest.raises(InputError, match=words):
        found(tmp_path, of, told)


def test_maps_and_cases_that_the_form_does_not_have_are_refused(tmp_path):
    of = key()
    told = answers(of)
    told["cases"][1]["maps"]["Z"] = {}
    with pytest.raises(InputError, match="must rate maps A, B of case 2, got 'Z'"):
        found(tmp_path, of, told)
    with pytest.raises(InputError, match="must answer cases 1 to 2, got 3"):
        found(tmp_path, key(2), answers(key(3)))


@pytest.mark.parametrize("cases", [None, 3, [1], [{"case": "1"}], [{"case": 1, "maps": [1]}]])
def test_what_is_not_as_the_form_saved_it_is_refused(tmp_path, cases):
    of = key()
    with pytest.raises(FileError, match="as the form saved them"):
        found(tmp_path, of, {**answers(of), "cases": cases})


def test_what_is_missing_is_told_and_the_rest_counts(tmp_path):
    of = key()
    told = answers(of)
    del told["cases"][0]["maps"]["A"]["trust"]
    del told["cases"][2]["after"]
    both = found(tmp_path, of, told, answers(of, "R2"))
    assert both.missing == {"R1": ["case 1 map A trust", "case 3 after answer", "case 3 after confidence"], "R2": []}
    assert missing_words(both.missing) == [
        "reader 'R1' left 3 unanswered: case 1 map A trust, case 3 after answer, case 3 after confidence"
    ]
    assert sum(one["n"] for one in item(summary(both), "trust")["means"]) == 11


def test_forms_of_one_run_are_collected_together(tmp_path):
    first, second = key(form="one"), key(form="two")
    files = saved(tmp_path, answers(first, "R1", near=4), answers(second, "R2", near=2))
    assert means(summary(collected(files, [first, second])))["near"] == 3
    for other in (key(form="two", run="other"), key(2, form="two"), key(form="two", sham=SHAM)):
        with pytest.raises(InputError, match="must be of forms of one run with the same cases, maps and question"):
            collected(files, [first, other])


def test_the_long_table_has_a_line_for_every_answer(tmp_path):
    of = key(1, causability=True)
    told = answers(of)
    told["cases"][0]["comment"] = "=HYPERLINK(1)"
    write_csv(tmp_path / "feedback.csv", found(tmp_path, of, told).told)
    rows = [*csv.DictReader((tmp_path / "feedback.csv").read_text().splitlines())]
    assert len(rows) == 2 * 3 + 2 * (len(ITEMS) + 1) + len(CAUSABILITY) + 1
    assert {one["item"]: one["words"] for one in rows if one["item"].startswith("answer")} == {
        "answer_before": "healthy", "answer_after": "glioma",
    }  # fmt: skip
    # A spreadsheet would run it.
    assert [one["words"] for one in rows if one["item"] == "comment"] == ["'=HYPERLINK(1)"]


# --- what they add up to


def test_the_best_stands_first_by_the_direction_of_the_item(tmp_path):
    of = key(sham=SHAM)
    table = told_of(tmp_path, of, answers(of, near=5, far=2, random_map=1))
    assert [one["method"] for one in item(table)["means"]] == ["near", "far", SHAM]
    assert [one["method"] for one in item(table, "distraction")["means"]] == ["far", "near", SHAM]
    assert item(table)["ranking"]["mean_ranks"] == {"near": 1, "far": 2}
    assert item(table, "distraction")["ranking"]["mean_ranks"] == {"far": 1, "near": 2}


def test_pairs_are_tested_over_patients_and_the_sham_apart(tmp_path):
    of = key(12, sham=SHAM)
    table = item(told_of(tmp_path, of, answers(of, near=4, far=3, random_map=1)))
    (pair,) = table["pairs"]
    assert (pair["first"], pair["second"]) in {("near", "far"), ("far", "near")}
    assert abs(pair["difference"]) == 1
    # Six patients that all differ in one direction: twice 0.5 ** 6.
    assert (pair["patients"], pair["p"]) == (6, pytest.approx(2 * 0.5**6))
    assert {(one["first"], one["second"]): one["difference"] for one in table["against_sham"]} == {
        ("near", SHAM): 3, ("far", SHAM): 2,
    }  # fmt: skip
    assert [one["p_holm"] for one in table["against_sham"]] == pytest.approx([4 * 0.5**6] * 2)


def test_a_reader_who_rated_only_some_maps_of_a_case_has_no_say_in_its_tests(tmp_path):
    of = key(4)
    strict, kind = answers(of, "R1", near=2, far=1), answers(of, "R2", near=5, far=4)
    for case, letters in zip(kind["cases"], of.cases, strict=True):
        (letter,) = (one for one, method in letters.maps.items() if method == "far")
        del case["maps"][letter]["location"]
    (pair,) = item(told_of(tmp_path, of, strict, kind))["pairs"]
    # With R2's ratings of one side only, the means would be 3.5 and 1.
    assert abs(pair["difference"]) == 1


def test_one_reader_agrees_with_nobody(tmp_path):
    of = key()
    table = told_of(tmp_path, of, answers(of))
    assert all(one["alpha"] is None and one["icc_single"] is None for one in table["agreement"])
    assert table["kappas"] == []
    assert "  one reader only: nothing can be said about agreement between readers" in summary_words(table)


def test_agreement_is_over_the_real_maps(tmp_path):
    of = key(4, sham=SHAM)
    first, second = answers(of, "R1", near=5, far=1, random_map=1), answers(of, "R2", near=5, far=1, random_map=5)
    (location, *_) = told_of(tmp_path, of, first, second)["agreement"]
    assert (location["alpha"]["value"], location["icc_single"]["value"]) == pytest.approx((1, 1))
    assert (location["units"], location["whole"]) == (8, 8)


def test_readings_before_and_after(tmp_path):
    of = key(4)
    first, second = answers(of, "R1"), answers(of, "R2")
    for case in second["cases"][1:]:
        case["after"]["answer"] = 0
    table = told_of(tmp_path, of, first, second)
    # R1 turns from healthy to glioma in all four cases, R2 in the first; the model says glioma, labels 1 and 3 do too.
    expected = {
        "changed": 5 / 8, "agrees_before": 0, "agrees_after": 5 / 8, "right_before": 0.5, "right_after": 5 / 8,
        "corrected": 3 / 8, "misled": 2 / 8, "confidence_before": 60, "confidence_after": 75, "confidence_change": 15,
        "seconds_before": 20, "seconds_map": 8, "seconds_after": 5,
    }  # fmt: skip
    assert {one["measure"]: one["value"] for one in table["readings"]} == expected
    kappas = {one["when"]: one["kappa"] for one in table["kappas"]}
    assert kappas["before"] is None  # all healthy: chance explains it
    # One case of four agrees; 5 of 8 say glioma, so chance is 34 / 64.
    assert kappas["after"]["value"] == pytest.approx((16 - 34) / (64 - 34))


def test_numbers_are_held_against_the_models_number(tmp_path):
    of = key(2, question=Question("Which age?", ()))
    told = answers(of)
    for case in told["cases"]:
        case["before"]["answer"], case["after"]["answer"] = 41.5, 3.0
    table = told_of(tmp_path, of, told)
    assert (reading(table, "from_model_before"), reading(table, "from_model_after")) == (40.5, 2)
    assert reading(table, "from_label_after") == 2.5  # labels 1 and 0
    assert all(one["measure"] not in ("agrees_before", "corrected") for one in table["readings"])


def test_a_reader_who_takes_the_sham_for_real_is_named(tmp_path):
    of = key(sham=SHAM)
    awake, asleep = answers(of, "R1", near=4, far=4, random_map=1), answers(of, "R2", near=3, far=3, random_map=3)
    told = {one["reader"]: one for one in told_of(tmp_path, of, awake, asleep)["attention"]}
    assert (told["R1"]["sham"], told["R1"]["real"], told["R1"]["told_apart"]) == (1, 4, True)
    assert told["R2"]["told_apart"] is False


def test_the_causability_scale_is_the_sum_by_fifty(tmp_path):
    of = key(causability=True)
    first, second = answers(of, "R1"), answers(of, "R2")
    first["causability"]["factors"] = 1
    del second["causability"]["detail"]
    both = found(tmp_path, of, first, second)
    assert summary(both)["causability"] == [{"reader": "R1", "score": 37 / 50}]
    assert both.missing["R2"] == ["causability_detail"]


def test_the_summary_is_plain_json(tmp_path):
    of = key(sham=SHAM, causability=True)
    table = told_of(tmp_path, of, answers(of, "R1", near=5), answers(of, "R2", far=4))
    assert json.loads(json.dumps(table))["schema"] == "voxplain-feedback/1"
    assert "near: 4.00 (3.00 to 5.00), n = 6" in "\n".join(summary_words(table))
