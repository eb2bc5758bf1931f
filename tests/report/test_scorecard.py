"""The five points: what is known, and 'not measured' where nothing is."""

from dataclasses import replace

from tests.report.made import attribution, failed, one_map, picture, provenance
from tests.report.parsed import Parsed
from voxplain.report.measured import Measure
from voxplain.report.page import write
from voxplain.report.scorecard import UNMEASURED, Tally, scorecard

NOTHING = Tally(cases=1, maps=1, targets=["score of class 1"], with_mask=0, with_anatomy=0, physical=0, failed=0,
                unchecked=1, checks=[], above_chance=0, masked=0, costs=[])  # fmt: skip


def measure(metric: str, value: float | None = 0.5) -> Measure:
    return Measure(metric, "lrp", "", "", value, None, None, 0.95, 10, None, "" if value is not None else "no mask")


def points(tally=NOTHING, *measures: Measure):
    return {point.name[:2]: point for point in scorecard(tally, measures)}


def test_there_are_five_points_in_their_order():
    assert [point.name for point in scorecard(NOTHING, [])] == [
        "G1 Understandability", "G2 Clinical relevance", "G3 Truthfulness", "G4 Informative plausibility",
        "G5 Computational efficiency",
    ]  # fmt: skip


def test_what_nobody_measured_is_called_so():
    found = points()
    assert [found[name].status for name in ("G3", "G4", "G5")] == [UNMEASURED] * 3


def test_the_first_two_are_for_people():
    found = points(replace(NOTHING, with_anatomy=1, physical=1))
    assert found["G1"].status == found["G2"].status == "for people to judge"
    assert "Explained: score of class 1." in found["G2"].known
    assert "1 of 1 maps name the anatomy at their strongest place." in found["G2"].known


def test_checks_are_counted_without_the_maps_that_were_never_checked():
    known = points(replace(NOTHING, maps=10, unchecked=2, failed=3, checks=["finite", "completeness"]))["G3"]
    assert known.known[0] == "5 of 8 maps passed every check (finite, completeness)."
    assert known.status == "partly known; faithfulness not measured: run voxplain evaluate"


def test_the_mask_counts_for_plausibility():
    known = points(replace(NOTHING, maps=4, masked=4, above_chance=3, with_mask=1))["G4"]
    assert known.known[0].startswith("3 of 4 maps have more of their evidence inside the mask than by chance")


def test_metrics_are_put_where_they_belong():
    found = points(NOTHING, measure("relevance_mass"), measure("unheard_of"))
    assert found["G4"].status == "measured"
    assert "Measured by relevance_mass: see the table of metrics." in found["G4"].known
    assert found["G3"].status == UNMEASURED


def test_a_metric_that_never_applied_is_no_measurement_of_anything():
    found = points(NOTHING, measure("relevance_mass", None))
    assert "Not applicable here: relevance_mass." in found["G4"].known
    assert found["G4"].status != "measured"


def test_costs_are_medians_a_method():
    known = points(replace(NOTHING, costs=[("lrp", 1.0), ("rise", 60.0), ("lrp", 9.0), ("lrp", 2.0)]))["G5"]
    assert known.status == "measured"
    assert known.known[:2] == ["lrp: 2 s a map, median of 3 maps.", "rise: 60 s a map."]


def test_the_page_tells_all_five(run):
    image = picture()
    run.case(image)
    run.map(
        attribution(image, certificate=failed(), provenance=provenance("lrp")), image, share_in_mask=0.4, mask_share=0.1
    )
    text = Parsed(write(run.folder)).text
    card = text[text.index("Scorecard") : text.index("How this was made")]
    assert "0 of 1 maps passed every check (finite, completeness)." in card
    assert "1 of 1 maps have more of their evidence inside the mask than by chance (0 of 1 cases have a mask)." in card
    assert "occlusion(window=4): 1.25 s a map." in card


def test_no_grade_is_given(run):
    one_map(run)
    text = Parsed(write(run.folder)).text
    assert "No grades are given" in text
