"""The report for machines."""

import json

import numpy as np
import pytest

from tests.report.made import attribution, blob, failed, one_map, picture, volume
from voxplain.report.document import SCHEMA
from voxplain.report.page import write, write_all


def table(run) -> dict:
    return json.loads(write_all(run.folder).json.read_text())


def test_it_lies_beside_the_page_and_says_its_version(run):
    one_map(run)
    found = table(run)
    assert (run.folder / "report" / "report.json").is_file()
    assert found["schema"] == SCHEMA == "voxplain-report/1"
    assert found["run"] == "my run"


def test_it_says_what_the_page_says(run):
    one_map(run, share_in_mask=0.423, mask_share=0.031)
    (case,) = table(run)["cases"]
    assert case["id"] == "case b"
    assert case["answer"] == "glioma (0.88)"
    assert case["probabilities"] == [
        {"class": "healthy", "probability": 0.125}, {"class": "glioma", "probability": 0.875},
    ]  # fmt: skip
    assert case["words"]["said"][0] == "The model says glioma."
    (one,) = case["maps"]
    assert one["method"] == "occlusion(window=4)"
    assert one["quantity"] == "score units that add up"
    assert (one["share_in_mask"], one["mask_share"]) == (0.423, 0.031)
    assert one["range"][1] == pytest.approx(1, abs=0.1)
    assert one["file"] == "maps/c1/net/class_score-1/occlusion.nii.gz"
    assert len(one["key"]) == 64


def test_the_strongest_place_is_in_voxels_and_in_the_world(run):
    image = volume()
    run.case(image)
    run.map(attribution(image, blob(image.grid.shape, (6, 15, 9))), image)
    (one,) = table(run)["cases"][0]["maps"]
    assert one["strongest"]["voxel"] == [6, 15, 9]
    assert one["strongest"]["world"] == [12.0, 30.0, 27.0]
    assert one["strongest"]["sides"] == "left, anterior and superior part"
    assert 0 < one["strongest"]["half"] < 0.1


def test_failed_checks_empty_maps_and_problems_are_there(run):
    image = picture()
    run.case(image)
    run.map(attribution(image, np.zeros(image.grid.shape), certificate=failed()), image)
    run.row(case="case b", method="lrp", target="t", map=None, status="failed", error="out of memory")
    empty, broken = table(run)["cases"][0]["maps"]
    assert not empty["passed"]
    assert empty["strongest"] is None
    assert empty["empty"] == "constant map (0 everywhere)"
    assert broken == {"method": "lrp", "target": "t", "model": "", "problem": "out of memory"}


def test_what_is_missing_is_listed(run):
    one_map(run).unlink()
    assert table(run)["missing"] == [
        "map 'maps/c1/net/class_score-1/occlusion.nii.gz' of case 'case b' is not in the run folder"
    ]


def test_no_patient_and_no_place_of_this_machine_is_in_it(run, tmp_path):
    one_map(run)
    text = write_all(run.folder).json.read_text()
    assert "4711" not in text
    assert str(tmp_path) not in text


def test_the_same_folder_gives_the_same_document(run):
    one_map(run)
    write(run.folder)
    first = (run.folder / "report/report.json").read_bytes()
    write(run.folder)
    assert (run.folder / "report/report.json").read_bytes() == first
