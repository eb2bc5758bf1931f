"""Run folders that are incomplete, broken or edited by hand: what is there is shown, what is missing is named."""

import json

import numpy as np
import pytest

from tests.report.made import attribution, one_map, picture, volume
from tests.report.parsed import Parsed
from voxplain.errors import FileError
from voxplain.report.page import write


def test_a_map_that_is_gone_is_missed_by_name(run):
    one_map(run).unlink()
    text = Parsed(write(run.folder)).text
    assert "Missing map 'maps/c1/net/class_score-1/occlusion.nii.gz' of case 'case b' is not in the run folder" in text


@pytest.mark.parametrize("sidecar", ["", "[]", "{}", '{"quantity": "glory"}', "not json"])
def test_a_map_with_a_broken_sidecar_does_not_take_the_page_with_it(run, sidecar):
    path = one_map(run)
    path.with_name("occlusion.json").write_text(sidecar)
    assert "No map" in Parsed(write(run.folder)).text


def test_a_sidecar_without_an_entry_says_which(run):
    path = one_map(run)
    table = json.loads(path.with_name("occlusion.json").read_text())
    del table["target_words"]
    path.with_name("occlusion.json").write_text(json.dumps(table))
    words = "the map cannot be shown: the sidecar 'occlusion.json' has no entry 'target_words'"
    assert words in Parsed(write(run.folder)).text


@pytest.mark.parametrize("name", ["image.nii.gz", "mask.nii.gz"])
def test_an_image_that_is_cut_short_does_not_take_the_page_with_it(run, name):
    image = picture()
    run.case(image, mask=image)
    run.map(attribution(image), image)
    file = run.folder / "cases" / "c1" / name
    file.write_bytes(file.read_bytes()[:40])
    assert f"cases/c1/{name} cannot be shown" in Parsed(write(run.folder)).text


def test_a_mask_of_another_size_than_its_image_does_not_take_the_page_with_it(run):
    image, high = volume(), volume(shape=(20, 24, 30))
    run.case(image, mask=high.with_values(np.indices(high.grid.shape)[2:] == 25))
    run.map(attribution(image), image)
    assert "mask must lie on the image's grid" in Parsed(write(run.folder)).text


def test_a_map_of_another_size_than_its_image_says_so(run):
    run.case(picture())
    run.map(attribution(picture(20, 20)), picture())
    assert "map must lie on the image's grid" in Parsed(write(run.folder)).text


def test_broken_json_is_missed_and_the_rest_is_shown(run):
    one_map(run)
    (run.folder / "cases" / "c1" / "case.json").write_text("{")
    with (run.folder / "rows.jsonl").open("a") as stream:
        stream.write("oops\n[]\n")
    text = Parsed(write(run.folder)).text
    assert "cases/c1/case.json is no JSON object" in text
    assert "rows.jsonl line 2 is no JSON object" in text
    assert "rows.jsonl line 3 is no JSON object" in text


def test_oddly_typed_facts_are_shown_as_far_as_they_go(run):
    run.case(picture(), prediction=[], grid="?", channels=7, notices="x", unit=None)
    run.row(case="case b", method=3, target=None, map=5)
    assert "case b" in Parsed(write(run.folder)).text


@pytest.mark.parametrize("outside", ["../secret.nii.gz", "/etc/passwd", "maps/../../secret.nii.gz"])
def test_files_outside_the_run_folder_are_never_shown(run, tmp_path, outside):
    image = picture()
    run.case(image)
    attribution(image, target_words="a secret").save(tmp_path / "secret.nii.gz")
    run.row(case=image.identifier, method="m", target="t", map=outside)
    text = Parsed(write(run.folder)).text
    assert "a secret" not in text
    assert "is not in the run folder" in text


def test_an_empty_run_folder_still_gives_a_page(tmp_path):
    text = Parsed(write(tmp_path)).text
    assert "This run folder holds no case." in text
    assert "plan.toml is missing" in text


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(FileError, match="run folder must be a folder"):
        write(tmp_path / "nowhere")


def test_case_json_stays_as_it_was(run):
    one_map(run)
    file = run.folder / "cases" / "c1" / "case.json"
    before = file.read_bytes()
    write(run.folder)
    assert file.read_bytes() == before
    assert json.loads(before)["id"] == "case b"
