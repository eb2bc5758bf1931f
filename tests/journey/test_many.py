"""Many cases and many methods: what is done again, what is kept, what is left out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nibabel
import numpy as np
import pytest

import voxplain as vx
from tests.journey.conftest import AFFINE, everything_under
from voxplain.errors import InputError
from voxplain.methods import METHODS, Map, Method
from voxplain.study.run_folder import RunFolder
from voxplain.types import Access, Quantity


def rows(folder: Path) -> list[dict]:
    """The rows of a run folder."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def table(*lines: str, header: str = "id,image") -> None:
    """Write cases.csv."""
    Path("cases.csv").write_text("\n".join((header, *lines)) + "\n")


@dataclass(frozen=True, kw_only=True)
class Choosy(Method):
    """Refuses every case, or every case whose reference or segments it does not get."""

    name = "choosy"
    title: ClassVar[str] = "Choosy"
    citation: ClassVar[str] = "none"
    access: ClassVar[Access] = Access.CALLS
    quantity: ClassVar[Quantity] = Quantity.RELEVANCE
    law: ClassVar[str] = "none"

    needs: str = ""
    """What it cannot do without."""

    def _map(self, score, x):
        given = {"reference": score.reference, "segments": score.segments}.get(self.needs)
        if given is None:
            raise InputError(f"choosy must have {self.needs or 'another model'}, got none; '/home/doe/scan.nii' is odd")
        return Map(given.to(x.dtype).mean(0, keepdim=True).reshape(1, -1, *x.shape[2:]), self.quantity, "labels")


@pytest.fixture
def choosy(monkeypatch):
    """The table of methods holds two, of which one cannot explain every case."""
    monkeypatch.setattr("voxplain.methods.METHODS", {"gradient": METHODS["gradient"], "choosy": Choosy})


# --- cases done again ----------------------------------------------------------------------------------------------


def test_maps_of_a_former_target_go_with_everything_beside_them(explain, files):
    for target in ("class_score(0)", "class_score(1)"):
        table(f"a,t1.nii.gz,{target}", "b,flair.nii.gz,class_score(0)", header="id,image,target")
        assert explain("--cases", "cases.csv", "--method", "grad_cam", "--method", "gradient").code == 0
    written = [name for name in everything_under(files / "out") if name.startswith(("maps", "figures"))]
    of_a = [name for name in written if "/a" in name]
    assert of_a
    assert all("index-1" in name for name in of_a)
    assert any("coarse" in name for name in of_a)
    assert not [path for path in (files / "out" / "maps").rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert [name for name in written if "/b" in name and "index-0" in name], "another case's maps went"
    assert all((files / "out" / row["map"]).is_file() for row in rows(files / "out"))


def test_an_interrupt_while_a_case_is_written_again_leaves_no_row_with_another_map(explain, files, monkeypatch):
    table("a,t1.nii.gz", "b,flair.nii.gz")
    assert explain("--cases", "cases.csv").code == 0
    (files / "flair.nii.gz").replace(files / "t1.nii.gz")
    (files / "mask.nii.gz").replace(files / "flair.nii.gz")
    whole = RunFolder.write_case

    def interrupted(*everything):
        whole(*everything)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_case", interrupted)
        assert explain("--cases", "cases.csv").code == 130
    assert [row["case"] for row in rows(files / "out")] == ["b"]
    assert explain("--cases", "cases.csv").code == 0
    assert {row["case"] for row in rows(files / "out")} == {"a", "b"}


def test_maps_at_the_same_place_stay_when_their_case_is_done_again(explain, files):
    explain("--id", "a")
    (files / "flair.nii.gz").replace(files / "t1.nii.gz")
    assert explain("--id", "a").code == 0
    (row,) = rows(files / "out")
    assert (files / "out" / row["map"]).is_file()


def test_maps_of_a_case_that_now_fails_go(explain, files):
    table("a,t1.nii.gz", "b,flair.nii.gz")
    assert explain("--cases", "cases.csv").code == 0
    values = np.full((16, 18, 12), 7, np.float32)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), "t1.nii.gz")
    assert explain("--cases", "cases.csv").code == 3
    assert not [name for name in everything_under(files / "out") if name.startswith(("maps/a", "figures/a"))]


def test_a_row_edited_by_hand_deletes_nothing_but_maps(explain, files):
    explain("--id", "a")
    (row,) = rows(files / "out")
    outside = ["mask.nii.gz", "out/cases/a/image.nii.gz"]
    hands = [{**row, "map": place} for place in ("../mask.nii.gz", "cases/a/image.nii.gz", "maps/../plan.toml", "maps")]
    (files / "out" / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [row, *hands]))
    (files / "flair.nii.gz").replace(files / "t1.nii.gz")
    assert explain("--id", "a").code == 0
    assert all(Path(name).is_file() for name in [*outside, "out/plan.toml"])


def test_a_mask_taken_away_is_not_shown_any_more(explain, files):
    explain("--id", "a", "--mask", "mask.nii.gz")
    assert (files / "out" / "cases" / "a" / "mask.nii.gz").is_file()
    explain("--id", "a")
    assert not (files / "out" / "cases" / "a" / "mask.nii.gz").exists()


def test_finished_rows_of_a_case_whose_file_broke_are_kept_and_the_run_goes_on(explain, files):
    (files / "Doe_Jane.nii.gz").write_bytes((files / "t1.nii.gz").read_bytes())
    table("a,Doe_Jane.nii.gz", "b,flair.nii.gz")
    assert explain("--cases", "cases.csv").code == 0
    before = rows(files / "out")
    (files / "out" / "rows.jsonl").write_text(json.dumps(before[0]) + "\n")
    (files / "Doe_Jane.nii.gz").write_bytes((files / "Doe_Jane.nii.gz").read_bytes()[:2000])
    done = explain("--cases", "cases.csv")
    assert done.code == 0, done.err
    assert [(row["case"], row["status"]) for row in rows(files / "out")] == [("a", "done"), ("b", "done")]
    assert "case 1 of 2: a is already there, but nobody can tell whether it is still the same" in done.err
    assert "Doe_Jane" in done.err
    log = (files / "out" / "log.txt").read_text()
    assert "a: kept" in log
    assert "Doe_Jane" not in log


# --- all methods ---------------------------------------------------------------------------------------------------


def test_a_method_that_refuses_a_case_is_left_out_by_name_and_the_rest_is_made(explain, files, choosy):
    done = explain("--method", "all", "--json")
    assert done.code == 0, done.err
    made, refused = done.document["rows"]
    assert (made["method"], made["status"], made["error"]) == ("gradient", "done", None)
    assert (refused["method"], refused["status"], refused["map"]) == ("choosy", "refused", None)
    assert refused["error"] == "choosy must have another model, got none; '...' is odd"
    assert "left out: choosy must have another model, got none; '/home/doe/scan.nii' is odd" in done.err
    page = " ".join((files / "out" / "report" / "index.html").read_text().split())
    assert "choosy must have another model" in page


def test_left_out_methods_are_counted_and_stand_when_the_run_is_started_again(explain, files, choosy):
    explain("--method", "all", "--id", "a")
    before = (files / "out" / "rows.jsonl").read_text()
    again = explain("--method", "all", "--id", "a")
    assert "2 rows, 1 left out in out" in again.out
    assert "a is already there" in again.err
    assert (files / "out" / "rows.jsonl").read_text() == before


def test_a_method_asked_for_by_name_is_an_error_where_it_refuses(explain, files, choosy):
    done = explain("--method", "gradient", "--method", "choosy")
    assert (done.code, done.sentence.startswith("voxplain: choosy must have another model")) == (2, True)
    assert not (files / "out").exists()


def test_a_target_that_cannot_work_is_no_methods_fault(explain, files, choosy):
    done = explain("--method", "all", "--target", "class_score(0)", "--target", "class_score(7)")
    assert (done.code, "between 0 and 1, got 7" in done.sentence) == (2, True)
    assert "left out" not in done.err
    assert not (files / "out").exists()


def test_where_every_method_refuses_the_case_fails(explain, files, monkeypatch):
    monkeypatch.setattr("voxplain.methods.METHODS", {"choosy": Choosy})
    done = explain("--method", "all")
    assert (done.code, done.sentence.startswith("voxplain: choosy must have")) == (2, True)
    table("a,t1.nii.gz")
    assert explain("--cases", "cases.csv", "--method", "all").code == 3
    assert [row["status"] for row in rows(files / "out")] == ["failed"]


def test_methods_that_need_reference_images_are_left_out_unless_there_are_some(explain, files, monkeypatch):
    compares = type("Compares", (Choosy,), {"name": "compares", "needs_reference": True})
    monkeypatch.setattr("voxplain.methods.METHODS", {"gradient": METHODS["gradient"], "compares": compares})
    done = explain("--method", "all", "--json")
    assert [row["method"] for row in done.document["rows"]] == ["gradient"]
    assert "left out: compares needs reference images; pass --reference" in done.err
    assert "compares needs reference images" in (files / "out" / "plan.toml").read_text()
    done = explain("--method", "compares", "--out", "by_name")
    assert (done.code, "compares needs reference images; pass --reference" in done.sentence) == (2, True)
    done = explain("--method", "all", "--reference", "flair.nii.gz", "--out", "with", "--json")
    assert "left out: compares needs" not in done.err
    assert [row["method"] for row in done.document["rows"]] == ["gradient", "compares"]


def test_a_method_that_must_be_told_something_is_left_out_until_it_is(explain, files, monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Demanding(Choosy):
        name = "demanding"
        of: str
        """What it is about."""

    monkeypatch.setattr("voxplain.methods.METHODS", {"gradient": METHODS["gradient"], "demanding": Demanding})
    done = explain("--method", "all", "--json")
    assert 'left out: demanding needs options; add --method "demanding(of=...)"' in done.err
    assert [row["method"] for row in done.document["rows"]] == ["gradient"]
    told = ("--method", "demanding(of='it', needs='segments')", "--segments", "mask.nii.gz", "--out", "told")
    done = explain("--method", "all", *told, "--json")
    assert "left out" not in done.err
    assert len(done.document["rows"]) == 2


def test_a_method_given_with_options_is_asked_with_them_among_all(explain, files, choosy):
    found = explain("--method", "all", "--method", "choosy(needs='segments')", "--segments", "mask.nii.gz", "--json")
    assert [row["method"] for row in found.document["rows"]] == ["gradient", "choosy(needs='segments')"]
    assert [row["status"] for row in found.document["rows"]] == ["done", "done"]


# --- references and segments ---------------------------------------------------------------------------------------


NEEDS_SEGMENTS = ("--method", "choosy(needs='segments')")
NEEDS_REFERENCE = ("--method", "choosy(needs='reference')")


def test_segments_reach_the_method_on_the_tensors_grid_and_come_back(explain, files, choosy):
    assert explain(*NEEDS_SEGMENTS, "--segments", "mask.nii.gz").code == 0
    (row,) = rows(files / "out")
    values = nibabel.load(files / "out" / row["map"]).get_fdata()
    np.testing.assert_array_equal(np.squeeze(values), nibabel.load("mask.nii.gz").get_fdata())


def test_segments_of_a_table_stand_in_their_column(explain, files, choosy):
    table("a,t1.nii.gz,mask.nii.gz", "b,flair.nii.gz,", header="id,image,segments")
    done = explain("--cases", "cases.csv", *NEEDS_SEGMENTS, "--json")
    assert [row["status"] for row in done.document["rows"]] == ["done", "failed"]
    facts = json.loads((files / "out" / "cases" / "a" / "case.json").read_text())
    assert len(facts["segments_sha256"]) == 64


def test_other_segments_are_another_case(explain, files, choosy):
    for mask in ("mask", "empty_mask"):
        explain(*NEEDS_SEGMENTS, "--segments", f"{mask}.nii.gz", "--id", "a")
    (row,) = rows(files / "out")
    assert not nibabel.load(files / "out" / row["map"]).get_fdata().any()


def test_references_are_prepared_as_the_image_is(explain, files, choosy):
    scaled = ("--scale", "0.5", "--reference", "t1.nii.gz", "--reference", "flair.nii.gz")
    assert explain(*NEEDS_REFERENCE, *scaled).code == 0
    (row,) = rows(files / "out")
    t1, flair = (nibabel.load(f"{name}.nii.gz").get_fdata() for name in ("t1", "flair"))
    np.testing.assert_allclose(
        np.squeeze(nibabel.load(files / "out" / row["map"]).get_fdata()), (t1 + flair) / 4, rtol=1e-5
    )
    request = vx.Attribution.load(files / "out" / row["map"]).provenance.request
    assert len(set(request["reference"])) == 2


def test_references_with_named_channels(explain, files, choosy):
    both = ("--image", "flair=flair.nii.gz", "--image", "t1=t1.nii.gz")
    options = (*NEEDS_REFERENCE, "--channels", "flair,t1", "--reference", "t1=flair.nii.gz,flair=t1.nii.gz")
    done = explain(*both, *options, model="small_cnn_3d(channels=2)")
    assert done.code == 0, done.err
    (row,) = rows(files / "out")
    values = nibabel.load(files / "out" / row["map"]).get_fdata()
    np.testing.assert_allclose(values[..., 0], nibabel.load("t1.nii.gz").get_fdata(), rtol=1e-5)


def test_another_reference_is_another_plan(explain, files, choosy):
    assert explain(*NEEDS_REFERENCE, "--reference", "t1.nii.gz").code == 0
    done = explain(*NEEDS_REFERENCE, "--reference", "flair.nii.gz")
    assert (done.code, "holds another run" in done.sentence) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--reference", "small.nii.gz"), ("reference image 1 must give a tensor of (1, 16, 18, 12)", "(1, 5, 6, 7)")),
        (("--reference", "t1.nii.gz", "--reference", "film.png"), ("reference image 2: the model reads 3D volumes",)),
        (("--reference", "holes.nii.gz"), ("reference image 1: ", "finite")),
        (("--reference", "gone.nii.gz"), ("gone.nii.gz", "does not exist")),
        (("--reference", "a=t1.nii.gz,flair.nii.gz"), ("--reference flair=a.nii.gz,t1=b.nii.gz",)),
        (("--segments", "t1.nii.gz"), ("segments 't1.nii.gz' must hold whole numbers",)),
        (("--segments", "gone.nii.gz"), ("gone.nii.gz",)),
        (("--segments", "far.nii.gz"), ("segments 'far.nii.gz' must lie where the image lies",)),
    ],
)
def test_what_cannot_be_a_reference_or_segments_is_told(explain, files, options, words):
    holes = np.full((16, 18, 12), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(holes, AFFINE), "holes.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.float32), AFFINE), "small.nii.gz")
    away = np.diag([1.0, 1, 1, 1])
    away[:3, 3] = 5000
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), away), "far.nii.gz")
    done = explain(*options)
    assert done.code == 2, done.err
    for word in words:
        assert word in done.sentence, done.sentence
    assert not (files / "out").exists()


def test_segments_of_a_table_are_not_given_as_an_option(explain, files):
    table("a,t1.nii.gz")
    done = explain("--cases", "cases.csv", "--segments", "mask.nii.gz")
    assert (done.code, "leave --mask, --segments" in done.sentence) == (2, True)
