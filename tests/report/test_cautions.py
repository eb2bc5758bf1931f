"""What not to conclude."""

import pytest

from voxplain.data.certificate import MODEL, Check
from voxplain.methods import METHODS
from voxplain.report.cautions import FAMILIES, MEANINGS, Shown, cautions
from voxplain.report.evidence import Evidence
from voxplain.report.words import Told
from voxplain.types import Quantity

PASSED = Check("finite", "passed", "ok")


def shown(
    method="lrp", checks=(PASSED,), quantity=Quantity.SCORE_UNITS, share=None, chance=None, none="", **named
) -> Shown:
    told = Told(method, Evidence(none=none, place="here", sides="middle"), checks, share, chance)
    return Shown(told, quantity, **{"derivative": False, "layer": "", "cells": "", "doubt": "", **named})


def words(*maps: Shown, prediction=None, label="") -> str:
    return " ".join(cautions(maps or (shown(),), prediction or {}, label))


def two(first: float) -> dict:
    return {"class_names": ["a", "b"], "probabilities": [first, 1 - first], "kind": "classification"}


def test_the_gravest_comes_first():
    failed = Check("completeness", "failed", "no")
    assert cautions([shown("lrp", (failed,))], {}, "")[0] == "Conclude nothing from lrp: a check failed."


def test_random_weights_are_said():
    noted = Check(MODEL, "noted", "no --weights were given, so the network's weights are random")
    assert "The network has random weights" in words(shown(checks=(noted,)))
    assert "random" not in words()


def test_noise_and_emptiness_are_no_findings():
    assert "gradient: the map lies like noise" in words(shown("gradient", doubt="neighbours unrelated"))
    noise = words(shown("gradient", doubt="as in noise", none="as in noise"))
    assert "an empty map" not in noise
    assert "rise: an empty map says that the method found nothing" in words(shown("rise", none="constant map"))


def test_a_narrow_answer_is_called_narrow():
    assert "hardly more likely than the next one (55.0 % against 45.0 %)" in words(prediction=two(0.55))
    assert "hardly more likely" not in words(prediction=two(0.75))


def test_a_wrong_answer_is_called_wrong():
    assert "The model says a but the label is b" in words(prediction=two(0.9), label="b")
    assert "but the label" not in words(prediction=two(0.9), label="a")


def test_without_a_mask_nothing_is_known_of_the_right_place():
    assert "There is no reference mask" in words()
    assert "There is no reference mask" not in words(shown(share=0.4, chance=0.1))


def test_evidence_no_better_than_chance_is_named():
    assert "rise: no more evidence inside the mask than by chance." in words(shown("rise", share=0.1, chance=0.1))
    assert "by chance" not in words(shown("rise", share=0.11, chance=0.1))


def test_picking_the_map_that_looks_right_is_warned_of_only_where_there_are_several():
    assert "do not pick" in words(shown("lrp"), shown("rise"))
    assert "do not pick" not in words(shown("lrp"))


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_has_its_caution(quantity):
    assert MEANINGS[quantity] in words(shown("a_method", quantity=quantity))


def test_a_derivative_is_no_evidence_for_or_against():
    told = words(shown("gradient", quantity=Quantity.RELEVANCE, derivative=True))
    assert "most sensitive right here, which is not what it rests on" in told
    assert MEANINGS[Quantity.RELEVANCE] not in told


def test_the_family_is_known_by_the_name_before_the_options():
    assert "another filling or window" in words(shown("occlusion(window=16, stride=4)"))
    assert "another filling or window" not in words(shown("ensemble(of=['occlusion'])"))


def test_maps_of_one_kind_share_a_sentence():
    told = cautions(
        [shown("grad_cam", cells="7 × 7 cells", layer="layer4"), shown("rise", cells="8 × 8 cells")], {}, ""
    )
    assert told[-1].startswith("The borders of grad_cam (7 × 7 cells, layer layer4), rise (8 × 8 cells) are borders of")


def test_every_method_named_in_a_family_exists_and_has_one_family():
    names = [name for family in FAMILIES for name in family]
    assert len(names) == len(set(names))
    assert set(names) <= set(METHODS)


def test_a_case_without_maps_has_none():
    assert cautions([], two(0.5), "b") == []
