"""The form for readers: blind, whole, and of one slice; and the key beside it."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.report.feedback_run import METHODS, films, scans
from tests.report.parsed import Parsed
from tests.report.seen import colourful
from voxplain.errors import FileError, InputError, OptionError
from voxplain.report.feedback_cases import Asked
from voxplain.report.feedback_form import write
from voxplain.study.feedback import CAUSABILITY, ITEMS, read_key

REGRESSION = {"kind": "regression", "class_names": [], "scores": [41.5], "probabilities": [], "words": "41.5"}
SEGMENTATION = {"kind": "segmentation", "class_names": ["background", "tumour"], "scores": [9, 1], "words": "1 voxel"}


def made(run, folder, asked=None):
    """The form, parsed, and its key."""
    page, key = write(run, folder / "form.html", asked)
    return Parsed(page), read_key(key)


def pictures(page):
    """The pixels (rows, columns, 3) of every picture, by the name that its case and letter give it."""
    found = {}
    for name, data in re.findall(r'<image id="([^"]+)"[^>]* href="data:image/\w+;base64,([^"]+)"', page.read_text()):
        shown = Pillow.open(io.BytesIO(base64.b64decode(data)))
        assert {"exif", "xmp", "comment"} & {name for name, told in shown.info.items() if told} == set()
        found[name.removesuffix("-pixels-0")] = np.asarray(shown.convert("RGB")).astype(int)
    return found


def test_the_key_names_every_map_and_the_form_none(tmp_path):
    run = films(tmp_path / "gradcam-run", cases=3)
    page, beside = write(run, tmp_path / "form.html", Asked(sham="edge_map"))
    key = read_key(beside)
    assert beside.name == "form.key.json"
    assert sorted(case.case for case in key.cases) == ["smith-1", "smith-2", "smith-3"]
    assert all(sorted(case.maps.values()) == sorted([*METHODS, "edge_map"]) for case in key.cases)
    assert all([*case.maps] == [*"ABCD"] for case in key.cases)
    text = page.read_text().lower()
    secrets = ("smith", "4711", "patient-", "gradcam-run", "edge_map", "sham", "small_cnn", str(tmp_path).lower())
    for secret in (*secrets, *(name.partition("(")[0] for name in METHODS)):
        assert secret not in text, secret
    # The label stands among the answers, as every class does, and nowhere else does the page know it.
    assert Parsed(page).text.count("glioma") == 2 * 3 + 3 * (4 + 1) + 3 * 4


def test_the_order_follows_from_the_readers_seed(tmp_path):
    run = films(tmp_path / "run", cases=6)
    texts = [write(run, tmp_path / "form.html", Asked(seed=seed))[0].read_text() for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    first, other = (made(run, tmp_path, Asked(seed=seed))[1] for seed in (0, 1))
    assert first.form != other.form
    assert first.run == other.run
    assert [one.case for one in first.cases] != [one.case for one in other.cases]
    letters = [{one.case: one.maps for one in key.cases} for key in (first, other)]
    assert any(letters[0][case] != letters[1][case] for case in letters[0])
    # Every case has an order of its own; that six of them are alike has a chance of 1 in 7776.
    assert len({tuple(maps.values()) for maps in letters[0].values()}) > 1


def test_every_part_is_asked_once(tmp_path):
    page, _ = made(films(tmp_path / "run"), tmp_path, Asked(causability=True))
    steps = [one.get("data-step") for one in page.all("form")]
    assert steps == ["start", *["before", "map", "map", "map", "after"] * 2, "causability", "end"]
    radios = [one for one in page.all("input") if one.get("type") == "radio"]
    assert len(radios) == 2 * 3 * len(ITEMS) * 5 + len(CAUSABILITY) * 5 + 2 * 2 * 2
    assert len({one["id"] for one in radios if "id" in one}) == 2 * 3 * len(ITEMS) * 5 + len(CAUSABILITY) * 5
    assert page.unclosed == []


def test_nothing_can_run_or_load_but_the_forms_own_script(tmp_path):
    page, _ = made(films(tmp_path / "run"), tmp_path)
    (policy,) = (one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert all("src" not in one for one in page.all("script"))


def test_a_map_and_its_letter_belong_together(tmp_path):
    run = films(tmp_path / "run", cases=1)
    page, beside = write(run, tmp_path / "form.html")
    shown, (case,) = pictures(page), read_key(beside).cases
    assert [*shown] == ["case-1", "case-1-A", "case-1-B", "case-1-C"]
    assert colourful(shown["case-1"]).max() < 20
    rows = {}
    for letter, method in case.maps.items():
        seen = colourful(shown[f"case-1-{letter}"]).astype(float)
        rows[method] = (seen.sum(axis=1) @ np.arange(len(seen))) / seen.sum() / len(seen) * 30
    # The lumps lie at rows 12, 14 and 16 of 30.
    assert [rows[method] for method in METHODS] == pytest.approx([12.5, 14.5, 16.5], abs=1)


def test_a_volume_is_cut_where_the_maps_are_and_the_mask_has_no_say(tmp_path):
    page, _ = made(scans(tmp_path / "run"), tmp_path, Asked(sham="random_map"))
    assert "Axial slice 11, where the 3 maps together are strongest." in page.text
    assert not any(one.get("class", "").startswith("rim") for one in page.all("path"))
    shown = pictures(tmp_path / "form.html")
    assert len({picture.shape for picture in shown.values()}) == 1
    assert all(colourful(shown[f"case-1-{letter}"]).max() > 60 for letter in "ABCD")
    other, _ = made(tmp_path / "run", tmp_path, Asked(plane="coronal"))
    assert "Coronal slice 1" in other.text


@pytest.mark.parametrize(
    ("facts", "asked", "words", "answers", "model", "truth"),
    [
        ({}, Asked(), "What is your reading?", ("healthy", "glioma"), 1, 1),
        ({"label": "0"}, Asked(), "What is your reading?", ("healthy", "glioma"), 1, 0),
        ({"label": "cyst"}, Asked(answers=("cyst", "glioma", "other")), "What is your reading?",
         ("cyst", "glioma", "other"), 1, 0),
        ({"label": None}, Asked(question="What?"), "What?", ("healthy", "glioma"), 1, None),
        ({"prediction": REGRESSION, "label": "44"}, Asked(), "Which number do you read?", (), 41.5, 44),
        ({"prediction": SEGMENTATION}, Asked(), "Do you see a finding in this image?", ("no", "yes"), None, None),
    ],
)  # fmt: skip
def test_what_readers_say_themselves_fits_the_model(tmp_path, facts, asked, words, answers, model, truth):
    page, key = made(films(tmp_path / "run", 1, **facts), tmp_path, asked)
    assert (key.question.words, key.question.answers) == (words, answers)
    assert (key.cases[0].model, key.cases[0].truth) == (model, truth)
    fields = [one for one in page.all("input") if one.get("name") == "answer"]
    assert {one["type"] for one in fields} == ({"radio"} if answers else {"number"})


def test_cases_that_are_answered_differently_need_one_question(tmp_path):
    run = films(tmp_path / "run", 2)
    file = run / "cases" / "smith-2" / "case.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "prediction": REGRESSION}))
    with pytest.raises(InputError, match="'smith-1' and 'smith-2' must be read alike"):
        write(run, tmp_path / "form.html")
    _, key = made(run, tmp_path, Asked(answers=("normal", "not")))
    assert len(key.cases) == 2


def test_methods_and_cases_can_be_chosen(tmp_path):
    run = films(tmp_path / "run", cases=4)
    _, key = made(run, tmp_path, Asked(cases=2, methods=("occlusion", "score_cam")))
    assert sorted(case.case for case in key.cases) == ["smith-1", "smith-2"]
    assert {*key.cases[0].maps.values()} == {"occlusion(window=4)", "score_cam"}


def test_patients_have_numbers_for_names(tmp_path):
    run = films(tmp_path / "run", cases=3)
    file = run / "cases" / "smith-2" / "case.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "group": "patient-0815"}))
    _, key = made(run, tmp_path)
    assert {one.case: one.patient for one in key.cases} == {
        "smith-1": "patient 1", "smith-2": "patient 2", "smith-3": "patient 1",
    }  # fmt: skip
    assert "0815" not in (tmp_path / "form.key.json").read_text()


def test_words_of_the_run_are_shown_as_typed(tmp_path):
    evil = "<script>alert(1)</script>"
    said = {"kind": "classification", "class_names": ["no", evil], "probabilities": [0.1, 0.9], "predicted": 1}
    page, _ = made(films(tmp_path / "run", 1, prediction={**said, "words": f"{evil} (0.90)"}), tmp_path)
    assert evil in page.text
    assert len(page.all("script")) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ("gradcam",)}, "unknown method 'gradcam'"),
        ({"target": "class_score(7)"}, "has no maps of target 'class_score.7.'"),
        ({"channel": "t1"}, "unknown channel 't1'"),
        ({"plane": "oblique"}, "oblique"),
    ],
)
def test_what_the_run_does_not_have_is_refused(tmp_path, asked, words):
    with pytest.raises(InputError, match=words):
        write(scans(tmp_path / "run"), tmp_path / "form.html", Asked(**asked))
    assert not (tmp_path / "form.html").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cases": 0}, "--cases must be at least 1, got 0"),
        ({"sham": "random"}, "unknown control 'random'; did you mean 'random_map'"),
        ({"answers": ("yes",)}, "at least two different ones, got yes"),
        ({"answers": ("yes", "yes")}, "at least two different ones"),
    ],
)
def test_a_wrong_wish_is_refused(asked, words):
    with pytest.raises(OptionError, match=words):
        Asked(**asked)


def test_a_folder_without_maps_and_a_form_that_is_no_page_are_refused(tmp_path):
    run = films(tmp_path / "run", 1)
    with pytest.raises(FileError, match=r"ending in .html, got 'form.pdf'"):
        write(run, tmp_path / "form.pdf")
    (run / "rows.jsonl").write_text("")
    for file in run.glob("maps/*/*/*/*"):
        file.unlink()
    with pytest.raises(FileError, match="must hold a case with an image and a map"):
        write(run, tmp_path / "form.html")
