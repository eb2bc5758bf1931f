"""Run folders that are incomplete, broken or edited by hand: what is there is shown, what is missing is named."""

import json
import shutil

import numpy as np
import pytest

from tests.report.made import attribution, one_map, picture, volume
from tests.report.parsed import Parsed
from voxplain.data.attribution import Coarse
from voxplain.data.run_layout import LAYOUT
from voxplain.errors import FileError
from voxplain.report.page import write, write_all


def test_a_map_that_is_gone_is_missed_by_name(run):
    one_map(run).unlink()
    text = Parsed(write(run.folder)).text
    assert "Missing or unreadable" in text
    assert "map 'maps/c1/net/class_score-1/occlusion.nii.gz' of case 'case b' is not in the run folder" in text


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
    text = Parsed(write(run.folder)).text
    assert "mask of case 'case a' is not shown: it must lie on the image's grid (20, 24, 16), got (20, 24, 30)" in text
    assert "1 case, 1 map" in text


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


@pytest.mark.parametrize("files", [(), ("plan.toml",), ("rows.jsonl", "log.txt")])
def test_only_a_folder_with_nothing_to_report_is_refused(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(FileError, match="must hold a case or a map to report on"):
        write(tmp_path)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("gone", ["plan.toml", "rows.jsonl", "cases/c1/case.json", "cases/c1/image.nii.gz", "cases"])
def test_what_is_gone_is_named_and_the_map_is_still_shown(run, gone):
    one_map(run)
    path = run.folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    written = write_all(run.folder)
    text = Parsed(written.page).text
    assert written.missing
    assert all(sentence in text for sentence in written.missing)
    assert "1 map" in text
    assert "occlusion(window=4)" in text


def test_a_row_that_was_cut_short_does_not_hide_its_map(run):
    one_map(run)
    rows = run.folder / "rows.jsonl"
    rows.write_text(rows.read_text()[:40])
    text = Parsed(write(run.folder)).text
    assert "rows.jsonl line 1 is no JSON object" in text
    assert "1 map has no row in rows.jsonl; shown as found under maps/" in text
    assert "1 case, 1 map" in text
    assert "case b" in text


def test_a_map_without_its_image_lies_on_black(run):
    one_map(run)
    (run.folder / "cases/c1/image.nii.gz").unlink()
    text = Parsed(write(run.folder)).text
    assert "cases/c1/image.nii.gz cannot be shown" in text
    assert "image is 0 everywhere" in text


@pytest.mark.parametrize("size", [40, 0.9])
def test_a_map_that_is_cut_short_does_not_take_the_page_with_it(run, size):
    path = one_map(run)
    whole = path.read_bytes()
    path.write_bytes(whole[: size if size > 1 else int(size * len(whole))])
    assert "No map" in Parsed(write(run.folder)).text


def test_another_layout_is_said(run):
    one_map(run)
    (run.folder / "plan.toml").write_text("layout = 99\n")
    assert "has layout 99, written by another version of voxplain; this one knows 1" in Parsed(write(run.folder)).text


def test_the_layout_of_today_and_none_at_all_are_no_reason_to_warn(run):
    one_map(run)
    for words in ("", f"layout = {LAYOUT}\n"):
        (run.folder / "plan.toml").write_text(words)
        assert write_all(run.folder).missing == ()


def test_a_plan_that_is_no_toml_is_said(run):
    one_map(run)
    (run.folder / "plan.toml").write_text("oops = [")
    assert "plan.toml cannot be understood" in Parsed(write(run.folder)).text


LINKED = ("plan.toml", "rows.jsonl", "cases/c1/case.json", "cases/c1/image.nii.gz", "cases/c1/mask.nii.gz",
          "metrics.jsonl", "maps/c1/net/class_score-1/occlusion.json", "maps/c1/net/class_score-1/occlusion.nii.gz",
          "maps/c1/net/class_score-1/occlusion.coarse.nii.gz", "cases/c1", "maps/c1")  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_links_out_of_the_run_folder_are_never_followed(run, tmp_path, name):
    image = picture()
    run.case(image, mask=image)
    coarse = Coarse(np.ones((1, 4, 3, 1), np.float32), image.grid.resized((4, 3, 1)))
    run.map(attribution(image, target_words="a secret", coarse=coarse), image)
    (run.folder / "metrics.jsonl").write_text('{"metric": "a secret"}\n')
    (run.folder / "plan.toml").write_text('told = "a secret"\n')
    for facts in run.folder.glob("cases/*/case.json"):
        facts.write_text(facts.read_text().replace("glioma", "a secret"))
    inside, outside = run.folder / name, tmp_path / "elsewhere"
    inside.rename(outside)
    inside.symlink_to(outside)
    before = Parsed(write(run.folder)).text
    outside.unlink() if outside.is_file() else shutil.rmtree(outside)
    inside.unlink()
    gone = Parsed(write(run.folder)).text
    assert before.count("a secret") == gone.count("a secret")
    assert "out of the run folder" in before or "is not in the run folder" in before


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
