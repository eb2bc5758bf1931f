"""`voxplain study` as typed: the list, what it tells at the end, and what it refuses."""

import json
from pathlib import Path

import pytest

import voxplain as vx
from voxplain.cli.main import main
from voxplain.cli.study import flat
from voxplain.study.studies import STUDIES, StudyFolder, study_of


@pytest.fixture
def asked(monkeypatch):
    """What the command passes on to `voxplain.study`, which answers with two numbers at once."""
    calls = []

    def answer(name, **options):
        calls.append((name, options))
        return StudyFolder(Path("there"), study_of(name), {"test": {"mae": 2.5, "list": [1]}, "images": 3})

    monkeypatch.setattr("voxplain.report.studies.study", answer)
    return calls


def test_without_a_name_all_studies_are_listed(capsys):
    assert main(["study"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(STUDIES)
    assert main(["study", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == list(STUDIES)
    assert all({"size", "data", "seed", "device"} <= {option["name"] for option in one["options"]} for one in listed)


def test_what_is_not_given_is_not_passed_on(asked):
    assert main(["study", "pumpkin", "--size", "paper", "--out", "there"]) == 0
    name, options = asked[0]
    options.pop("say")
    assert (name, options) == ("pumpkin", {"size": "paper", "out": Path("there")})


def test_numbers_are_told_by_their_path(asked, capsys):
    main(["study", "pumpkin"])
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[:2]] == [["test.mae", "2.5"], ["images", "3"]]
    assert "done: there" in out
    main(["study", "pumpkin", "--json"])
    assert json.loads(capsys.readouterr().out)["numbers"]["test"]["mae"] == 2.5


def test_lists_are_left_out_of_the_table():
    numbers = {"a": {"b": {"c": 1}}, "d": [1], "e": None}
    assert flat(numbers) == [("a.b.c", 1, None), ("e", None, None)]


def test_intervals_stand_beside_their_numbers():
    inner = {"dice": 0.9, "whole": 0.8, "intervals": {"dice": [0.7, 1.0]}}
    assert flat({"test": inner, "f1": 0.5, "f1 95 %": [0.4, 0.6]}) == [
        ("test.dice", 0.9, [0.7, 1.0]),
        ("test.whole", 0.8, None),
        ("f1", 0.5, [0.4, 0.6]),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pumpkn"], "unknown study 'pumpkn'; did you mean 'pumpkin'?"),
        (["pumpkin", "--seed", "-1"], "pumpkin: seed must be at least 0, got -1"),
        (["pumpkin", "--data", "nowhere"], "data 'nowhere' does not exist"),
        (["pumpkin(size='paper')", "--size", "small"], "pumpkin: size must be given once"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *arguments]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"voxplain: {told}")
    assert not list(tmp_path.iterdir())


def test_the_package_of_studies_answers_when_called(asked):
    vx.study("pumpkin", size="paper")
    assert asked == [("pumpkin", {"size": "paper"})]
