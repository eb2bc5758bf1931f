"""The networks that come with the package, asked by their names as a stranger would."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import voxplain as vx
from voxplain.phantoms import phantom
from voxplain.phantoms.writing import write_sample
from voxplain.score.shipped import NOTICE, shipped


@pytest.fixture
def pumpkin(tmp_path, monkeypatch):
    """A pumpkin of 16-bit grey as a file, in the working folder."""
    monkeypatch.chdir(tmp_path)
    made = phantom("pumpkins(uniform=False, target_bias=55.0)")
    sample = made.sample(3, 4_000_000)
    write_sample(made, sample, tmp_path)
    return float(sample.label)


def test_a_name_brings_its_own_preparation(voxplain, pumpkin):
    image = "images/pumpkin-00003.png"
    asked = ["--image", image, "--method", "gradient", "--out", "out"]
    done = voxplain("explain", "--model", "phantom-pumpkin-age", *asked)
    assert done.code == 0, done.err
    row = json.loads(Path("out/rows.jsonl").read_text())
    assert abs(row["score"] - pumpkin) < 15  # without its window the network would be shown 65535 for 1
    prepare = vx.Prepare.read(shipped()["phantom-pumpkin-age"] / "prepare.toml")
    python = vx.explain(vx.load("phantom-pumpkin-age"), image, "gradient", prepare=prepare)
    command = vx.Attribution.load(f"out/{row['map']}")
    np.testing.assert_array_equal(command.values, python.values)
    assert tomllib.loads(Path("out/plan.toml").read_text())["prepare"]["window"] == [0, 65535]
    assert NOTICE in Path("out/report/index.html").read_text()


def test_flags_win_over_the_preparation_that_a_name_brings(voxplain, pumpkin):
    asked = ["--image", "images/pumpkin-00003.png", "--method", "gradient", "--window", "0,131070", "--out", "out"]
    assert voxplain("explain", "--model", "phantom-pumpkin-age", *asked).code == 0
    assert tomllib.loads(Path("out/plan.toml").read_text())["prepare"]["window"] == [0, 131070]


def test_the_listing_says_what_they_do_how_well_and_how_they_were_made(voxplain):
    entries = {entry["name"]: entry for entry in json.loads(voxplain("models", "--json").out)}
    text = voxplain("models").out
    for name in shipped():
        assert entries[name]["trained"] is True
        assert "never for patients" in entries[name]["says"]
        assert f"\n{name}\n" in text
        assert f"  command: {entries[name]['command']}\n" in text
    told = entries["phantom-tumour-types"]
    assert f"  scores: cases {told['scores']['cases']}, " in text
    assert f"accuracy {told['scores']['accuracy']:.4g}" in text
    assert told["class_names"] == ["glioma", "meningioma", "pituitary"]
