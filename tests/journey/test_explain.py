"""`voxplain explain` from files to run folder, as a stranger would use it."""

import csv
import json
import re
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import voxplain as vx
from tests.journey.conftest import PICTURE, everything_under

FOUR = ("occlusion(window=6)", "gradient", "integrated_gradients(steps=3)", "grad_cam")


def test_one_volume_four_methods_one_run_folder(explain, files):
    done = explain(*(part for method in FOUR for part in ("--method", method)), "--mask", "mask.nii.gz", "--id", "knee")
    assert done.code == 0, done.err
    out = files / "out"
    written = everything_under(out)
    for name in ("plan.toml", "rows.jsonl", "table.csv", "log.txt", "report/index.html", "cases/knee/case.json",
                 "cases/knee/image.nii.gz", "cases/knee/mask.nii.gz"):  # fmt: skip
        assert name in written
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [row["method"].split("(")[0] for row in rows] == [method.split("(")[0] for method in FOUR]
    source = nibabel.load("t1.nii.gz")
    for row in rows:
        shown = nibabel.load(out / row["map"])
        np.testing.assert_allclose(shown.affine, source.affine, atol=1e-5)
        assert shown.shape[:3] == source.shape
        assert vx.Attribution.load(out / row["map"]).certificate.checks
        assert row["mask_share"] == pytest.approx(48 / source.get_fdata().size)
        assert 0 <= row["share_in_mask"] <= 1
    figures = sorted(path.name for path in (out / "figures").iterdir())
    assert [name for name in figures if name.endswith("-sheet.png")] == ["knee-class_score-sheet.png"]
    assert len(figures) == 4 + 1
    assert len(list(csv.DictReader((out / "table.csv").read_text().splitlines()))) == 4
    assert "out/report/index.html" in done.out


def test_the_plan_is_written_as_understood_with_defaults_filled_in(explain, files):
    explain("--method", "occlusion(window=6)", "--target", "class_score(1)", "--size", "12,12,12", "--seed", "3")
    plan = tomllib.loads((files / "out" / "plan.toml").read_text())
    filled_in = {"fill": "zero", "channels": "together", "engine": "auto", "threshold": 0.1}
    assert plan["methods"] == [{"name": "occlusion", "window": 6, **filled_in}]
    assert plan["targets"] == [{"name": "class_score", "index": 1}]
    assert plan["prepare"]["size"] == [12, 12, 12]
    assert plan["run"]["seed"] == 3


def test_names_of_files_and_folders_stay_out_of_what_is_written(explain, files):
    """A file's name may hold a patient's: the case is called by a hash, paths appear nowhere."""
    (files / "Doe^Jane").mkdir()
    (files / "t1.nii.gz").rename(files / "Doe^Jane" / "doe_jane_1970.nii.gz")
    assert explain(image="Doe^Jane/doe_jane_1970.nii.gz").code == 0
    for name in everything_under(files / "out"):
        assert "doe" not in name.lower()
        if not name.endswith((".gz", ".png", ".html")):
            assert "doe" not in (files / "out" / name).read_text().lower().replace("does", "")
    assert "doe" not in (files / "out" / "report" / "index.html").read_text().split("<body")[0].lower()


def test_json_prints_one_document_and_nothing_else(explain):
    done = explain("--json")
    assert done.document["rows"][0]["status"] == "done"
    assert done.document["out"] == "out"


def test_channels_by_name(explain, files):
    done = explain("--image", "flair=flair.nii.gz", "--image", "t1=t1.nii.gz", model="small_cnn_3d(channels=2)")
    assert done.code == 0, done.err
    facts = json.loads(next((files / "out" / "cases").glob("*/case.json")).read_text())
    assert facts["channels"] == ["flair", "t1"]
    assert nibabel.load(next((files / "out" / "maps").rglob("gradient.nii.gz"))).shape == (16, 18, 12, 2)


def test_a_picture_and_a_slice_of_a_volume_for_a_2d_network(explain, files):
    assert explain(model=PICTURE, image="film.png").code == 0
    assert explain("--slice", "5", "--out", "out2", model=PICTURE).code == 0
    affine = nibabel.load(next((files / "out2" / "maps").rglob("gradient.nii.gz"))).affine
    centre = nibabel.load("t1.nii.gz").affine @ [0, 0, 5, 1]
    world = affine @ [15, 17, 0, 1]  # the slice is turned to columns Left, rows Posterior
    corners = [affine @ [c, r, 0, 1] for c in (0, 15) for r in (0, 17)]
    assert min(np.abs(corner - centre).max() for corner in [*corners, world]) < 1e-4


def test_segmentation_writes_what_the_network_predicts(explain, files):
    assert explain("--target", "region(1, over='whole')", model="small_unet(spatial_dims=3)").code == 0
    labels = nibabel.load(next((files / "out" / "cases").glob("*/prediction.nii.gz")))
    assert labels.shape == (16, 18, 12)
    assert set(np.unique(labels.get_fdata())) <= {0, 1}


def test_a_table_of_cases_goes_on_after_a_failed_one(explain, files):
    broken = np.full((16, 18, 12), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(broken, np.eye(4)), "broken.nii.gz")
    (files / "cases.csv").write_text("id,image,mask,label,group,split\na,t1.nii.gz,mask.nii.gz,1,p1,test\n"
                                     "b,broken.nii.gz,,0,p2,test\nc,flair.nii.gz,mask.nii.gz,0,p3,test\n")  # fmt: skip
    done = explain("--cases", "cases.csv", "--json")
    assert done.code == 3
    rows = {row["case"]: row for row in done.document["rows"]}
    assert [rows[name]["status"] for name in "abc"] == ["done", "failed", "done"]
    assert "NaN" in rows["b"]["error"]
    assert json.loads((files / "out" / "cases" / "a" / "case.json").read_text())["group"] == "p1"


def test_a_run_goes_on_where_it_was_interrupted(explain, files, monkeypatch):
    (files / "cases.csv").write_text("id,image\na,t1.nii.gz\nb,flair.nii.gz\n")
    from voxplain.study.explain import Explainer

    whole, asked = Explainer.ready, []

    def ready(self, image, *rest):
        asked.append(image.identifier)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return whole(self, image, *rest)

    monkeypatch.setattr(Explainer, "ready", ready)
    assert explain("--cases", "cases.csv").code == 130
    assert len((files / "out" / "rows.jsonl").read_text().splitlines()) == 1
    assert explain("--cases", "cases.csv").code == 0
    assert len(asked) == 3, "the first case was done again"
    assert len((files / "out" / "rows.jsonl").read_text().splitlines()) == 2


def test_a_changed_image_is_explained_again(explain, files):
    explain("--id", "a")
    first = (files / "out" / "rows.jsonl").read_text()
    (files / "flair.nii.gz").replace(files / "t1.nii.gz")
    explain("--id", "a")
    assert (files / "out" / "rows.jsonl").read_text() != first


def test_a_changed_mask_is_measured_again(explain, files):
    explain("--id", "a", "--mask", "mask.nii.gz")
    image = nibabel.load("mask.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), "mask.nii.gz")
    first = json.loads((files / "out" / "rows.jsonl").read_text())
    explain("--id", "a", "--mask", "mask.nii.gz")
    assert json.loads((files / "out" / "rows.jsonl").read_text())["share_in_mask"] != first["share_in_mask"]


def test_a_changed_target_or_label_in_the_table_is_done_again(explain, files):
    for target, label in (("class_score(0)", "cold"), ("class_score(1)", "cold"), ("class_score(1)", "hot")):
        (files / "cases.csv").write_text(f"id,image,target,label\na,t1.nii.gz,{target},{label}\n")
        assert explain("--cases", "cases.csv").code == 0
        facts = json.loads((files / "out" / "cases" / "a" / "case.json").read_text())
        assert (facts["target"], facts["label"]) == (target, label)
    assert json.loads((files / "out" / "rows.jsonl").read_text())["target"] == "class_score(index=1)"


def test_the_error_of_a_failed_row_keeps_the_files_name_on_the_terminal(explain, files):
    (files / "Doe_Jane.nii.gz").write_bytes((files / "t1.nii.gz").read_bytes()[:2000])
    (files / "cases.csv").write_text("image\nt1.nii.gz\nDoe_Jane.nii.gz\n")
    done = explain("--cases", "cases.csv")
    assert done.code == 3
    assert "Doe_Jane" in done.err
    for name in ("rows.jsonl", "table.csv", "log.txt", "report/index.html"):
        assert "Doe_Jane" not in (files / "out" / name).read_text()
    assert "'...' must be a whole NIfTI file" in (files / "out" / "rows.jsonl").read_text()


def test_a_value_may_begin_with_a_minus(explain, files):
    assert explain("--window", "-100,300", "--pad-value", "-1").code == 0
    plan = tomllib.loads((files / "out" / "plan.toml").read_text())
    assert (plan["prepare"]["window"], plan["prepare"]["pad_value"]) == ([-100, 300], -1)


def test_another_plan_does_not_mix_into_a_run_folder(explain):
    assert explain("--id", "a").code == 0
    done = explain("--id", "a", method="grad_cam")
    assert done.code == 2
    assert "holds another run" in done.sentence


@pytest.mark.slow
def test_all_asks_every_method_the_model_allows(explain):
    done = explain("--method", "all", "--reference", "flair.nii.gz", "--segments", "mask.nii.gz", "--json")
    rows = done.document["rows"]
    left_out = {line.split()[2].strip(":") for line in done.err.splitlines() if line.startswith("left out")}
    assert {row["method"] for row in rows} | left_out == set(vx.methods())
    assert {row["method"] for row in rows if row["status"] == "done"} >= {"occlusion", "gradient", "grad_cam"}


def test_verify_measures_determinism(explain, files):
    explain("--verify")
    sidecar = json.loads(next((files / "out" / "maps").rglob("gradient.json")).read_text())
    assert {"determinism": "passed"}.items() <= {
        c["name"]: c["outcome"] for c in sidecar["certificate"]["checks"]
    }.items()


def test_memory_plans_the_chunk(explain, files):
    wide = explain("--method", "occlusion(window=4)", "--out", "wide")
    tight = explain("--method", "occlusion(window=4)", "--memory", "300KB", "--out", "tight")
    assert (wide.code, tight.code) == (0, 0), tight.err
    chunks = [
        json.loads(next((files / name / "maps").rglob("*.json")).read_text())["provenance"]["request"]["chunks"]
        for name in ("wide", "tight")
    ]
    assert chunks[1]["forward"] < chunks[0]["forward"]


def test_the_page_is_one_file_with_pictures_and_no_addresses(explain, files):
    explain("--class-names", "healthy,ill", "--target", "class_score(1)")
    page = (files / "out" / "report" / "index.html").read_text()
    assert "data:image/" in page
    # Names of namespaces stand in the viewer's own script, which the page's policy lets load nothing.
    written = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http" not in written.replace("http-equiv", "")
    assert "class 1 (ill)" in page
    assert "not a diagnosis" in page


def test_random_weights_stand_among_the_warnings_of_the_page(explain, files):
    explain(model="small_unet(spatial_dims=3)", method="gradient")
    page = " ".join((files / "out" / "report" / "index.html").read_text().split())
    warnings = page[page.index('id="warnings"') : page.index('id="overview"')]
    assert "no --weights were given, so the network&#39;s weights are random" in warnings
    assert "on the model&#39;s grid of 16 x 18 x 12" in page


def test_the_pages_pictures_are_pictures(explain, files):
    explain()
    for figure in (files / "out" / "figures").iterdir():
        with Image.open(figure) as picture:
            assert np.asarray(picture.convert("L")).std() > 5


def test_report_writes_the_page_again(explain, voxplain, files):
    explain()
    page = files / "out" / "report" / "index.html"
    first = page.read_bytes()
    page.unlink()
    assert voxplain("report", "out").code == 0
    assert page.read_bytes() == first


@pytest.mark.parametrize("listing", ["methods", "targets", "models", "metrics"])
def test_listings_as_text_and_json(voxplain, listing):
    entries = json.loads(voxplain(listing, "--json").out)
    text = voxplain(listing).out
    assert entries
    for entry in entries:
        assert entry["name"] in text
        assert entry["says"]
        assert all(option["help"] for option in entry["options"]) or listing == "models"


def test_python_says_the_same_as_the_command_line(explain, files):
    explain("--target", "class_score(1)")
    command = nibabel.load(next((files / "out" / "maps").rglob("gradient.nii.gz"))).get_fdata()
    model = vx.load("small_cnn_3d", weights=Path("weights.safetensors"))
    python = vx.explain(model, "t1.nii.gz", "gradient", target=vx.ClassScore(1))
    np.testing.assert_array_equal(command, python.values[0])
