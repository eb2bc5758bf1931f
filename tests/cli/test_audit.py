"""`voxplain audit` as typed: one JSON, sentences, exit codes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image as Pillow

from voxplain.cli.main import main

NETWORK = "voxplain.score.networks:small_cnn_2d(width=4, depth=2, classes=2, channels=1)"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    rows = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 60, (24, 24))
        pixels[6:18, 6:18] += 150
        Pillow.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        rows.append([f"c{number}&b;", f"{number}.png", str(number % 2)])
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "image", "label"], *rows])
    return folder / "cases.csv"


def asked(table, out, *more):
    return ["audit", "--model", NETWORK, "--cases", str(table), "--scale", "0.004", "--method", "gradient",
            "--quick", "--out", str(out), *more]  # fmt: skip


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "audit"
    assert main(asked(table, out)) == 0
    return out


def test_json_is_one_document_and_nothing_else(table, done, capsys):
    assert main(asked(table, done, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recommendation"]["methods"][0]["method"] == "gradient"
    assert told["verdicts"][0]["check"] == "shortcut"


def test_text_says_verdict_advice_and_page(table, done, capsys):
    assert main(asked(table, done)) == 0
    out = capsys.readouterr().out
    assert "clustering needs at least 12 cases, got 3" in out
    assert "for this model, " in out
    assert str(done / "report" / "audit.html") in out


def test_a_failed_case_named_like_markup_stays_text_and_the_exit_code_is_3(table, tmp_path):
    flat = np.zeros((24, 24), dtype=np.uint8)
    Pillow.fromarray(flat).save(table.parent / "flat.png")
    (table.parent / "odd.csv").write_text(table.read_text() + "x&b;,flat.png,0\n")
    assert main(asked(table.parent / "odd.csv", tmp_path / "out")) == 3
    assert "x&amp;b;" in (tmp_path / "out" / "report" / "audit.html").read_text()


def test_two_targets_are_refused_in_a_sentence(table, tmp_path, capsys):
    command = asked(table, tmp_path / "out", "--target", "class_score(0)", "--target", "class_score(1)")
    assert main(command) == 2
    assert "one target" in capsys.readouterr().err
