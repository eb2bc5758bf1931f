"""`voxplain feedback` as typed."""

import json

import pytest

from tests.report.feedback_run import films
from tests.report.parsed import Parsed
from tests.study.answering import answers, saved
from voxplain.cli.main import main
from voxplain.report.pages import POLICY
from voxplain.study.feedback import read_key


@pytest.fixture
def form(tmp_path, monkeypatch, capsys):
    """The folder of a form with a sham map."""
    monkeypatch.setattr("voxplain.report.figures.DPI", 60)
    films(tmp_path / "run")
    assert main(["feedback", "form", str(tmp_path / "run"), "--out", str(tmp_path / "form.html"), "--sham"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"form: {tmp_path / 'form.html'}", f"key: {tmp_path / 'form.key.json'} (not for readers)",
    ]  # fmt: skip
    return tmp_path


def collect(folder, *told, more=()):
    files = map(str, saved(folder, *told))
    return main(
        ["feedback", "collect", *files, "--key", str(folder / "form.key.json"), "--out", str(folder / "out"), *more]
    )


def test_answers_become_a_page_a_table_and_json(form, capsys):
    key = read_key(form / "form.key.json")
    assert key.sham == "random_map"
    assert collect(form, answers(key, "R1", score_cam=5), answers(key, "R2", score_cam=4)) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "  score_cam: 4.50 (4.00 to 5.00), n = 4" in told.out
    assert told.out.splitlines()[-1] == f"page: {form / 'out' / 'feedback.html'}"
    assert {file.name for file in (form / "out").iterdir()} == {
        "feedback.html", "feedback.csv", "feedback.json", "figures",
    }  # fmt: skip
    page = Parsed(form / "out" / "feedback.html")
    assert page.all("meta")[1]["content"] == POLICY
    assert page.all("script") == []
    assert page.unclosed == []


def test_what_is_missing_is_told_and_the_code_says_so(form, capsys):
    told = answers(read_key(form / "form.key.json"))
    del told["cases"][0]["maps"]["B"]["clarity"]
    assert collect(form, told, more=["--json"]) == 3
    printed = capsys.readouterr()
    assert printed.err == "reader 'R1' left 1 unanswered: case 1 map B clarity\n"
    assert json.loads(printed.out)["missing"] == {"R1": ["case 1 map B clarity"]}


def test_nothing_answered_at_all_is_no_crash(form, capsys):
    told = {**answers(read_key(form / "form.key.json")), "cases": []}
    assert collect(form, told) == 3
    assert "and " in capsys.readouterr().err


def test_a_wrong_file_is_one_sentence(form, capsys):
    key = read_key(form / "form.key.json")
    assert collect(form, answers(key), answers(key)) == 2
    error = capsys.readouterr().err
    assert error.splitlines() == [
        "voxplain: reader 'R1' must answer once, got 'answers-0.json' and 'answers-1.json'"
    ]  # fmt: skip
    assert not (form / "out").exists()


def test_a_wrong_wish_is_one_sentence(form, capsys):
    run, out = str(form / "run"), str(form / "other.html")
    assert main(["feedback", "form", run, "--out", out, "--methods", "occlusion", "gradcam"]) == 2
    assert capsys.readouterr().err.startswith("voxplain: unknown method 'gradcam'")
    assert main(["feedback", "form", run, "--out", out, "--answers", "yes"]) == 2
    assert "--answers must be at least two different ones, got yes" in capsys.readouterr().err
