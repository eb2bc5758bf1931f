"""The parts of an audit alone: places, verdicts, clusters, answers, advice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.study.audited import SIDE, cases, plan
from voxplain.study import audit_agreement, audit_occlusion, audit_outside
from voxplain.study.audit_answers import answers
from voxplain.study.audit_body import body, bright
from voxplain.study.audit_clusters import clustered
from voxplain.study.audit_cohort import Cohort, Seen, SeenMap, by_class, small
from voxplain.study.audit_places import CORNERS, OUTSIDE, border, corners, elsewhere, places, shares
from voxplain.study.audit_recommend import recommend, shortcut
from voxplain.study.audit_verdict import Finding, Verdict, above, below, estimate, worst
from voxplain.study.statistics import Estimate


def test_corners_are_named_as_a_reader_sees_them():
    found = corners((20, 30))
    assert list(found) == ["upper left", "upper right", "lower left", "lower right"]
    rows, columns = np.nonzero(found["upper right"])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 3, 24, 29)
    assert len(corners((10, 10, 10))) == 8


def test_the_border_goes_round_everywhere():
    found = border((32, 48))
    assert found.sum() == 32 * 48 - 28 * 42
    assert found[0].all()
    assert found[:, -3:].all()
    assert not found[2, 3]


def test_the_body_is_what_is_bright_with_what_it_encloses_but_no_letter():
    ready = Cohort(plan("corners"), tuple(cases(2))).ready(cases(2)[1])
    x = ready.x.clone()
    x[..., 17:23, 17:23] = 0.0  # such as a lung
    inside = body(replace(ready, x=x), "otsu")
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = np.hypot(rows, columns)
    assert inside[away < 13].all()
    assert not inside[away > 18].any()  # where the marker is


def test_lungs_that_open_to_the_air_by_a_gap_belong_to_the_body():
    film = np.full((64, 64), 0.02)
    film[12:, 8:56] = 0.8
    film[24:44, 14:28] = 0.3  # a lung
    film[8:24, 20:23] = 0.02  # a gap up to the air
    film[3:9, 2:5] = 1.0  # a letter
    found = bright(film)
    assert found[20:60, 12:52].all()
    assert not found[:10, :6].any()


def test_a_lung_at_the_edge_of_the_image_is_brighter_than_air():
    film = np.full((64, 64), 0.02)
    film[12:, 8:56] = 0.8
    film[30:64, 14:28] = 0.3
    assert bright(film)[16:, 12:52].all()


def test_a_gap_between_arm_and_trunk_that_leaves_the_image_is_bridged_to_the_end():
    film = np.full((64, 64), 0.9)
    film[:8] = 0.0
    film[40:, 30:35] = 0.0
    assert bright(film)[10:].all()


def test_a_body_at_the_edge_goes_on_beyond_it():
    film = np.zeros((48, 48))
    film[20:] = 1.0
    film[30:40, 10:20] = 0.0
    found = bright(film)
    assert found[22:].all()
    assert not found[:17].any()


def test_a_place_elsewhere_keeps_its_area_and_shape():
    mask = border((12, 20))
    found = elsewhere(mask, np.random.default_rng(0), 5)
    assert [one.sum() for one in found] == [mask.sum()] * 5
    shifts = [(row, column) for row in range(12) for column in range(20)]
    assert all(any((np.roll(mask, shift, (0, 1)) == one).all() for shift in shifts) for one in found)
    assert len({one.tobytes() for one in found}) > 1


def test_a_body_that_fills_the_image_leaves_no_place_outside():
    ready = Cohort(plan("corners"), tuple(cases(1))).ready(cases(1)[0])
    assert OUTSIDE in places(ready, "otsu")
    assert OUTSIDE not in places(ready, "nonzero")
    assert OUTSIDE not in places(ready, "mask")  # the case has none


def test_shares_are_of_the_net_magnitude():
    values = torch.zeros(2, 4, 4)
    values[0, 0, 0], values[1, 0, 0], values[0, 3, 3] = 3.0, -2.0, -3.0
    there = np.zeros((4, 4), dtype=bool)
    there[0, 0] = True
    assert shares(values, {"place": there}) == {"place": 0.25}


def test_small_maps_keep_where_things_are_and_add_up_to_one():
    values = torch.zeros(1, 32, 64)
    values[0, :2, -4:] = -7.0
    found = np.reshape(small(values), (16, 16))
    assert found[0, 15] == 1.0
    assert found.sum() == 1.0


def test_a_number_counts_as_bad_only_with_its_whole_interval():
    sure, unsure = Estimate(5.0, 4.5, 6.0, 9, ""), Estimate(5.0, 1.5, 9.0, 9, "")
    assert above(sure, 2, 4) == "fail"
    assert above(unsure, 1, 4) == "look"
    assert above(unsure, 2, 4) == "ok"
    assert above(Estimate(5.0, None, None, 1, ""), 2, 4) == "fail"
    assert [below(Estimate(one, None, None, 1, ""), 0.5, 0.25) for one in (0.1, 0.3, 0.6)] == ["fail", "look", "ok"]
    assert worst(["ok", "not applicable", "look"]) == "look"
    assert worst([]) == "not applicable"


def test_verdicts_survive_a_file():
    finding = Finding("gradient", "look", "words", 0.5, 0.25, None, 3, {"cases": {"a": 1.0}})
    verdict = Verdict("sanity", "Title", "look", "sentence", "quantity", "rule", (finding,), {"more": [1]})
    assert Verdict.from_table(verdict.to_table()) == verdict
    assert verdict.to_table()["value"] == 0.5


def test_clusters_are_found_by_the_gap_and_ordered_by_size():
    draw = np.random.default_rng(0)
    sizes = (5, 12, 8)
    maps = np.concatenate(
        [np.eye(16)[[number] * size] * 20 + draw.random((size, 16)) for number, size in enumerate(sizes)]
    )
    found = clustered(maps / maps.sum(axis=1, keepdims=True))
    assert np.bincount(found.labels).tolist() == [12, 8, 5]
    assert [set(found.labels[:5]), set(found.labels[5:17]), set(found.labels[17:])] == [{2}, {0}, {1}]
    assert found.embedding.shape == (25, 2)


def seen(number, said="a", *, score=1.0, covered=0.0, elsewhere=None, share=0.2, label=None, group=""):
    """A case whose score does not change when the same shape is wiped elsewhere, unless that is said."""
    where = {CORNERS: 0.1}
    own = {"m": SeenMap({CORNERS: share}, (1.0,), ())}
    beside = {CORNERS: [score] if elsewhere is None else elsewhere}
    return Seen(f"c{number}", group, label, said, score, {CORNERS: covered}, beside, where, own)


def test_the_class_that_falls_most_decides_about_wiping():
    rows = [seen(n, "a", covered=1.0) for n in range(5)] + [seen(n, "b", covered=-0.5) for n in range(5, 10)]
    verdict = audit_occlusion.check(rows, {})
    found = verdict.of(CORNERS)
    assert verdict.outcome == "fail"
    assert (found.value, found.numbers["said"], found.numbers["turned"]) == (1.5, "b", 5)
    assert verdict.of("border").outcome == "not applicable"


def test_falls_are_shares_of_the_mean_distance_to_the_decision():
    rows = [seen(n, score=4.0, covered=3.6) for n in range(5)]
    found = audit_occlusion.check(rows, {})
    assert found.of(CORNERS).value == pytest.approx(0.1)
    assert found.outcome == "ok"
    assert audit_occlusion.check([seen(n, score=0.0) for n in range(5)], {}).outcome == "not applicable"


def test_a_fall_that_wiping_anywhere_brings_as_well_says_nothing():
    rows = [seen(n, covered=-1.0, elsewhere=[-1.0, -1.5, -0.5]) for n in range(5)]
    found = audit_occlusion.check(rows, {}).of(CORNERS)
    assert (found.outcome, found.value, found.numbers["anywhere"]) == ("ok", 2.0, 2.0)
    less = [replace(one, elsewhere={CORNERS: [0.5, -0.5]}) for one in rows]
    assert audit_occlusion.check(less, {}).of(CORNERS).outcome == "fail"


def test_the_class_that_fails_is_told_before_one_that_falls_more_but_anywhere():
    rows = [seen(n, "a", covered=-2.0, elsewhere=[-2.0]) for n in range(5)]
    rows += [seen(n, "b", covered=0.0) for n in range(5, 10)]
    found = audit_occlusion.check(rows, {}).of(CORNERS)
    assert (found.outcome, found.numbers["said"]) == ("fail", "b")


def test_without_classes_a_score_may_move_either_way():
    rows = [seen(n, "", score=float(n), covered=n + (-1) ** n * 5.0) for n in range(6)]
    assert audit_occlusion.check(rows, {}).of(CORNERS).value == pytest.approx(5 / np.std(range(6)))
    both = [replace(one, elsewhere={CORNERS: [one.score - 5.0, one.score + 5.0]}) for one in rows]
    assert audit_occlusion.check(both, {}).outcome == "ok"  # up and down must not cancel


def test_evidence_is_held_against_the_area_class_by_class():
    rows = [seen(n, "a", share=0.05) for n in range(5)] + [seen(n, "b", share=0.5) for n in range(5, 10)]
    verdict = audit_outside.check(rows, ["m"], {}, CORNERS)
    assert verdict.outcome == "fail"
    assert verdict.findings[0].value == 5.0
    assert set(by_class(rows[:7], 4)) == {"a"}


def test_agreement_blames_the_map_that_misses_what_was_proved():
    rows = [seen(n, "a", covered=-1.0, share=0.05) for n in range(5)]
    wiping = audit_occlusion.check(rows, {})
    assert audit_agreement.check(rows, wiping, ["m"], {}).outcome == "fail"
    quiet = audit_occlusion.check([replace(one, covered={CORNERS: 1.0}) for one in rows], {})
    assert audit_agreement.check(rows, quiet, ["m"], {}).outcome == "not applicable"


def test_patients_are_counted_and_not_their_images():
    found = estimate({"a": 0.0, "b": 1.0, "c": 1.0}, {"a": "p", "b": "p", "c": "q"})
    assert (found.value, found.patients) == (0.75, 2)


def test_answers_have_intervals_also_where_all_are_right():
    rows = [seen(n, "a", label="A ") for n in range(10)]
    found = answers(rows, {})["all"]
    assert (found["right"], found["value"]) == (10, 1.0)
    assert found["low"] == pytest.approx(0.025 ** (1 / 10))  # Clopper and Pearson, closed form for n of n
    assert answers([seen(0)], {}) == {}


def verdicts(**outcomes):
    """Checks with one finding about each of the methods a and b."""
    return [
        Verdict(
            name, name, worst(own), "", findings=tuple(Finding(m, one, name) for m, one in zip("ab", own, strict=True))
        )
        for name, own in outcomes.items()
    ]


def test_no_method_that_failed_sanity_is_recommended():
    found = recommend(verdicts(sanity=("fail", "ok"), planted=("ok", "ok"), stability=("ok", "ok")), ["a", "b"])
    assert [(one.method, one.advice) for one in found.methods] == [("b", "trust"), ("a", "do not use")]
    assert found.sentence == "for this model, trust b"


def test_none_can_be_recommended():
    found = recommend(verdicts(sanity=("fail", "ok"), planted=("ok", "fail")), ["a", "b"])
    assert found.sentence == "for this model, none of the methods can be recommended"


def test_one_weaker_failure_asks_for_care_and_two_are_too_many():
    once = recommend(verdicts(sanity=("ok", "ok"), stability=("fail", "ok")), ["a", "b"])
    assert {one.method: one.advice for one in once.methods} == {"a": "with care", "b": "trust"}
    twice = recommend(verdicts(sanity=("ok", "ok"), stability=("fail", "ok"), truthfulness=("fail", "ok")), ["a", "b"])
    assert {one.method: one.advice for one in twice.methods} == {"a": "do not use", "b": "trust"}


def test_without_the_sanity_check_nothing_is_trusted():
    found = recommend(verdicts(stability=("ok", "ok")), ["a", "b"])
    assert {one.advice for one in found.methods} == {"with care"}
    assert "sanity: not measured" in found.methods[0].reasons


@pytest.mark.parametrize(
    ("wiping", "corner", "expected"),
    [("ok", "ok", "ok"), ("ok", "look", "ok"), ("ok", "fail", "look"), ("look", "ok", "look"), ("fail", "ok", "fail")],
)
def test_wiping_decides_about_a_shortcut_and_maps_add_to_it(wiping, corner, expected):
    found = [*verdicts(corners=(corner, "ok")), Verdict("wiping", "", wiping, "")]
    assert shortcut(found, ["a", "b"]).outcome == expected
    assert shortcut(found, ["b"]).outcome == (wiping if corner == "fail" else expected)  # a is not to be used
