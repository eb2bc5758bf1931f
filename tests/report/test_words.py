"""A case in plain words."""

import pytest

from voxplain.data.certificate import Check
from voxplain.report.evidence import Evidence
from voxplain.report.words import Told, checked, said, sure, where

PASSED, FAILED = Check("finite", "passed", "ok"), Check("completeness", "failed", "misses by 40 %")


def classification(*shares: float, names=("healthy", "glioma"), predicted=1, words="glioma (0.88)") -> dict:
    return {
        "kind": "classification",
        "class_names": list(names),
        "probabilities": list(shares),
        "predicted": predicted,
        "words": words,
    }


def told(
    method="occlusion", place="5 mm L", sides="left part", checks=(PASSED,), share=None, chance=None, **spot
) -> Told:
    return Told(method, Evidence(place=place, sides=sides, **spot), checks, share, chance)


def test_a_class_is_told_with_the_label():
    one = classification(0.125, 0.875)
    assert said(one, "") == ["The model says glioma."]
    assert said(one, "glioma") == [
        "The model says glioma.",
        "The label that came with the case is glioma: the model agrees.",
    ]
    assert said(one, "healthy")[1] == "The label that came with the case is healthy: the model disagrees."


def test_how_sure_names_the_next_class_and_what_the_numbers_are_worth():
    words = " ".join(sure(classification(0.125, 0.875)))
    assert words.startswith("It gives glioma a probability of 87.5 %; next is healthy with 12.5 %.")
    assert "whether they are calibrated, this run does not know" in words


def test_findings_that_do_not_exclude_each_other_have_no_winner():
    one = classification(0.7, 0.9, words="healthy, glioma")
    assert said(one, "glioma") == ["The model says healthy, glioma.", "The label that came with the case is glioma."]
    assert sure(one)[0] == "Each finding has a probability of its own; they do not add up to one."


@pytest.mark.parametrize(("label", "words"), [("78", "1.5 below it"), ("70", "6.5 above it")])
def test_a_value_is_held_against_the_label(label, words):
    one = {"kind": "regression", "scores": [76.5], "words": "76.5"}
    assert said(one, label) == [
        "The model says 76.5.",
        f"The value that came with the case is {label}: the model is {words}.",
    ]
    assert "how sure the model is, this run does not know" in sure(one)[0]


def test_a_label_in_words_is_not_held_against_a_value():
    one = {"kind": "regression", "scores": [76.5], "words": "76.5"}
    assert said(one, "old")[1] == "The value that came with the case is old."
    assert said(one, "") == ["The model says 76.5."]


def test_a_segmentation_has_no_probability():
    one = {"kind": "segmentation", "words": "rim: 704 voxels"}
    assert said(one, "") == ["The model says rim: 704 voxels."]
    assert "label for each voxel" in sure(one)[0]


@pytest.mark.parametrize("prediction", [{}, {"words": None}, {"kind": 3}])
def test_a_case_without_prediction_says_so(prediction):
    assert said(prediction, "x") == ["No prediction was stored with this case."]
    assert sure(prediction) == []


def test_one_map_tells_its_place():
    assert where([told()], "") == ["The map is strongest at 5 mm L, in the left part."]
    assert where([told(anatomy="Putamen")], "") == ["The map is strongest at 5 mm L, in the left part (Putamen)."]


def test_several_maps_are_counted_by_part_and_their_distance_told():
    maps = [told(sides="left part")] * 3 + [told(sides="middle"), told(sides="right part"), told(sides="upper part")]
    first, *_ = where(maps, "43 mm")
    assert first == (
        "3 of 6 maps are strongest in the left part, 1 in the middle, 1 in the right part, 1 elsewhere. "
        "Their strongest points lie up to 43 mm apart; each is listed below."
    )
    assert where([told(), told()], "2 mm")[0].startswith("All 2 maps are strongest in the left part. Their")


def test_the_mask_is_held_against_chance():
    near, far, equal = told(share=0.4, chance=0.1), told(share=0.05, chance=0.1), told(share=0.1, chance=0.1)
    assert where([near], "")[1] == "It has more of its evidence inside the mask than chance would put there."
    assert where([far], "")[1] == "It has no more of its evidence inside the mask than chance would put there."
    assert where([equal], "") == where([far], "")
    assert where([near, far], "1 mm")[1].startswith("1 of 2 maps have more of their evidence inside the mask")


def test_cases_without_maps_or_without_evidence_say_so():
    assert where([], "") == ["There is no map of this case, so nothing is known of where the evidence lies."]
    assert where([Told("m", Evidence(none="constant map"), (PASSED,), None, None)], "") == [
        "No map shows evidence at any place."
    ]


def test_checks_name_what_failed_and_what_was_never_checked():
    assert checked([told()])[0].startswith("The map passed its checks")
    assert checked([told(), told()])[0].startswith("All 2 maps passed their checks")
    words = checked([told(), told("lrp", checks=(PASSED, FAILED)), told("rise", checks=())])
    assert words == [
        "1 of 2 maps failed a check: lrp (completeness). Do not rely on them.",
        "No check was recorded for rise.",
    ]
    assert checked([told("rise", checks=())]) == ["No check was recorded for rise."]
