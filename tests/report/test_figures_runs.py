"""Cases of a run folder, as the figures of the studies take them."""

import numpy as np
import pytest

from tests.report.made import attribution, picture, volume
from tests.report.seen import spot
from voxplain.data.nifti import write_nifti
from voxplain.errors import FileError, InputError
from voxplain.report.contents import read_run
from voxplain.report.figures_runs import case_maps, case_names
from voxplain.study.plan import file_name


def two_targets(run) -> None:
    image = volume()
    run.case(image)
    run.map(attribution(image), image, "first")
    run.row(case=image.identifier, model="net", target="class_score(0)", method="lrp",
            map="maps/c1/net/class_score-1/first.nii.gz")  # fmt: skip


def test_the_first_case_and_target_are_taken_unless_named(run):
    two_targets(run)
    found = case_maps(run.folder)
    assert found.identifier == "case a"
    assert [one.method for one in found.maps] == ["occlusion(window=4)"]
    assert len(case_maps(run.folder, target="class_score(0)").maps) == 1


def test_a_target_that_is_not_there_is_told_with_those_that_are(run):
    two_targets(run)
    with pytest.raises(InputError, match=r"it has class_score\(1\), class_score\(0\)"):
        case_maps(run.folder, target="margin(1)")


def test_what_the_model_said_comes_in_words_and_numbers(run):
    two_targets(run)
    found = case_maps(run.folder)
    assert found.probabilities == {"healthy": 0.125, "glioma": 0.875}
    assert (found.predicted, found.truth) == ("glioma", "glioma")


def test_a_case_edited_by_hand_says_less_and_does_not_fail(run):
    image = volume()
    run.case(image, prediction={"class_names": "?", "predicted": "x", "probabilities": None}, label=None)
    run.map(attribution(image), image)
    found = case_maps(run.folder)
    assert (found.probabilities, found.predicted, found.truth) == ({}, "", "")


def test_a_class_without_a_name_is_counted(run):
    image = picture()
    run.case(image, prediction={"predicted": 7, "probabilities": [0.5, 0.5], "class_names": []})
    run.map(attribution(image), image)
    found = case_maps(run.folder)
    assert found.predicted == "class 7"
    assert list(found.probabilities) == ["class 0", "class 1"]


def test_the_predicted_labels_are_read_where_the_model_segments(run):
    image = volume()
    run.case(image, name=file_name(image.identifier))
    run.map(attribution(image), image)
    assert case_maps(run.folder).prediction is None
    labels = spot(image, (3, 4, 5), 2.0)
    home = next(run.folder.glob("cases/*"))
    write_nifti(home / "prediction.nii.gz", labels[None], image.grid)
    assert np.array_equal(case_maps(run.folder).prediction, labels)


def test_only_cases_with_image_and_map_are_listed(run):
    image = volume()
    run.case(image)
    run.map(attribution(image), image)
    run.row(case="case z", method="lrp", status="failed", error="no", target="class_score(1)")
    assert case_names(read_run(run.folder)) == ("case a",)
    with pytest.raises(FileError, match="has no image"):
        case_maps(run.folder, "case z")


def test_an_empty_folder_has_no_case_to_show(run):
    with pytest.raises(FileError, match="must hold a case with an image and a map"):
        case_maps(run.folder)
